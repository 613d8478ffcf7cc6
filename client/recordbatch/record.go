package recordbatch

import (
	"iter"
	"unicode/utf8"
)

// minRecordBytes is the least size of an encoded record: seven fields of one byte.
const minRecordBytes = 7

// Record is a decoded record. A nil Key, Value or header value is null, which differs from empty.
type Record struct {
	Offset    int64
	Timestamp int64 // ms since 1970 UTC
	Key       []byte
	Value     []byte
	Headers   []RecordHeader
}

// RecordHeader is one header of a record. Keys may repeat; order is kept. Key is UTF-8.
type RecordHeader struct {
	Key   string
	Value []byte
}

// View is a record whose slices point into the batch's records: valid as long as those are.
type View struct {
	Offset    int64
	Timestamp int64  // ms since 1970 UTC
	Key       []byte // nil: null
	Value     []byte // nil: null

	headers     []byte // encoded, already checked
	headerCount int
	size        int // as Limits.MaxRecordBytes counts
}

// HeaderCount is the number of headers.
func (v *View) HeaderCount() int { return v.headerCount }

// Size is the record's size in bytes as Limits.MaxRecordBytes counts it.
func (v *View) Size() int { return v.size }

// Headers yields each header's key and value (nil: null) in order.
func (v *View) Headers() iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		b, i := v.headers, 0
		for range v.headerCount {
			var key, value []byte
			key, i = field(b, i)
			value, i = field(b, i)
			if i < 0 || !yield(key, value) {
				return
			}
		}
	}
}

// field reads a length and so many bytes at b[i:], nil for the length -1; the index returned is
// negative if that is not possible.
func field(b []byte, i int) ([]byte, int) {
	n, i := varint32(b, i)
	if i < 0 || n < -1 || int(n) > len(b)-i {
		return nil, -1
	}
	if n < 0 {
		return nil, i
	}
	end := i + int(n)
	return b[i:end:end], end
}

// parseRecord reads the record at the start of b into v, with Offset and Timestamp still deltas, and
// returns its encoded size. All of v is checked to lie within the record.
func parseRecord(b []byte, v *View) (int, *Error) {
	length, start := varint32(b, 0)
	if start < 0 || length < minRecordBytes-1 || int(length) > len(b)-start {
		return 0, corrupt("record length out of bounds")
	}
	end := start + int(length)
	b = b[start:end:end]
	if b[0] != 0 {
		return 0, fault(Unsupported, "unknown record attributes")
	}
	timestamp, i := varint64(b, 1)
	offset, i := varint32(b, i)
	key, i := field(b, i)
	value, i := field(b, i)
	count, i := varint32(b, i)
	if i < 0 || count < 0 {
		return 0, corrupt("record field out of bounds")
	}
	v.Timestamp, v.Offset, v.Key, v.Value = timestamp, int64(offset), key, value
	v.headers, v.headerCount = b[i:], int(count)
	v.size = len(key) + len(value)
	if count > 0 || i != len(b) {
		return end, v.checkHeaders()
	}
	return end, nil
}

// headerOverhead is what a header counts beside its key and value, so that a million empty ones are
// not free: its two lengths.
const headerOverhead = 2

func (v *View) checkHeaders() *Error {
	b, i := v.headers, 0
	for range v.headerCount {
		keyAt := i
		var key, value []byte
		key, i = field(b, i)
		if i < 0 || (key == nil && i > keyAt) {
			return corrupt("record header key out of bounds")
		}
		if !utf8.Valid(key) {
			return corrupt("record header key is not UTF-8")
		}
		value, i = field(b, i)
		if i < 0 {
			return corrupt("record header value out of bounds")
		}
		v.size += headerOverhead + len(key) + len(value)
	}
	if i != len(b) {
		return corrupt("record length differs from its fields")
	}
	return nil
}
