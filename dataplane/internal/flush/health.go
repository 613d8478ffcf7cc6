package flush

import (
	"sync"
	"time"
)

// unfitAfter is how long an agent may hold records without a successful PUT before it calls itself unfit.
const unfitAfter = 5 * time.Second

// Health tells whether the bucket takes what this agent has. It outlives sessions and is safe for concurrent use.
type Health struct {
	mu      sync.Mutex
	lastPut time.Time
	next    uint64
	waiting map[uint64]time.Time // when each upload in flight began
}

// NewHealth returns the health of an agent that holds nothing.
func NewHealth() *Health { return &Health{waiting: map[uint64]time.Time{}} }

// Unfit tells whether an upload has been going on for 5 s without any upload succeeding.
func (h *Health) Unfit(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, began := range h.waiting {
		if now.Sub(began) >= unfitAfter && now.Sub(h.lastPut) >= unfitAfter {
			return true
		}
	}
	return false
}

func (h *Health) begin() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	h.waiting[h.next] = time.Now()
	return h.next
}

func (h *Health) end(upload uint64, stored bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waiting, upload)
	if stored {
		h.lastPut = time.Now()
	}
}
