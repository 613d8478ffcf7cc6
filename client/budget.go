package client

import (
	"context"
	"sync"
	"sync/atomic"
)

// budget bounds the bytes that a producer holds. Taking and giving back cost an atomic addition each.
type budget struct {
	limit int64
	held  atomic.Int64

	waiting atomic.Int32 // callers that look for room
	mu      sync.Mutex
	room    chan struct{} // closed, and replaced, when bytes are given back while somebody waits
}

func newBudget(limit int) *budget { return &budget{limit: int64(limit), room: make(chan struct{})} }

// take takes n bytes if there is room. What is larger than the whole budget is taken alone.
func (b *budget) take(n int64) bool {
	held := b.held.Add(n)
	if held <= b.limit || held == n {
		return true
	}
	b.give(n)
	return false
}

// give gives bytes back.
func (b *budget) give(n int64) {
	b.held.Add(-n)
	if b.waiting.Load() > 0 {
		b.wake()
	}
}

// wake makes all who wait look again.
func (b *budget) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.room)
	b.room = make(chan struct{})
}

// wait returns when take(n) may succeed again, or the error of ctx.
func (b *budget) wait(ctx context.Context, n int64) error {
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	b.mu.Lock()
	room := b.room
	b.mu.Unlock()
	if held := b.held.Load(); held == 0 || held+n <= b.limit { // given back before anybody was seen to wait
		return ctx.Err()
	}
	select {
	case <-room:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// crowded reports whether more than half is held: then nothing waits for company.
func (b *budget) crowded() bool { return b.held.Load() > b.limit/2 }
