package judge

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// DefaultProducerExpiry is a week: longer than a producer sleeps over a long weekend.
const DefaultProducerExpiry = 7 * 24 * time.Hour

const (
	// passes of the forgetter in one expiry: a producer is remembered for at most a 24th longer than it must be.
	passes = 24
	// mostRest between two passes.
	mostRest = time.Hour
	// pageRest between two pages of one pass: commits go first.
	pageRest = 20 * time.Millisecond
)

// Forgetter makes the catalog forget producers that have been idle for long (P5), one small page after the other. A replica has one.
type Forgetter struct {
	store  store.Forgetting
	expiry time.Duration
	log    *slog.Logger
}

// NewForgetter makes a forgetter of producers that were idle for longer than expiry; at least 100 ms. What is sensible is more: an agent
// trusts its own memory of a producer for half an hour (see its package ingest).
func NewForgetter(s store.Forgetting, expiry time.Duration, log *slog.Logger) (*Forgetter, error) {
	if expiry < 100*time.Millisecond {
		return nil, fmt.Errorf("producer expiry %v: must be at least 100ms", expiry)
	}
	return &Forgetter{store: s, expiry: expiry, log: log}, nil
}

// Run passes over all producers now and again, until the context ends; then it returns nil.
func (f *Forgetter) Run(ctx context.Context) error {
	for {
		forgotten, err := f.pass(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the end of the context is no fault
		case err != nil:
			f.log.WarnContext(ctx, "forgetting idle producers was cut short", "error", err)
		case forgotten > 0:
			f.log.InfoContext(ctx, "idle producers forgotten", "producers", forgotten)
		}
		if !rest(ctx, min(f.expiry/passes, mostRest)) {
			return nil
		}
	}
}

// pass looks at every producer once.
func (f *Forgetter) pass(ctx context.Context) (forgotten int, err error) {
	for next := (&store.ProducerCursor{}); next != nil; {
		page, err := f.page(ctx, *next)
		if err != nil {
			return forgotten, err
		}
		forgotten += page.Producers
		if next = page.Next; next != nil && !rest(ctx, pageRest) {
			return forgotten, ctx.Err()
		}
	}
	return forgotten, nil
}

func (f *Forgetter) page(ctx context.Context, after store.ProducerCursor) (store.Forgotten, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	return f.store.ForgetProducers(ctx, f.expiry, after)
}

// pageTimeout bounds one call to the store.
const pageTimeout = 5 * time.Second

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
