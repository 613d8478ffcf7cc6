// Package pace holds back what rewrites the bucket in the background, so that those who produce and consume come first. One Pace is shared by all
// such work of an agent: what one of them reads is not there for the others.
//
// What may not live here: what is worth doing, and when.
package pace

import (
	"context"
	"sync"
	"time"
)

const (
	// look is how often a busy agent is looked at again; patience, how long work waits for one at a time: it must not starve.
	look     = 20 * time.Millisecond
	patience = 5 * time.Second
)

// DefaultBytesPerSecond are read at most.
const DefaultBytesPerSecond = 64 << 20

// Pace is a number of bytes a second. A nil *Pace holds nobody back.
type Pace struct {
	bytesPerSecond int64
	busy           func() bool

	mu   sync.Mutex
	next time.Time // when the bytes until now are paid for
}

// New makes a pace; 0 bytes a second are DefaultBytesPerSecond. busy tells whether producers and readers need the agent more; nil: never.
func New(bytesPerSecond int64, busy func() bool) *Pace {
	if bytesPerSecond <= 0 {
		bytesPerSecond = DefaultBytesPerSecond
	}
	if busy == nil {
		busy = func() bool { return false }
	}
	return &Pace{bytesPerSecond: bytesPerSecond, busy: busy}
}

// Wait returns when so many bytes may be read: within the rate, and when the agent has time.
func (p *Pace) Wait(ctx context.Context, bytes int64) error {
	if p == nil {
		return ctx.Err()
	}
	for began := time.Now(); p.busy() && time.Since(began) < patience; {
		if err := sleep(ctx, look); err != nil {
			return err
		}
	}
	return sleep(ctx, p.book(bytes))
}

// book takes the next bytes, and answers how long it is until they may be read.
func (p *Pace) book(bytes int64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	due := p.next
	p.next = p.next.Add(time.Duration(float64(bytes) / float64(p.bytesPerSecond) * float64(time.Second)))
	return due.Sub(now)
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
