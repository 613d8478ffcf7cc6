package object

import (
	"bytes"
	"cmp"
)

// Frame is an object that is written without its batches being held: what stands before and after them, and what all of it will be.
// It is a pure function of key and segments, so whoever goes on with an upload that another has begun writes the same bytes.
type Frame struct {
	Key        Key
	Head, Tail []byte
	// Segments have their positions; between Head and Tail their bytes follow each other.
	Segments  []Segment
	SizeBytes int64
	// CRC32C covers the whole object, if the segments' bytes are what their checksums say.
	CRC32C uint32
}

// NewFrame places segments, of which all but the position is known, in the order given, which is that of a commit. Wraps ErrInvalid.
func NewFrame(key Key, segments []Segment) (Frame, error) {
	b, err := NewBuilder(key)
	if err != nil {
		return Frame{}, err
	}
	head := b.body[0]
	for _, s := range segments {
		if err := b.place(s); err != nil {
			return Frame{}, err
		}
	}
	sealed, err := b.Seal()
	if err != nil {
		return Frame{}, err
	}
	return Frame{
		Key: key, Head: head, Tail: sealed.Body[len(sealed.Body)-1], Segments: sealed.Segments, SizeBytes: sealed.SizeBytes, CRC32C: sealed.CRC32C,
	}, nil
}

// place adds a segment whose bytes are elsewhere.
func (b *Builder) place(s Segment) error {
	if err := b.admit(s, int64(s.SizeBytes)); err != nil {
		return err
	}
	s.BytePosition = b.size
	b.size += int64(s.SizeBytes)
	b.crc32c = Combine(b.crc32c, s.CRC32C, int64(s.SizeBytes))
	b.segments = append(b.segments, s)
	return nil
}

// Join is the segment that a run of segments of one partition is when their bytes follow each other. Requires: Joins holds for each and the
// one before it.
func Join(run []Segment) Segment {
	joined := run[0]
	joined.BytePosition = 0
	for _, s := range run[1:] {
		joined.RecordCount += s.RecordCount
		joined.SizeBytes += s.SizeBytes
		joined.CRC32C = Combine(joined.CRC32C, s.CRC32C, int64(s.SizeBytes))
		joined.MinTimestampMs = min(joined.MinTimestampMs, s.MinTimestampMs)
		joined.MaxTimestampMs = max(joined.MaxTimestampMs, s.MaxTimestampMs)
	}
	return joined
}

// Joins tells whether s may follow prev in one segment: the next offsets of the same tenure.
func (s Segment) Joins(prev Segment) bool {
	return s.TopicID == prev.TopicID && s.Partition == prev.Partition && s.Epoch == prev.Epoch &&
		s.TenureFirstOffset == prev.TenureFirstOffset && s.BaseOffset == prev.endOffset()
}

// Compare orders segments as an object has them: by topic, partition and offset.
func (s Segment) Compare(other Segment) int {
	return cmp.Or(bytes.Compare(s.TopicID[:], other.TopicID[:]), cmp.Compare(s.Partition, other.Partition), cmp.Compare(s.BaseOffset, other.BaseOffset))
}

// End is the offset after its last one.
func (s Segment) End() int64 { return s.endOffset() }
