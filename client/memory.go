package client

const (
	maxSpares     = 8       // of one consumer
	maxSpareBytes = 4 << 20 // of one spare: answers are larger only where a batch is
)

// holding is the memory of one answer, and how many still need it: fetched partitions, and the fetch that has just made them. Guarded by
// Consumer.mu.
type holding struct {
	memory []byte
	users  int
	kept   bool // records that a user has lie in it
}

// share counts one more who needs the memory. Requires: Consumer.mu held.
func (h *holding) share() *holding {
	if h != nil {
		h.users++
	}
	return h
}

// keep says that the memory is never to be used again. It is for the goroutine that polls, which alone asks.
func (h *holding) keep() {
	if h != nil {
		h.kept = true
	}
}

// room is what a fetch decodes its answer into.
func (k *Consumer) room() *room {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := &room{}
	if n := len(k.spares); n > 0 {
		r.spare = k.spares[n-1]
		k.spares[n-1] = nil
		k.spares = k.spares[:n-1]
	}
	return r
}

// hold keeps the memory of an answer for its partitions; nil: it has none. Requires: mu held.
func (k *Consumer) hold(r *room) *holding {
	k.spareAgain(r.spare)
	if r.taken == nil {
		return nil
	}
	return &holding{memory: r.taken, users: 1}
}

// letGo counts one less who needs the memory. The last one makes it a spare. Requires: mu held.
func (k *Consumer) letGo(h *holding) {
	if h == nil {
		return
	}
	if h.users--; h.users == 0 && !h.kept {
		k.spareAgain(h.memory)
		h.memory = nil
	}
}

// spareAgain requires mu held.
func (k *Consumer) spareAgain(b []byte) {
	if b != nil && cap(b) <= maxSpareBytes && len(k.spares) < maxSpares {
		k.spares = append(k.spares, b)
	}
}
