package keycompact

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

const (
	// hashBytes of a key's SHA-256 stand for it. Two keys with the same ones would be taken for one, and a record would be lost: so the hash
	// is one for which nobody can find such keys, whoever chooses them.
	hashBytes = 16
	// slotBytes is what a key costs; a map is filled to at most 3 of 4 slots.
	slotBytes = hashBytes + 8
)

// newest says for each key at which offset its newest record is. Its memory is bounded, and taken at once. Not for concurrent use.
type newest struct {
	slots []slot
	used  int
}

// slot is empty where after is 0.
type slot struct {
	hash  [hashBytes]byte
	after int64 // the offset that follows
}

// newNewest has room for as many keys as fit the memory, and for no more than there can be.
func newNewest(memoryBytes, most int64) *newest {
	return &newest{slots: make([]slot, max(4, min(memoryBytes/slotBytes, most+most/3+4)))}
}

// note says that a record of the key is at the offset. False: there is no room for another key.
func (n *newest) note(key []byte, offset int64) bool {
	hash := hashOf(key)
	s := n.find(hash)
	if s.after == 0 {
		if n.used >= len(n.slots)*3/4 {
			return false
		}
		n.used++
		s.hash = hash
	}
	s.after = max(s.after, offset+1)
	return true
}

// superseded tells whether the key has a newer record than the one at the offset.
func (n *newest) superseded(key []byte, offset int64) bool {
	return n.find(hashOf(key)).after > offset+1
}

// find returns the key's slot, or the empty one that it would get. There always is one: the map never fills up.
func (n *newest) find(hash [hashBytes]byte) *slot {
	at, _ := bits.Mul64(binary.BigEndian.Uint64(hash[:]), uint64(len(n.slots)))
	for {
		s := &n.slots[at]
		if s.after == 0 || s.hash == hash {
			return s
		}
		if at++; at == uint64(len(n.slots)) {
			at = 0
		}
	}
}

func hashOf(key []byte) [hashBytes]byte {
	sum := sha256.Sum256(key)
	return [hashBytes]byte(sum[:])
}
