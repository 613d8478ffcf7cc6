package compact

import (
	"context"
	"time"
)

const (
	// look is how often a busy agent is looked at again; patience, how long compaction waits for one at a time: it must not starve.
	look     = 20 * time.Millisecond
	patience = 5 * time.Second
)

// pace holds compaction back. One goroutine uses it.
type pace struct {
	bytesPerSecond int64
	busy           func() bool
	next           time.Time // when the bytes until now are paid for
}

// wait returns when so many bytes may be read: within the rate, and when the agent has time.
func (p *pace) wait(ctx context.Context, bytes int64) error {
	for began := time.Now(); p.busy() && time.Since(began) < patience; {
		if err := sleep(ctx, look); err != nil {
			return err
		}
	}
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	due := p.next
	p.next = p.next.Add(time.Duration(float64(bytes) / float64(p.bytesPerSecond) * float64(time.Second)))
	return sleep(ctx, due.Sub(now))
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
