package object

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
)

// Segment is one partition's contiguous run of batches in an object. Its fields are those of a commit.
type Segment struct {
	TopicID   UUID
	Partition int32
	// Epoch of the tenure that wrote it, at least 1.
	Epoch int32
	// BaseOffset is its first offset; it holds RecordCount offsets (at least 1).
	BaseOffset  int64
	RecordCount int32
	// BytePosition and SizeBytes say where it lies in the object; CRC32C covers these bytes.
	BytePosition int64
	SizeBytes    int32
	CRC32C       uint32
	// Least and greatest record timestamp, milliseconds since 1970 UTC.
	MinTimestampMs int64
	MaxTimestampMs int64
	// TenureFirstOffset is the first offset of the tenure that wrote it, at most BaseOffset (P9).
	TenureFirstOffset int64
}

// Check tells whether data is the segment's bytes. Wraps ErrCorrupt.
func (s Segment) Check(data []byte) error {
	if len(data) != int(s.SizeBytes) {
		return corrupt("segment has %d bytes, want %d", len(data), s.SizeBytes)
	}
	if sum := Checksum(data); sum != s.CRC32C {
		return corrupt("segment at byte %d has checksum %08x, want %08x", s.BytePosition, sum, s.CRC32C)
	}
	return nil
}

func (s Segment) endOffset() int64 { return s.BaseOffset + int64(s.RecordCount) }

func (s Segment) endPosition() int64 { return s.BytePosition + int64(s.SizeBytes) }

// problem is empty for a segment that may stand in a footer; it does not look at position and size.
func (s Segment) problem() string {
	switch {
	case s.Partition < 0:
		return "negative partition"
	case s.Epoch < 1:
		return "epoch below 1"
	case s.BaseOffset < 0:
		return "negative base offset"
	case s.RecordCount < 1:
		return "no records"
	case s.BaseOffset > math.MaxInt64-int64(s.RecordCount):
		return "offsets overflow"
	case s.MinTimestampMs > s.MaxTimestampMs:
		return "least timestamp above the greatest"
	case s.TenureFirstOffset < 0 || s.TenureFirstOffset > s.BaseOffset:
		return "first offset of the tenure outside 0 to the base offset"
	}
	return ""
}

// follows tells whether s may stand right after prev: in order, and no offset twice.
func (s Segment) follows(prev Segment) bool {
	order := cmp.Or(bytes.Compare(prev.TopicID[:], s.TopicID[:]), cmp.Compare(prev.Partition, s.Partition))
	return order < 0 || (order == 0 && s.BaseOffset >= prev.endOffset())
}

func (s Segment) appendTo(b []byte) []byte {
	b = append(b, s.TopicID[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(s.Partition))
	b = binary.BigEndian.AppendUint32(b, uint32(s.Epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(s.BaseOffset))
	b = binary.BigEndian.AppendUint32(b, uint32(s.RecordCount))
	b = binary.BigEndian.AppendUint32(b, uint32(s.SizeBytes))
	b = binary.BigEndian.AppendUint64(b, uint64(s.BytePosition))
	b = binary.BigEndian.AppendUint64(b, uint64(s.MinTimestampMs))
	b = binary.BigEndian.AppendUint64(b, uint64(s.MaxTimestampMs))
	b = binary.BigEndian.AppendUint64(b, uint64(s.TenureFirstOffset))
	b = binary.BigEndian.AppendUint32(b, s.CRC32C)
	return binary.BigEndian.AppendUint32(b, 0)
}

// decodeSegment reads one entry. Requires: len(e) == segmentEntrySize.
func decodeSegment(e []byte) (s Segment, reserved uint32) {
	u32 := func(at int) uint32 { return binary.BigEndian.Uint32(e[at:]) }
	u64 := func(at int) uint64 { return binary.BigEndian.Uint64(e[at:]) }
	return Segment{
		TopicID:           UUID(e[:16]),
		Partition:         int32(u32(16)),
		Epoch:             int32(u32(20)),
		BaseOffset:        int64(u64(24)),
		RecordCount:       int32(u32(32)),
		SizeBytes:         int32(u32(36)),
		BytePosition:      int64(u64(40)),
		MinTimestampMs:    int64(u64(48)),
		MaxTimestampMs:    int64(u64(56)),
		TenureFirstOffset: int64(u64(64)),
		CRC32C:            u32(72),
	}, u32(76)
}
