package client

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	leastBackoff = 50 * time.Millisecond
	mostBackoff  = time.Second
	mostFailures = 6 // from here on the backoff is the greatest
)

// backoff is how long to wait before the attempt that follows the given number of failures: doubling from 50 ms
// to 1 s, less up to a half at random, so that callers that failed together do not return together.
func backoff(failures int) time.Duration {
	d := mostBackoff
	if shift := max(failures-1, 0); shift < mostFailures-1 {
		d = min(leastBackoff<<shift, mostBackoff)
	}
	return d/2 + rand.N(d/2)
}

// sleep waits for d or the end of ctx, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
