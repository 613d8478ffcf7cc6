package lease

import (
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
)

// handingOver is how long a hand-over may take before late requests are treated as any others again.
const handingOver = time.Minute

// Handed remembers which partitions this agent is handing over, or has handed over lately, so that late requests are forwarded whatever they ask
// for. It outlives sessions and is safe for concurrent use.
type Handed struct {
	linger time.Duration

	mu    sync.Mutex
	until map[partition.ID]time.Time
	swept time.Time
	count uint64
}

// NewHanded remembers for so long after a hand-over.
func NewHanded(linger time.Duration) *Handed {
	return &Handed{linger: linger, until: map[partition.ID]time.Time{}}
}

// Lately tells whether the partition is being handed over, or was so a moment ago.
func (h *Handed) Lately(p partition.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	until, ok := h.until[p]
	return ok && time.Now().Before(until)
}

// Count is how many hand-overs have ended.
func (h *Handed) Count() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

func (h *Handed) begin(p partition.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.until[p] = time.Now().Add(handingOver)
}

// end notes that a hand-over is complete. Who resigns because it cannot write has handed nothing over: who asks it is told the leader.
func (h *Handed) end(p partition.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, under := h.until[p]; under {
		h.until[p] = time.Now().Add(h.linger)
		h.count++
	}
}

// overtaken ends a hand-over, if one was under way, whose partition has found another leader before it was released.
func (h *Handed) overtaken(p partition.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if until, under := h.until[p]; under {
		if soon := time.Now().Add(h.linger); soon.Before(until) {
			h.until[p] = soon
		}
	}
}

// sweep forgets what is long ago, once a second.
func (h *Handed) sweep() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if now.Sub(h.swept) < time.Second {
		return
	}
	h.swept = now
	for p, until := range h.until {
		if !now.Before(until) {
			delete(h.until, p)
		}
	}
}
