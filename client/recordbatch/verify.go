package recordbatch

import (
	"fmt"
	"sync"
)

const (
	// DefaultMaxRecordBytes is 1 MiB.
	DefaultMaxRecordBytes = 1 << 20
	// DefaultMaxUncompressedBytes is 16 MiB.
	DefaultMaxUncompressedBytes = 16 << 20

	// encodedSlack is how much larger than its uncompressed bound a batch may be, for its header,
	// framing and blocks that did not compress.
	encodedSlack = 64 << 10
)

// Limits bound what a batch may cost. A zero field means its default; nothing means unbounded.
type Limits struct {
	// MaxRecordBytes bounds key + value + headers of one record, a header counting its key, its value
	// and 2 bytes. At least 1.
	MaxRecordBytes int
	// MaxUncompressedBytes bounds the records of one batch, uncompressed, with their framing; it is
	// also the most that a Scratch allocates. At least 17/16 of MaxRecordBytes + 64 bytes, at most 1 GiB.
	MaxUncompressedBytes int
	// KeysRequired refuses records whose key is null: of a topic that is compacted by key. Open and readers do not look.
	KeysRequired bool
}

// Validate reports limits under which a record of the greatest size would not fit a batch.
func (l Limits) Validate() error {
	l = l.orDefaults()
	if l.MaxRecordBytes < 1 {
		return fmt.Errorf("max record bytes %d: must be at least 1", l.MaxRecordBytes)
	}
	if l.MaxUncompressedBytes > 1<<30 {
		return fmt.Errorf("max uncompressed bytes %d: must be at most 1 GiB", l.MaxUncompressedBytes)
	}
	if least := int64(l.MaxRecordBytes) + int64(l.MaxRecordBytes)/16 + 64; int64(l.MaxUncompressedBytes) < least {
		return fmt.Errorf("max uncompressed bytes %d: must be at least %d to hold a record of %d bytes",
			l.MaxUncompressedBytes, least, l.MaxRecordBytes)
	}
	return nil
}

func (l Limits) orDefaults() Limits {
	if l.MaxRecordBytes == 0 {
		l.MaxRecordBytes = DefaultMaxRecordBytes
	}
	if l.MaxUncompressedBytes == 0 {
		l.MaxUncompressedBytes = DefaultMaxUncompressedBytes
	}
	return l
}

// Scratch is memory to decompress into, reused from batch to batch. The zero value is ready. It never
// grows beyond the Limits.MaxUncompressedBytes it was used with. Not for concurrent use.
type Scratch struct {
	buf []byte
}

var scratches = sync.Pool{New: func() any { return new(Scratch) }}

// AcquireScratch takes a Scratch from the package's pool; the caller must Release it once nothing
// points into it any more.
func AcquireScratch() *Scratch { return scratches.Get().(*Scratch) }

// Release gives the Scratch back to the pool: every Info, View and Record that came from it ends.
func (s *Scratch) Release() { scratches.Put(s) }

// take returns n bytes of scratch, or of fresh memory where there is none. Requires: n <= limit.
func (s *Scratch) take(n, limit int) []byte {
	if s == nil {
		return fresh(n)
	}
	if cap(s.buf) < n {
		size := 64 << 10
		for size < n {
			size *= 2
		}
		s.buf = make([]byte, min(size, limit))
	}
	return s.buf[:n:n]
}

// Info is a batch that Open or Verify accepted.
type Info struct {
	Header
	// Records are the uncompressed, encoded records: part of the batch if its codec is None, else
	// part of the Scratch and valid until that is used again.
	Records []byte
	// MinTimestamp is the least timestamp of the records, in ms since 1970 UTC, and FirstKey the first one's key (nil: null), part of
	// Records. Verify sets them, Open does not.
	MinTimestamp int64
	FirstKey     []byte
}

// UncompressedBytes is the size of the encoded records before compression.
func (i *Info) UncompressedBytes() int { return len(i.Records) }

// Verify proves that batch is exactly one whole batch whose every field is true: header, checksum,
// compression, record count, offset deltas, lengths, limits, timestamps. What it accepts every
// consumer can read. All errors are *Error, of any Reason.
func Verify(batch []byte, limits Limits, scratch *Scratch) (Info, error) {
	limits = limits.orDefaults()
	info, e := open(batch, limits, produced, scratch)
	if e == nil {
		e = verifyRecords(&info, limits)
	}
	if e != nil {
		return Info{}, e
	}
	return info, nil
}

// Open checks header and checksum and decompresses, within limits, but does not look at the records,
// as a Reader does that: for readers of batches that an agent has verified, and that key compaction may
// have left with fewer records than offsets, or without any. MaxRecordBytes is not used. Without a scratch, what is decompressed lies in memory
// of its own. All errors are *Error.
func Open(batch []byte, limits Limits, scratch *Scratch) (Info, error) {
	info, e := open(batch, limits.orDefaults(), stored, scratch)
	if e != nil {
		return Info{}, e
	}
	return info, nil
}

