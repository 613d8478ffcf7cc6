// Package job keeps the catalog small: it forgets, page by page, the keys of objects that are gone and settled, tenures that the log start has left
// behind, and sessions that ended long ago. What work on the bucket is due, and who has it, is decided in the store's transactions (store.Jobs).
//
// Not here: what an agent does with a job; retention.
// Promises: P8 in part (the catalog does not keep what the bucket has no more).
// Read: janitor.go.
package job

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/streamhouse/streamhouse/serve/crashpoint"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

var afterForget = crashpoint.Register("forget.after-objects")

// Config of a janitor.
type Config struct {
	// Interval between passes over keys; default 1 min. Tenures and sessions are looked at every sixtieth.
	Interval time.Duration
	// SessionKept is how long an ended session can be looked up, in `cluster status` and by late commits; default a day.
	SessionKept time.Duration
	// Logger; default slog.Default().
	Logger *slog.Logger
}

const (
	// slower is how many passes over keys there are for one over tenures and sessions, which scans them all.
	slower = 60
	// pageRest between two pages: commits go first.
	pageRest = 20 * time.Millisecond
	// pageTimeout bounds one call to the store.
	pageTimeout = 5 * time.Second
)

// Janitor forgets. A replica has one; several do the same work without harm.
type Janitor struct {
	store  store.Ending
	config Config
}

// NewJanitor makes a janitor.
func NewJanitor(s store.Ending, config Config) *Janitor {
	if config.Interval == 0 {
		config.Interval = time.Minute
	}
	if config.SessionKept == 0 {
		config.SessionKept = 24 * time.Hour
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	return &Janitor{store: s, config: config}
}

// Run passes over what may be forgotten now and again, until the context ends; then it returns nil.
func (j *Janitor) Run(ctx context.Context) error {
	for pass := 0; rest(ctx, j.config.Interval/2+rand.N(j.config.Interval)); pass++ {
		err := j.objects(ctx)
		if err == nil && pass%slower == 0 {
			err = j.ended(ctx)
		}
		if err != nil && ctx.Err() == nil {
			j.config.Logger.WarnContext(ctx, "forgetting what is over was cut short", slog.Any("error", err))
		}
	}
	return nil
}

func (j *Janitor) objects(ctx context.Context) error {
	forgotten := 0
	for after, more := "", true; more; {
		page, err := bounded(ctx, func(ctx context.Context) (store.ForgottenObjects, error) { return j.store.ForgetObjects(ctx, after) })
		if err != nil {
			return fmt.Errorf("forget objects: %w", err)
		}
		forgotten += page.Objects
		if page.Objects > 0 {
			afterForget.Here()
		}
		after, more = page.Next, page.Next != "" && rest(ctx, pageRest)
	}
	j.tell(ctx, "objects", forgotten)
	return nil
}

// ended forgets tenures before sessions: they refer to them.
func (j *Janitor) ended(ctx context.Context) error {
	forgotten := 0
	for next := (&store.TenureCursor{}); next != nil; {
		page, err := bounded(ctx, func(ctx context.Context) (store.ForgottenTenures, error) { return j.store.ForgetTenures(ctx, *next) })
		if err != nil {
			return fmt.Errorf("forget tenures: %w", err)
		}
		forgotten += page.Tenures
		if next = page.Next; next != nil && !rest(ctx, pageRest) {
			next = nil
		}
	}
	j.tell(ctx, "tenures", forgotten)
	return j.sessions(ctx)
}

func (j *Janitor) sessions(ctx context.Context) error {
	forgotten := 0
	for more := true; more; {
		var page int
		_, err := bounded(ctx, func(ctx context.Context) (_ struct{}, err error) {
			page, more, err = j.store.ForgetSessions(ctx, j.config.SessionKept)
			return struct{}{}, err
		})
		if err != nil {
			return fmt.Errorf("forget sessions: %w", err)
		}
		forgotten += page
		more = more && rest(ctx, pageRest)
	}
	j.tell(ctx, "sessions", forgotten)
	return nil
}

func (j *Janitor) tell(ctx context.Context, what string, forgotten int) {
	if forgotten > 0 {
		j.config.Logger.InfoContext(ctx, "the catalog has forgotten what is over", slog.String("what", what), slog.Int("rows", forgotten))
	}
}

func bounded[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	return call(ctx)
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
