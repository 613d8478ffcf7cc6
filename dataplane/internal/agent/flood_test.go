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

func (s *sluggish) taken() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// Producers offer many times what the bucket takes, whether in batches or as plain records. Memory stays within what the agent was configured to hold,
// and the only error is OVERLOADED.
func TestFloodIsTurnedAwayWithinBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process")
	}
	t.Run("batches", func(t *testing.T) { // they are what the messages consist of
		const buffered, cached = 32 << 20, 16 << 20
		flood(t, load{Partitions: 16, BatchBytes: 128 << 10, InFlight: 100, RecordBytes: 1024}, 20e6, buffered, cached, buffered+cached)
	})
	t.Run("plain records", func(t *testing.T) { // there are messages, and what is made of them
		const buffered, cached = 8 << 20, 4 << 20
		flood(t, load{Partitions: 16, InFlight: 300, RecordBytes: 50 << 10, Plain: true}, 1e6, buffered, cached, 2*buffered+cached)
	})
}

// flood has an agent flooded whose bucket takes so many bytes a second and whose budgets are those, and which may hold so many bytes then.
func flood(t *testing.T, l load, perSecond float64, buffered, cached, held int) {
	t.Helper()
	store := &sluggish{perSecond: perSecond}
	l.Seconds, l.Overload = 3, true
	l.URL = serve(t, store, func(c *agent.Config) {
		c.MaxBufferedBytes, c.Fetch.Cache = buffered, cache.Config{MaxBytes: int64(cached)}
		c.MaxObjectBytes, c.Flush.MaxUploads = 4<<20, 2
	})
	done := make(chan sent, 1)
	go func() {
		defer close(done)
		done <- produceFrom(t, l)
	}()
	var peak uint64
	for running := true; running; {
		select {
		case s, sent := <-done:
			if !sent {
				return // and has failed
			}
			running = false
			if s.Values < int64(buffered/8) || s.Overloaded == 0 {
				t.Errorf("%d bytes of values, %d calls turned away: no flood", s.Values, s.Overloaded)
			}
			t.Logf("%d MB of values stored as %d MB, %d calls turned away, peak heap %d MiB", s.Values/1e6, store.taken()/1e6, s.Overloaded, peak>>20)
		case <-time.After(20 * time.Millisecond):
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse)
		}
	}
	// Twice what is held, because the collector lets as much garbage gather; and what an idle agent needs.
	if most := uint64(2*held + 64<<20); peak > most {
		t.Errorf("the heap reached %d MiB, want at most %d", peak>>20, most>>20)
	}
}