// VerifyFrame checks all that shows without decompressing: header, checksum, and the structure and
// content size of the LZ4 frame, which must be there. It does not prove the record count, so it is
// only for trusted producers and for batches that were verified before. All errors are *Error.
func VerifyFrame(batch []byte, limits Limits) (Header, error) {
	limits = limits.orDefaults()
	if limits.KeysRequired {
		return Header{}, fault(Unsupported, "keys are only seen in what is decompressed")
	}
	h, e := checkBatch(batch, limits, produced)
	if e == nil && h.Codec() == LZ4 {
		e = verifyFrame(batch[HeaderBytes:], limits)
	}
	if e != nil {
		return Header{}, e
	}
	return h, nil
}

func verifyFrame(b []byte, limits Limits) *Error {
	f, _, e := openFrame(b, limits.MaxUncompressedBytes)
	if e == nil && f.size < 0 {
		return fault(Unsupported, "an LZ4 frame without content size must be decompressed to be verified")
	}
	return e
}

// origin is where a batch comes from, which decides what its header may say.
type origin uint8

const (
	produced origin = iota // one record for each offset
	stored                 // key compaction may have removed records, but no offsets
)

func open(batch []byte, limits Limits, from origin, scratch *Scratch) (Info, *Error) {
	h, e := checkBatch(batch, limits, from)
	if e != nil {
		return Info{}, e
	}
	records := batch[HeaderBytes:]
	if h.Codec() == LZ4 {
		if records, e = decompress(records, limits.MaxUncompressedBytes, scratch); e != nil {
			return Info{}, e
		}
	}
	if len(records) > limits.MaxUncompressedBytes {
		return Info{}, tooLarge(TooLarge, "uncompressed bytes", len(records), limits.MaxUncompressedBytes)
	}
	if int(h.RecordCount) > len(records)/minRecordBytes {
		return Info{}, fault(WrongCount, "more records claimed than the bytes can hold")
	}
	return Info{Header: h, Records: records}, nil
}

// checkBatch checks size, header and checksum.
func checkBatch(batch []byte, limits Limits, from origin) (Header, *Error) {
	h, e := parseHeader(batch)
	if e != nil {
		return h, e
	}
	if h.Size() != int64(len(batch)) {
		return h, corrupt("not exactly one batch: its length differs from the bytes")
	}
	if bound := limits.MaxUncompressedBytes + encodedSlack; len(batch) > bound {
		return h, tooLarge(TooLarge, "encoded bytes", len(batch), bound)
	}
	if checksum(batch) != h.CRC {
		return h, corrupt("checksum mismatch")
	}
	return h, h.check(limits, from)
}

// check proves what the header alone shows.
func (h *Header) check(limits Limits, from origin) *Error {
	if h.Attributes&^codecMask != 0 {
		return fault(Unsupported, "unknown, transactional or control attributes")
	}
	if c := h.Codec(); c != None && c != LZ4 {
		return fault(Unsupported, "only the codecs none and LZ4 are known")
	}
	if e := h.checkCount(from); e != nil {
		return e
	}
	switch {
	case int(h.RecordCount) > limits.MaxUncompressedBytes/minRecordBytes:
		return tooLarge(TooLarge, "records claimed", int(h.RecordCount), limits.MaxUncompressedBytes/minRecordBytes)
	case addOverflows(h.BaseOffset, int64(h.LastOffsetDelta)+1) || h.BaseOffset < 0:
		return corrupt("base offset out of bounds")
	case badTimestamp(h.BaseTimestamp) || badTimestamp(h.MaxTimestamp):
		return fault(BadTimestamp, "timestamps must lie between the years 1970 and 9999")
	}
	return h.Producer.check()
}

// checkCount compares records and offsets. Between the records of a produced batch no offset may be missing (P2): with as many records as
// offsets, and rising offset deltas, none can be.
func (h *Header) checkCount(from origin) *Error {
	switch {
	case from == produced && h.RecordCount == 0:
		return fault(Empty, "no records")
	case from == produced && h.LastOffsetDelta != h.RecordCount-1:
		return fault(WrongCount, "last offset delta must be the record count minus 1")
	case h.RecordCount < 0 || h.LastOffsetDelta < 0 || h.LastOffsetDelta < h.RecordCount-1:
		return fault(WrongCount, "last offset delta must be at least the record count minus 1")
	}
	return nil
}

// keyless says what is wrong with a record that has no key.
const keyless = "the topic is compacted by key: every record needs one"

func badTimestamp(ms int64) bool { return ms < 0 || ms > MaxTimestamp }

func verifyRecords(info *Info, limits Limits) *Error {
	var v View
	least, greatest := MaxTimestamp, int64(-1)
	r := NewReader(*info)
	for i := 0; r.Next(&v); i++ {
		if v.size > limits.MaxRecordBytes {
			return tooLarge(RecordTooLarge, "bytes of key, value and headers", v.size, limits.MaxRecordBytes).at(i)
		}
		if badTimestamp(v.Timestamp) {
			return fault(BadTimestamp, "timestamps must lie between the years 1970 and 9999").at(i)
		}
		if limits.KeysRequired && v.Key == nil {
			return fault(NoKey, keyless).at(i)
		}
		if i == 0 {
			info.FirstKey = v.Key
		}
		least, greatest = min(least, v.Timestamp), max(greatest, v.Timestamp)
	}
	if r.err != nil {
		return r.err
	}
	if greatest != info.MaxTimestamp {
		return fault(BadTimestamp, "the header's greatest timestamp is not the records'")
	}
	info.MinTimestamp = least
	return nil
}
