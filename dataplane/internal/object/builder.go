package object

import (
	"encoding/binary"
	"math"
)

// Builder describes one object. It copies no batch: the object's body is made of the caller's memory.
// It has one user at a time and is done after Seal.
type Builder struct {
	key      Key
	body     [][]byte
	size     int64
	crc32c   uint32
	segments []Segment
}

// Part is a batch on its way into an object.
type Part struct {
	Bytes []byte
	// CRC32C of Bytes.
	CRC32C uint32
}

// PartOf computes the checksum.
func PartOf(b []byte) Part { return Part{Bytes: b, CRC32C: Checksum(b)} }

// Sealed is a finished object: what to PUT, under which key, and what its commit says.
type Sealed struct {
	Key Key
	// Body is the object's bytes, in pieces that follow each other: head, batches, footer.
	Body      [][]byte
	SizeBytes int64
	// CRC32C covers Body.
	CRC32C uint32
	// Segments are in the order of a commit.
	Segments []Segment
}

// Size is that of an object of so many segments and so many bytes of batches.
func Size(segments int, batchBytes int) int {
	return headSize + batchBytes + footerHeaderSize + segments*segmentEntrySize + trailerSize
}

// NewBuilder starts an object. Wraps ErrInvalid.
func NewBuilder(key Key) (*Builder, error) {
	if err := key.Validate(); err != nil {
		return nil, err
	}
	b := &Builder{key: key}
	b.add(PartOf(binary.BigEndian.AppendUint16([]byte(headMagic), Version)))
	return b, nil
}

func (b *Builder) add(p Part) {
	b.body = append(b.body, p.Bytes)
	b.size += int64(len(p.Bytes))
	b.crc32c = Combine(b.crc32c, p.CRC32C, int64(len(p.Bytes)))
}

// Append adds a segment made of batches, whose base offsets the caller has stamped, and returns it with position, size and checksum filled
// in. The batches stay as they are until the object has been uploaded. Segments come in order of (topic id, partition, base offset).
// After an error, which wraps ErrInvalid, the builder is as it was.
func (b *Builder) Append(s Segment, batches ...Part) (Segment, error) {
	var size int64
	for _, batch := range batches {
		size += int64(len(batch.Bytes))
	}
	if err := b.admit(s, size); err != nil {
		return Segment{}, err
	}
	s.BytePosition, s.SizeBytes, s.CRC32C = b.size, int32(size), 0
	for _, batch := range batches {
		s.CRC32C = Combine(s.CRC32C, batch.CRC32C, int64(len(batch.Bytes)))
		b.body = append(b.body, batch.Bytes)
	}
	b.size += size
	b.crc32c = Combine(b.crc32c, s.CRC32C, size)
	b.segments = append(b.segments, s)
	return s, nil
}

func (b *Builder) admit(s Segment, size int64) error {
	if problem := s.problem(); problem != "" {
		return invalid("segment %s/%d: %s", s.TopicID, s.Partition, problem)
	}
	if size < 1 || size > math.MaxInt32 {
		return invalid("segment %s/%d has %d bytes: want 1 to %d", s.TopicID, s.Partition, size, math.MaxInt32)
	}
	if len(b.segments) == MaxSegments {
		return invalid("more than %d segments", MaxSegments)
	}
	if n := len(b.segments); n > 0 && !s.follows(b.segments[n-1]) {
		return invalid("segment %s/%d at offset %d does not follow the last one", s.TopicID, s.Partition, s.BaseOffset)
	}
	return nil
}

// Size is that of the object if it were sealed now, in bytes.
func (b *Builder) Size() int { return Size(len(b.segments), int(b.size)-headSize) }

// Seal writes the footer. An object without segments is ErrInvalid.
func (b *Builder) Seal() (Sealed, error) {
	if len(b.segments) == 0 {
		return Sealed{}, invalid("object without segments")
	}
	end := Footer{Key: b.key, Segments: b.segments}.appendTo(make([]byte, 0, footerHeaderSize+len(b.segments)*segmentEntrySize+trailerSize))
	size, sum := len(end), Checksum(end)
	end = binary.BigEndian.AppendUint32(end, uint32(size))
	end = binary.BigEndian.AppendUint32(end, sum)
	end = binary.BigEndian.AppendUint16(end, Version)
	b.add(PartOf(append(end, trailerMagic...)))
	return Sealed{Key: b.key, Body: b.body, SizeBytes: b.size, CRC32C: b.crc32c, Segments: b.segments}, nil
}
