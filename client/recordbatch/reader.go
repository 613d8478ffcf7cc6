package recordbatch

import (
	"fmt"
	"iter"
	"math"
)

// Reader yields the records of one batch as views, without allocating. It checks every bound, that
// offset deltas rise and stay within the batch, and that count and bytes end together; it does not check
// limits, which Verify does. Not for concurrent use.
type Reader struct {
	rest          []byte
	baseOffset    int64
	baseTimestamp int64
	read, count   int32
	least, last   int64 // offset deltas that the next record may have
	err           *Error
}

// NewReader returns a reader over the records of info, which Open or Verify returned.
func NewReader(info Info) Reader {
	return Reader{
		rest: info.Records, count: info.RecordCount, last: int64(info.LastOffsetDelta),
		baseOffset: info.BaseOffset, baseTimestamp: info.BaseTimestamp,
	}
}

// Next reads the next record into v. It returns false at the end and at the first error; Err tells.
func (r *Reader) Next(v *View) bool {
	if r.read >= r.count || r.err != nil {
		r.end()
		return false
	}
	n, e := parseRecord(r.rest, v)
	if e != nil || v.Offset < r.least || v.Offset > r.last || addOverflows(r.baseTimestamp, v.Timestamp) {
		r.fail(e, v)
		return false
	}
	r.least = v.Offset + 1
	v.Offset += r.baseOffset
	v.Timestamp += r.baseTimestamp
	r.rest = r.rest[n:]
	r.read++
	return true
}

// end sets the error if the count ended before the bytes did.
func (r *Reader) end() {
	if r.err == nil && len(r.rest) > 0 {
		r.err = fault(WrongCount, "more bytes than the record count says")
	}
}

// fail sets why the next record, parsed into v with the error e, is refused.
func (r *Reader) fail(e *Error, v *View) {
	switch {
	case len(r.rest) == 0:
		r.err = fault(WrongCount, fmt.Sprintf("%d records, the header says %d", r.read, r.count))
	case e != nil:
		r.err = e.at(int(r.read))
	case v.Offset < r.least || v.Offset > r.last:
		r.err = fault(WrongCount, "offset delta is not the one that follows").at(int(r.read))
	default:
		r.err = fault(BadTimestamp, "timestamp beyond 64 bits").at(int(r.read))
	}
}

// Err returns the *Error that ended the iteration early, or nil.
func (r *Reader) Err() error {
	if r.err != nil {
		return r.err
	}
	return nil
}

func addOverflows(a, b int64) bool {
	return (b > 0 && a > math.MaxInt64-b) || (b < 0 && a < math.MinInt64-b)
}

// AppendRecords decodes the records of info, which Open or Verify returned, and appends them to dst.
// Keys, values and header values point into info.Records: they stay valid as long as the batch and
// the Scratch that Open used are left alone. Structs cost up to twenty times the bytes of the
// records; views cost nothing.
func AppendRecords(dst []Record, info Info) ([]Record, error) {
	if spare := int(info.RecordCount); spare > 0 && spare <= len(info.Records)/minRecordBytes && cap(dst)-len(dst) < spare {
		dst = append(make([]Record, 0, len(dst)+spare), dst...)
	}
	var v View
	var headers headerSlab
	r := NewReader(info)
	for r.Next(&v) {
		dst = append(dst, Record{
			Offset: v.Offset, Timestamp: v.Timestamp, Key: v.Key, Value: v.Value,
			Headers: headers.take(&v),
		})
	}
	return dst, r.Err()
}

// headerSlab hands out header slices from shared memory and reuses the key strings of the record
// before: most records of a batch have the same header keys.
type headerSlab struct {
	free, last []RecordHeader
}

func (s *headerSlab) take(v *View) []RecordHeader {
	n := v.HeaderCount()
	if n == 0 {
		return nil
	}
	if len(s.free) < n {
		s.free = make([]RecordHeader, max(n, 64))
	}
	hs := s.free[:n:n]
	s.free = s.free[n:]
	i := 0
	for key, value := range v.Headers() {
		hs[i].Value = value
		if i < len(s.last) && s.last[i].Key == string(key) {
			hs[i].Key = s.last[i].Key
		} else {
			hs[i].Key = string(key)
		}
		i++
	}
	s.last = hs
	return hs
}

// Next splits the first batch off b, by its length alone; the batch is not verified.
// Errors: Corrupt if b does not hold a whole batch, Unsupported for another magic.
func Next(b []byte) (batch, rest []byte, err error) {
	h, e := parseHeader(b)
	if e != nil {
		return nil, b, e
	}
	size := h.Size()
	if size < HeaderBytes || size > int64(len(b)) {
		return nil, b, corrupt("batch length out of bounds")
	}
	return b[:size:size], b[size:], nil
}

// Split yields the batches that stand one after the other in b, as a fetch answers them, by their
// lengths alone. An error (see Next) comes with what is left of b and ends the iteration.
func Split(b []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for len(b) > 0 {
			batch, rest, err := Next(b)
			if err != nil {
				yield(rest, err)
				return
			}
			if !yield(batch, nil) {
				return
			}
			b = rest
		}
	}
}
