package controltest

import (
	"context"
	"maps"
	"sync"
	"time"
)

// reads counts what is read of a Bucket.
type reads struct {
	mu    sync.Mutex
	delay time.Duration
	gets  map[string]int
}

func (r *reads) add(key string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gets == nil {
		r.gets = map[string]int{}
	}
	r.gets[key]++
	return r.delay
}

// SlowGets makes every GET take so long.
func (b *Bucket) SlowGets(d time.Duration) {
	b.reads.mu.Lock()
	defer b.reads.mu.Unlock()
	b.reads.delay = d
}

// Gets is how many GETs of each object began.
func (b *Bucket) Gets() map[string]int {
	b.reads.mu.Lock()
	defer b.reads.mu.Unlock()
	return maps.Clone(b.reads.gets)
}

// GetRange takes its time.
func (b *Bucket) GetRange(ctx context.Context, key string, position int64, dst []byte) error {
	if err := pause(ctx, b.reads.add(key)); err != nil {
		return err
	}
	return b.Memory.GetRange(ctx, key, position, dst)
}

// GetTail takes its time.
func (b *Bucket) GetTail(ctx context.Context, key string, dst []byte) (n int, size int64, err error) {
	if err := pause(ctx, b.reads.add(key)); err != nil {
		return 0, 0, err
	}
	return b.Memory.GetTail(ctx, key, dst)
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
