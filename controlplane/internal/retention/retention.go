package retention

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/streamhouse/streamhouse/serve/crashpoint"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// DefaultInterval between two passes.
const DefaultInterval = time.Minute

const (
	// pageRest between two pages of a pass: commits go first.
	pageRest = 20 * time.Millisecond
	// pageTimeout bounds one call to the store.
	pageTimeout = 10 * time.Second
	// leastInterval between two passes.
	leastInterval = 100 * time.Millisecond
)

var (
	afterRaise  = crashpoint.Register("retention.after-raise")
	afterRaised = crashpoint.Register("retention.after-raised")
	afterRemove = crashpoint.Register("retention.after-remove")
)

// Config of a keeper.
type Config struct {
	// Interval between two passes, give or take a tenth; default DefaultInterval, at least 100 ms.
	Interval time.Duration
	// Logger; default slog.Default().
	Logger *slog.Logger
	// Meter; default: nothing is measured.
	Meter metric.Meter
}

// Keeper is one replica's.
type Keeper struct {
	store    store.Retention
	interval time.Duration
	log      *slog.Logger
	metrics  *metrics
}

// New makes a keeper. An error: the configuration is out of bounds.
func New(s store.Retention, config Config) (*Keeper, error) {
	interval := cmp.Or(config.Interval, DefaultInterval)
	if interval < leastInterval {
		return nil, fmt.Errorf("retention interval %v: must be at least %v", interval, leastInterval)
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	m, err := newMetrics(config.Meter)
	if err != nil {
		return nil, err
	}
	return &Keeper{store: s, interval: interval, log: config.Logger, metrics: m}, nil
}

// Run passes over all partitions until the context ends; then it returns nil. A database that does not answer is no error: the next pass
// finishes what this one has begun.
func (k *Keeper) Run(ctx context.Context) error {
	for rest(ctx, k.interval*9/10+rand.N(k.interval/5)) { // replicas that start together do not stay together
		k.pass(ctx)
	}
	return nil
}

// pass does both steps over all pages, the second also where the first was cut short: it may be the last pass's.
func (k *Keeper) pass(ctx context.Context) {
	start := time.Now()
	raised, err := k.raise(ctx)
	if raised > 0 {
		afterRaised.Here()
	}
	removed, err2 := k.remove(ctx)
	if ctx.Err() != nil {
		return
	}
	k.metrics.passed(ctx, time.Since(start), raised, removed)
	if err = cmp.Or(err, err2); err != nil {
		k.log.WarnContext(ctx, "retention was cut short", "error", err)
	}
	if raised > 0 || removed.Segments > 0 {
		k.log.InfoContext(ctx, "old records removed", "partitions", raised, "segments", removed.Segments, "bytes", removed.Bytes)
	}
}

func (k *Keeper) raise(ctx context.Context) (partitions int, err error) {
	err = pages(ctx, func(ctx context.Context, after store.RetentionCursor) (*store.RetentionCursor, error) {
		page, err := k.store.RaiseLogStarts(ctx, after)
		partitions += page.Partitions
		if page.Partitions > 0 {
			afterRaise.Here()
		}
		return page.Next, err
	})
	return partitions, err
}

func (k *Keeper) remove(ctx context.Context) (removed store.RemovedPage, err error) {
	err = pages(ctx, func(ctx context.Context, after store.RetentionCursor) (*store.RetentionCursor, error) {
		page, err := k.store.RemoveBelowLogStarts(ctx, after)
		removed.Segments += page.Segments
		removed.Bytes += page.Bytes
		if page.Segments > 0 {
			afterRemove.Here()
		}
		return page.Next, err
	})
	return removed, err
}

// pages takes one page after the other, with rests.
func pages(ctx context.Context, take func(context.Context, store.RetentionCursor) (*store.RetentionCursor, error)) error {
	for next := (&store.RetentionCursor{}); next != nil; {
		bounded, cancel := context.WithTimeout(ctx, pageTimeout)
		after, err := take(bounded, *next)
		cancel()
		if err != nil {
			return err
		}
		if next = after; next != nil && !rest(ctx, pageRest) {
			return ctx.Err()
		}
	}
	return nil
}

func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
