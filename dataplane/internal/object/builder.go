package object

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// Builder writes one object. Every batch is copied once, into the object's bytes.
// It has one user at a time and is done after Seal.
type Builder struct {
	key      Key
	body     []byte
	segments []Segment
}

// Sealed is a finished object: what to PUT, under which key, and what its commit says.
type Sealed struct {
	Key  Key
	Body []byte
	// CRC32C covers Body.
	CRC32C uint32
	// Segments are in the order of a commit.
	Segments []Segment
}

// Size is that of an object of so many segments and so many bytes of batches.
func Size(segments int, batchBytes int) int {
	return headSize + batchBytes + footerHeaderSize + segments*segmentEntrySize + trailerSize
}

// NewBuilder starts an object. It writes into buf's capacity and grows it if need be; with cap(buf) at least
// Size(…) nothing is copied again. The caller leaves buf alone while Sealed.Body is in use. Wraps ErrInvalid.
func NewBuilder(key Key, buf []byte) (*Builder, error) {
	if err := key.Validate(); err != nil {
		return nil, err
	}
	buf = append(buf[:0], headMagic...)
	return &Builder{key: key, body: binary.BigEndian.AppendUint16(buf, Version)}, nil
}

// Append adds a segment made of batches, whose base offsets the caller has stamped, and returns it with
// position, size and checksum filled in. Segments come in order of (topic id, partition, base offset).
// After an error, which wraps ErrInvalid, the builder is as it was.
func (b *Builder) Append(s Segment, batches ...[]byte) (Segment, error) {
	var size int64
	for _, batch := range batches {
		size += int64(len(batch))
	}
	if err := b.admit(s, size); err != nil {
		return Segment{}, err
	}
	s.BytePosition, s.SizeBytes, s.CRC32C = int64(len(b.body)), int32(size), 0
	for _, batch := range batches {
		b.body = append(b.body, batch...)
		s.CRC32C = crc32.Update(s.CRC32C, castagnoli, batch)
	}
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
func (b *Builder) Size() int { return Size(len(b.segments), len(b.body)-headSize) }

// Seal writes the footer. An object without segments is ErrInvalid.
func (b *Builder) Seal() (Sealed, error) {
	if len(b.segments) == 0 {
		return Sealed{}, invalid("object without segments")
	}
	start := len(b.body)
	body := Footer{Key: b.key, Segments: b.segments}.appendTo(b.body)
	footer := body[start:]
	body = binary.BigEndian.AppendUint32(body, uint32(len(footer)))
	body = binary.BigEndian.AppendUint32(body, Checksum(footer))
	body = binary.BigEndian.AppendUint16(body, Version)
	body = append(body, trailerMagic...)
	return Sealed{Key: b.key, Body: body, CRC32C: Checksum(body), Segments: b.segments}, nil
}
