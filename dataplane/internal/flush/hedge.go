package flush

import (
	"context"
	"errors"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

const (
	// A PUT is slow that takes longer than slowFactor times what 95 % of the last ones of its size took, and at least leastPatience;
	// before there are fewSamples it is slow after firstPatience.
	slowFactor    = 2
	leastPatience = 200 * time.Millisecond
	firstPatience = time.Second
	mostPatience  = 10 * time.Second
	fewSamples    = 20
	keptSamples   = 100
	// hedgeShare of all PUTs may be hedged, and hedgeBurst in a row: when the bucket is slow for all, hedges make it slower.
	hedgeShare = 0.05
	hedgeBurst = 3
)

// hedger repeats a PUT that is slow, once, under the same key with the same bytes, and takes the better answer. Safe for concurrent use.
type hedger struct {
	store Store

	mu      sync.Mutex
	credit  float64
	samples [32][]time.Duration // by size class; newest last
}

func newHedger(store Store) *hedger { return &hedger{store: store, credit: 1} }

// put returns how often it began. An error is the last attempt's: while another is on its way nobody knows.
func (h *hedger) put(ctx context.Context, key string, body [][]byte, size int64, crc32c uint32) (attempts int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait() // body is in use until then
	defer cancel()
	answers := make(chan error, 2) // one for each attempt
	begin := func() {
		attempts++
		running.Go(func() { answers <- h.store.Put(ctx, key, body, crc32c) })
	}
	began := time.Now()
	begin()
	slow := time.NewTimer(h.patience(size))
	defer slow.Stop()
	for open := 1; open > 0; {
		select {
		case err = <-answers:
			open--
			if err == nil || errors.Is(err, objectstore.ErrConflict) {
				h.note(size, time.Since(began))
				return attempts, err
			}
		case <-slow.C:
			if h.spend() {
				begin()
				open++
			}
		}
	}
	return attempts, err
}

// class puts sizes into one that differ by less than a factor of four.
func class(size int64) int { return bits.Len64(uint64(size)) / 2 }

// patience is how long a PUT may take before it counts as slow.
func (h *hedger) patience(size int64) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := h.samples[class(size)]
	if len(seen) < fewSamples {
		return firstPatience
	}
	sorted := slices.Sorted(slices.Values(seen))
	return min(mostPatience, max(leastPatience, slowFactor*sorted[len(sorted)*95/100]))
}

func (h *hedger) note(size int64, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.credit = min(hedgeBurst, h.credit+hedgeShare)
	seen := &h.samples[class(size)]
	if len(*seen) == keptSamples {
		*seen = append((*seen)[:0], (*seen)[1:]...)
	}
	*seen = append(*seen, took)
}

func (h *hedger) spend() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.credit < 1 {
		return false
	}
	h.credit--
	return true
}
