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
	where place
	again bool               // a part of it was wanted by readers more than once
	known map[part]knowledge // of its segments; at most maxKnown

	join  sync.Once
	parts [][]byte // those of a commit come in parts, which are joined by the first reader
	bytes []byte
}

// maxKnown bounds the segments of one blob of which something is remembered; others are checked at each use.
const maxKnown = 10_000

// knowledge is what is remembered of a segment.
type knowledge struct {
	good bool // its checksum was right
	used bool // a reader has had it
}

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

// vouch remembers that a segment's checksum was right. Requires Cache.mu.
func (b *blob) vouch(p part) {
	k := b.known[p]
	k.good = true
	b.note(p, k)
}

// use remembers that a reader got a part. A blob of many segments counts as used again when one of them is, not when each was read once.
// Requires Cache.mu.
func (b *blob) use(p part) {
	k := b.known[p]
	b.again = b.again || k.used
	k.used = true
	b.note(p, k)
}

func (b *blob) note(p part, k knowledge) {
	if b.known == nil {
		b.known = make(map[part]knowledge, 1)
	}
	if _, noted := b.known[p]; noted || len(b.known) < maxKnown {
		b.known[p] = k
	}
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
		if oldest.again && oldest.where == inRing {
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
