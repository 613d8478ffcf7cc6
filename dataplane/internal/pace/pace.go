// Package pace holds back what works on the bucket in the background, so that those who produce come first. One Pace is shared by all such work of
// an agent: what one job reads is not there for the others.
//
// Work comes in steps, a request or two each. A step waits for its turn (two are under way at a time) and for the rate; a request costs as much as
// 64 KiB, so a number of bytes a second bounds requests, too. How much of the rate there is follows from what producers feel (judge.go): all of it
// while nobody waits longer than usual, an eighth at least. Below the whole, each step is followed by a pause as long as itself, so that
// of one processor half stays free whatever a step costs. Nothing waits for the agent to have nothing to do: what is held back ends, eight times as late.
//
// What may not live here: what is worth doing, and when.
//
// Read: pace.go, judge.go.
package pace

import (
	"context"
	"sync"
	"time"
)

const (
	// stepsAtATime are under way.
	stepsAtATime = 2
	// leastBytes is what a step costs at least.
	leastBytes = 64 << 10
	// longestRest bounds the pause after a step: one that hung has been held back enough.
	longestRest = 250 * time.Millisecond
)

// DefaultBytesPerSecond are read at most.
const DefaultBytesPerSecond = 64 << 20

// Foreground is what an agent does for others.
type Foreground interface {
	// Answered is how many calls of producers have been answered so far, and how long all of them took together.
	Answered() (calls int64, took time.Duration)
	// Pressed tells whether producers are about to be refused.
	Pressed() bool
}

// Pace is a number of bytes a second, or less of it. A nil *Pace holds nobody back. Safe for concurrent use.
type Pace struct {
	bytesPerSecond int64
	foreground     Foreground    // nil: nobody is in the way
	steps          chan struct{} // one for each step under way

	mu    sync.Mutex // guards what follows
	next  time.Time  // when the bytes until now are paid for
	ended time.Time  // when the last step did
	judge judge
	share float64 // of the rate, at the last step
}

// New makes a pace; 0 bytes a second are DefaultBytesPerSecond. foreground may be nil.
func New(bytesPerSecond int64, foreground Foreground) *Pace {
	if bytesPerSecond <= 0 {
		bytesPerSecond = DefaultBytesPerSecond
	}
	return &Pace{bytesPerSecond: bytesPerSecond, foreground: foreground, steps: make(chan struct{}, stepsAtATime), judge: judge{share: 1}, share: 1}
}

// Do does a step, in which so many bytes are read, when it may. It returns after the pause that belongs to it. An error is the step's, or the context's.
func (p *Pace) Do(ctx context.Context, bytes int64, step func(ctx context.Context) error) error {
	if p == nil {
		return step(ctx)
	}
	select {
	case p.steps <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-p.steps }()
	if err := sleep(ctx, p.book(max(bytes, leastBytes))); err != nil {
		return err
	}
	began := time.Now()
	err := step(ctx)
	if rest := p.end(time.Since(began)); err == nil && rest > 0 {
		err = sleep(ctx, rest)
	}
	return err
}

// end ends a step, and answers how long a pause follows.
func (p *Pace) end(took time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = time.Now()
	if p.share == 1 {
		return 0
	}
	return min(took, longestRest)
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
	p.share = p.look(now)
	p.next = p.next.Add(time.Duration(float64(bytes) / (float64(p.bytesPerSecond) * p.share) * float64(time.Second)))
	return due.Sub(now)
}

// look answers the share of the rate that there is now. Requires: p.mu is held.
func (p *Pace) look(now time.Time) float64 {
	if p.foreground == nil {
		return 1
	}
	calls, took := p.foreground.Answered()
	p.judge.look(now, calls, took, now.Sub(p.ended) >= pause)
	if p.foreground.Pressed() {
		return leastShare
	}
	return p.judge.share
}

// Share is how much of the rate background work had at its last step.
func (p *Pace) Share() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.share
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
