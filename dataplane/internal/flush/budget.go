package flush

import (
	"sync"
	"time"
)

// Budget is a token bucket of PUTs: what bounds an agent's bill. It outlives sessions and is safe for concurrent use.
type Budget struct {
	perSecond float64
	burst     float64

	mu     sync.Mutex
	tokens float64 // as of at
	at     time.Time
}

// NewBudget returns a full bucket of burst tokens (at least 1), refilled at perSecond (above 0).
func NewBudget(perSecond float64, burst int) *Budget {
	return &Budget{perSecond: perSecond, burst: float64(burst), tokens: float64(burst), at: time.Now()}
}

// Wait is how long until there is a token; 0: there is one.
func (b *Budget) Wait(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	if b.tokens >= 1 {
		return 0
	}
	// Rounded up: a wait that ended a nanosecond early would be followed by another.
	return time.Duration((1-b.tokens)/b.perSecond*float64(time.Second)) + time.Microsecond
}

// Spend takes a token if there is one. An upload that is exempt spends too, so that a busy agent does not pay for small objects beside its
// full ones, but it waits for nothing and leaves no debt.
func (b *Budget) Spend(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill(now)
	b.tokens = max(0, b.tokens-1)
}

// refill requires mu.
func (b *Budget) refill(now time.Time) {
	if passed := now.Sub(b.at); passed > 0 {
		b.tokens = min(b.burst, b.tokens+passed.Seconds()*b.perSecond)
		b.at = now
	}
}
