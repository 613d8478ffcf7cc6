package lease

import (
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
)

// Handed remembers which partitions this agent has handed over lately, so that late requests are forwarded whatever they ask for. It
// outlives sessions and is safe for concurrent use.
type Handed struct {
	linger time.Duration

	mu sync.Mutex
	at map[partition.ID]time.Time
}

// NewHanded remembers for so long.
func NewHanded(linger time.Duration) *Handed {
	return &Handed{linger: linger, at: map[partition.ID]time.Time{}}
}

// Lately tells whether the partition is being handed over, or was so a moment ago.
func (h *Handed) Lately(p partition.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, ok := h.at[p]
	return ok && time.Since(at) < h.linger
}

func (h *Handed) note(p partition.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at[p] = time.Now()
}

// sweep forgets what is long ago.
func (h *Handed) sweep() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p, at := range h.at {
		if time.Since(at) >= h.linger {
			delete(h.at, p)
		}
	}
}
