package catalog

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff spaces out attempts: full jitter below a bound that doubles from First to Most. The zero Backoff begins at 50 ms and ends at 2 s.
// One goroutine uses it.
type Backoff struct {
	First, Most time.Duration

	bound time.Duration
}

// Wait sleeps before the next attempt and returns the context's error, if it ended first.
func (b *Backoff) Wait(ctx context.Context) error {
	timer := time.NewTimer(b.Next())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Next is how long to wait before the next attempt: at least half of First.
func (b *Backoff) Next() time.Duration {
	first, most := b.First, b.Most
	if first <= 0 {
		first = 50 * time.Millisecond
	}
	if most <= 0 {
		most = 2 * time.Second
	}
	b.bound = min(max(2*b.bound, first), most)
	return first/2 + time.Duration(rand.Int64N(int64(b.bound)))
}

// Reset begins anew after a success.
func (b *Backoff) Reset() { b.bound = 0 }
