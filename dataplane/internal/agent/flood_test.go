package agent_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/agent"
	"github.com/streamhouse/streamhouse/dataplane/internal/cache"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

// sluggish is a bucket that takes so many bytes a second, and keeps only small objects.
type sluggish struct {
	objectstore.Memory

	perSecond float64

	mu    sync.Mutex
	until time.Time // when it has taken everything so far
	bytes int64
}

func (s *sluggish) Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error {
	size := int64(0)
	for _, b := range body {
		size += int64(len(b))
	}
	if size < 1<<10 {
		return s.Memory.Put(ctx, key, body, crc32c)
	}
	s.mu.Lock()
	now := time.Now()
	if s.until.Before(now) {
		s.until = now
	}
	s.until = s.until.Add(time.Duration(float64(size) / s.perSecond * float64(time.Second)))
	s.bytes += size
	wait := s.until.Sub(now)
	s.mu.Unlock()
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Producers offer many times what the bucket takes. Memory stays within what the agent was configured to hold, and the only error is OVERLOADED.
func TestFloodIsTurnedAwayWithinBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process")
	}
	const buffered, cached = 32 << 20, 16 << 20
	store := &sluggish{perSecond: 20e6}
	url := serve(t, store, func(c *agent.Config) {
		c.MaxBufferedBytes, c.Fetch.Cache = buffered, cache.Config{MaxBytes: cached}
		c.MaxObjectBytes, c.Flush.MaxUploads = 4<<20, 2
	})
	done := make(chan sent, 1)
	go func() {
		done <- produceFrom(t, load{URL: url, Partitions: 16, BatchBytes: 128 << 10, InFlight: 100, RecordBytes: 1024, Seconds: 3, Overload: true})
	}()
	var peak uint64
	for running := true; running; {
		select {
		case s := <-done:
			running = false
			if s.Stored < buffered || s.Overloaded == 0 {
				t.Errorf("%d bytes stored, %d calls turned away: no flood", s.Stored, s.Overloaded)
			}
			t.Logf("offered %d MB, stored %d MB, %d calls turned away, peak heap %d MiB", (s.Stored+s.Overloaded<<20)/1e6, s.Stored/1e6, s.Overloaded, peak>>20)
		case <-time.After(20 * time.Millisecond):
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse)
		}
	}
	// Twice what is held, because the collector lets as much garbage gather; and what an idle agent needs.
	if most := uint64(2*(buffered+cached) + 64<<20); peak > most {
		t.Errorf("the heap reached %d MiB, want at most %d", peak>>20, most>>20)
	}
}
