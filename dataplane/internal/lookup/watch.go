package lookup

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
)

// awaitedSegments is how many new segments of one partition a watch asks for: few are written in an
// interval, and a thousand partitions shall fit one lookup.
const awaitedSegments = 10

const (
	// crowded is the number of partitions that one lookup takes.
	crowded = maxRequestPartitions
	// slowInterval is what the protocol asks for.
	slowInterval = time.Second
)

// Leaders says who leads which partition; package route's Table does.
type Leaders interface {
	// Changed is closed at the next change.
	Changed() <-chan struct{}
	// Row has the epoch of the partition's newest tenure, as far as known.
	Row(p partition.ID) route.Row
}

// Watch looks up, once an interval, every partition that somebody waits for or has read from memory, and at once those whose
// leader changed. Waiting readers rely on this alone; notices only make it faster.
type Watch struct {
	coalescer *Coalescer
	index     *Index
	interval  time.Duration
	leaders   Leaders
	log       *slog.Logger
	urgent    chan struct{}                    // capacity 1: moved is not empty
	seen      map[partition.ID]partition.Epoch // Run's own: who led what somebody waits for
	lastRound time.Time                        // Run's own: when all were last looked up

	mu           sync.Mutex
	moved        map[partition.ID]struct{} // bounded by the partitions that somebody waits for
	failingSince time.Time                 // zero: the last round was answered
}

// NewWatch returns a watch that works while Run runs. The interval is at least 10 ms and at most a second.
func NewWatch(coalescer *Coalescer, index *Index, leaders Leaders, interval time.Duration, log *slog.Logger) (*Watch, error) {
	if interval < 10*time.Millisecond || interval > time.Second {
		return nil, fmt.Errorf("lookup interval %s: must be between 10ms and 1s", interval)
	}
	return &Watch{
		coalescer: coalescer, index: index, leaders: leaders, interval: interval, log: log,
		urgent: make(chan struct{}, 1), moved: make(map[partition.ID]struct{}),
	}, nil
}

// Moved has the partition looked up at once, if somebody waits for it: its old leader's notices end, and
// the new one may have committed already.
func (w *Watch) Moved(p partition.ID) {
	if !w.index.isAwaited(p) {
		return
	}
	w.mu.Lock()
	w.moved[p] = struct{}{}
	w.mu.Unlock()
	select {
	case w.urgent <- struct{}{}:
	default:
	}
}

// FailingSince is the time of the first of the lookups that have failed in a row; zero: none has.
func (w *Watch) FailingSince() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failingSince
}

// Run looks up until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	tick := time.NewTicker(w.interval)
	defer tick.Stop()
	for {
		changed := w.leaders.Changed()
		w.noteLeaders()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if w.due() {
				w.round(ctx, append(w.index.queries(func(partition.ID) bool { return true }), w.index.takeRead()...))
			}
		case <-changed:
		case <-w.urgent:
			moved := w.takeMoved()
			w.round(ctx, w.index.queries(func(p partition.ID) bool { _, ok := moved[p]; return ok }))
		}
	}
}

// due tells whether this tick looks up. Above crowded partitions one lookup a second has to do.
func (w *Watch) due() bool {
	now := time.Now()
	if len(w.seen) > crowded && now.Sub(w.lastRound) < slowInterval {
		return false
	}
	w.lastRound = now
	return true
}

// noteLeaders finds partitions that got another leader since somebody began to wait for them.
func (w *Watch) noteLeaders() {
	seen := make(map[partition.ID]partition.Epoch, len(w.seen))
	for _, q := range w.index.queries(func(partition.ID) bool { return true }) {
		p := q.Partition
		seen[p] = w.leaders.Row(p).Epoch
		if was, ok := w.seen[p]; ok && was != seen[p] {
			w.Moved(p)
		}
	}
	w.seen = seen
}

func (w *Watch) takeMoved() map[partition.ID]struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	moved := w.moved
	w.moved = make(map[partition.ID]struct{})
	return moved
}

// round asks once; the index wakes the readers. A failed round is repeated by the next tick.
func (w *Watch) round(ctx context.Context, queries []Query) {
	start := time.Now()
	var err error
	if len(queries) > 0 {
		_, err = w.coalescer.Ask(ctx, queries...)
	}
	if ctx.Err() == nil {
		w.settle(ctx, start, err)
	}
}

func (w *Watch) settle(ctx context.Context, start time.Time, err error) {
	w.mu.Lock()
	since := w.failingSince
	switch {
	case err == nil:
		w.failingSince = time.Time{}
	case since.IsZero():
		w.failingSince = start
	}
	w.mu.Unlock()
	switch {
	case err != nil && since.IsZero():
		w.log.WarnContext(ctx, "lookups for waiting readers fail", slog.Any("error", err))
	case err == nil && !since.IsZero():
		w.log.InfoContext(ctx, "lookups for waiting readers work again", slog.Duration("after", time.Since(since)))
	}
}
