package cache

import (
	"bytes"
	"container/list"
	"hash/crc32"
	"slices"
	"sync"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// blob is a range of an object that is held here. Its bytes never change.
type blob struct {
	object   string
	position int64
	size     int64
	trusted  bool // it was committed here: no checksum is needed
	whole    bool // it is all of its object
	kept     bool // it was put into the ring, or stands for one that was

	// Guarded by Cache.mu.
	uses  int
	where place
	good  map[part]struct{} // the segments whose checksum was right; at most maxGood

	join  sync.Once
	parts [][]byte // those of a commit come in parts, which are joined by the first reader
	bytes []byte
}

// maxGood bounds the segments of one blob that are remembered as checked; others are checked at each use.
const maxGood = 10_000

// place is what drops a blob in the end.
type place uint8

const (
	inRing place = iota
	inUsed
	nowhere
)

// part is where a segment lies in its object.
type part struct {
	position int64
	size     int32
}

func (p part) end() int64 { return p.position + int64(p.size) }

func newBlob(object string, position int64, b []byte) *blob {
	return &blob{object: object, position: position, size: int64(len(b)), bytes: b}
}

func (b *blob) covers(p part) bool {
	if p == wholePart {
		return b.whole
	}
	return b.position <= p.position && p.end() <= b.position+b.size
}

// read returns the bytes of a part that the blob covers.
func (b *blob) read(p part) []byte {
	b.join.Do(func() {
		if len(b.parts) > 0 {
			b.bytes = b.parts[0]
		}
		if len(b.parts) > 1 {
			b.bytes = bytes.Join(b.parts, nil)
		}
		b.parts = nil
	})
	if p == wholePart {
		return b.bytes
	}
	from := p.position - b.position
	return b.bytes[from : from+int64(p.size) : from+int64(p.size)]
}

// blobs finds what is held. Not for concurrent use.
type blobs struct {
	byObject map[string][]*blob
	ring     list.List // those inRing, oldest in front
	maxRing  int64     // bytes
	ringSize int64
}

// find returns the newest blob that covers a part; nil: there is none.
func (s *blobs) find(object string, p part) *blob {
	for _, b := range slices.Backward(s.byObject[object]) {
		if b.covers(p) {
			return b
		}
	}
	return nil
}

// put adds a blob to the ring and returns those that fell out of it; those used more than once among them are still found. What is larger
// than the whole ring falls through.
func (s *blobs) put(b *blob) (dropped []*blob) {
	s.byObject[b.object] = append(s.byObject[b.object], b)
	s.ring.PushBack(b)
	s.ringSize += b.size
	for s.ringSize > s.maxRing {
		oldest := s.ring.Remove(s.ring.Front()).(*blob) //nolint:forcetypeassert // only blobs are put in
		s.ringSize -= oldest.size
		if oldest.uses > 1 && oldest.where == inRing {
			oldest.where = inUsed
			dropped = append(dropped, oldest)
			continue
		}
		s.forget(oldest)
	}
	return dropped
}

// forget has a blob found no more. In the ring it still takes its room.
func (s *blobs) forget(b *blob) {
	b.where = nowhere
	all := s.byObject[b.object]
	for i := range all {
		if all[i] == b {
			all[i] = all[len(all)-1]
			all[len(all)-1] = nil
			all = all[:len(all)-1]
			break
		}
	}
	if len(all) == 0 {
		delete(s.byObject, b.object)
		return
	}
	s.byObject[b.object] = all
}
