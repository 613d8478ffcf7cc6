package object

import (
	"encoding/binary"
	"strings"
)

// Footer says who wrote an object and what is in it.
type Footer struct {
	Key      Key
	Segments []Segment
}

func (f Footer) appendTo(b []byte) []byte {
	var group [maxAgentGroupLen]byte
	copy(group[:], f.Key.AgentGroup)
	b = append(b, byte(len(f.Key.AgentGroup)))
	b = append(b, group[:]...)
	b = append(b, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(f.Key.Incarnation))
	b = append(b, f.Key.Session[:]...)
	b = binary.BigEndian.AppendUint64(b, f.Key.Counter)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.Segments)))
	for _, s := range f.Segments {
		b = s.appendTo(b)
	}
	return b
}

// Parse reads the head and the footer of a whole object; Verify checks the bytes between them.
// Errors: *VersionError; all others wrap ErrCorrupt.
func Parse(body []byte) (Footer, error) {
	if len(body) < minObjectSize {
		return Footer{}, corrupt("%d bytes are fewer than the smallest object has", len(body))
	}
	if string(body[:len(headMagic)]) != headMagic {
		return Footer{}, corrupt("it does not begin with an object's magic")
	}
	if v := binary.BigEndian.Uint16(body[len(headMagic):]); v != Version {
		return Footer{}, &VersionError{Version: v}
	}
	t, err := parseTrailer(body, int64(len(body)))
	if err != nil {
		return Footer{}, err
	}
	return t.parseFooter(body[t.footerPosition : len(body)-trailerSize])
}

// Verify compares every segment of a whole object with its checksum. Wraps ErrCorrupt.
func (f Footer) Verify(body []byte) error {
	for _, s := range f.Segments {
		if s.BytePosition < 0 || s.endPosition() > int64(len(body)) {
			return corrupt("segment at byte %d lies outside the object", s.BytePosition)
		}
		if err := s.Check(body[s.BytePosition:s.endPosition()]); err != nil {
			return err
		}
	}
	return nil
}

type trailer struct {
	footerSize     int64
	footerPosition int64
	crc32c         uint32
}

// parseTrailer reads the last bytes of tail, which is the end of an object of objectSize bytes.
// What it returns lies within the object. Requires: trailerSize <= len(tail) <= objectSize.
func parseTrailer(tail []byte, objectSize int64) (trailer, error) {
	b := tail[len(tail)-trailerSize:]
	if string(b[10:]) != trailerMagic {
		return trailer{}, corrupt("it does not end with an object's magic")
	}
	if v := binary.BigEndian.Uint16(b[8:]); v != Version {
		return trailer{}, &VersionError{Version: v}
	}
	size := int64(binary.BigEndian.Uint32(b))
	position := objectSize - trailerSize - size
	if size < footerHeaderSize+segmentEntrySize || size > maxFooterSize || position <= headSize {
		return trailer{}, corrupt("a footer of %d bytes cannot be in an object of %d", size, objectSize)
	}
	return trailer{footerSize: size, footerPosition: position, crc32c: binary.BigEndian.Uint32(b[4:])}, nil
}

// parseFooter trusts nothing: a right checksum only proves that the bytes are those that were written.
// Requires: len(b) == t.footerSize.
func (t trailer) parseFooter(b []byte) (Footer, error) {
	if sum := Checksum(b); sum != t.crc32c {
		return Footer{}, corrupt("footer has checksum %08x, want %08x", sum, t.crc32c)
	}
	key, err := parseFooterKey(b)
	if err != nil {
		return Footer{}, err
	}
	entries := b[footerHeaderSize:]
	count := int64(binary.BigEndian.Uint32(b[72:]))
	if count*segmentEntrySize != int64(len(entries)) {
		return Footer{}, corrupt("footer of %d bytes claims %d segments", len(b), count)
	}
	segments, err := t.parseSegments(entries)
	if err != nil {
		return Footer{}, err
	}
	return Footer{Key: key, Segments: segments}, nil
}

func parseFooterKey(b []byte) (Key, error) {
	n := int(b[0])
	if n > maxAgentGroupLen {
		return Key{}, corrupt("agent group of %d characters", n)
	}
	if strings.Trim(string(b[1+n:44]), "\x00") != "" {
		return Key{}, corrupt("padding of the agent group is not zero")
	}
	key := Key{
		AgentGroup:  string(b[1 : 1+n]),
		Incarnation: int32(binary.BigEndian.Uint32(b[44:])),
		Session:     UUID(b[48:64]),
		Counter:     binary.BigEndian.Uint64(b[64:]),
	}
	if err := key.Validate(); err != nil {
		return Key{}, corrupt("%v", err)
	}
	return key, nil
}

// parseSegments demands that segments are sound, in order, and fill the space between head and footer.
func (t trailer) parseSegments(entries []byte) ([]Segment, error) {
	segments := make([]Segment, 0, len(entries)/segmentEntrySize)
	position := int64(headSize)
	for ; len(entries) > 0; entries = entries[segmentEntrySize:] {
		n := len(segments)
		s, reserved := decodeSegment(entries[:segmentEntrySize])
		problem := s.problem()
		switch {
		case problem != "":
		case reserved != 0:
			problem = "reserved bytes are not zero"
		case s.SizeBytes < 1:
			problem = "no bytes"
		case s.BytePosition != position:
			problem = "it does not begin where the last one ended"
		case n > 0 && !s.follows(segments[n-1]):
			problem = "out of order"
		}
		if problem != "" {
			return nil, corrupt("segment %d: %s", n, problem)
		}
		position = s.endPosition()
		segments = append(segments, s)
	}
	if position != t.footerPosition {
		return nil, corrupt("segments end at byte %d, the footer begins at %d", position, t.footerPosition)
	}
	return segments, nil
}
