// Package watch tells agents what has changed in the placement of their agent group. One Hub a process reads the revisions of all agent groups
// with one query when it is told that something has changed, by this process or by another; as long as others cannot tell, it polls, four times
// as often while things move. Each watcher reads the pages that it lacks.
// Level-triggered: what is kept is a number for each agent group and one for each watcher, never a queue, so that a slow watcher only lags.
// Nothing here decides anything, and nothing rests on a notice: a heartbeat brings the same pages.
// Promises: none. P1 to P5 hold however late a watcher learns of a change.
// Read: watch.go, stream.go.
package watch

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

const (
	// livelyFor is how long after a change polls are quickFactor times as frequent, while somebody watches: what moves one partition mostly moves more.
	livelyFor   = 2 * time.Second
	quickFactor = 4
	// nudgeGap is the shortest time between two polls: a burst of transactions costs one query, not one each.
	nudgeGap = 10 * time.Millisecond
	// toldInterval is the time between two polls while others tell.
	toldInterval = time.Second
	// doubtFor is how long after a poll that failed others are not believed to tell: what tells may take so long to notice that the database has changed.
	doubtFor = 15 * time.Second
	// staleAfter is how long polls may fail before watchers are sent away, to another replica that may still reach the database.
	staleAfter = 3 * time.Second
)

// Source is what the hub needs of the store.
type Source interface {
	Revisions(ctx context.Context) (map[store.AgentGroup]int64, error)
	PlacementAfter(ctx context.Context, agentGroup store.AgentGroup, revision int64, limit int) (*controlplanev1.Placement, error)
	// PlacementChanged signals changes that this process has made, and while it is Hearing those of others.
	PlacementChanged() <-chan struct{}
	Hearing() bool
	CheckSession(ctx context.Context, agentGroup store.AgentGroup, sessionID uuid.UUID) error
}

// Hub knows the newest revision of each agent group, as of the last poll.
type Hub struct {
	source   Source
	interval time.Duration
	logger   *slog.Logger

	mu       sync.Mutex // guards what follows
	groups   map[store.AgentGroup]*level
	polledAt time.Time // last poll that succeeded
	movedAt  time.Time // last poll that found a change
	failedAt time.Time // last poll that failed
	watchers int
	changes  uint64 // that polls have found
	failing  bool
}

// level is the newest revision known of an agent group. changed is closed, and replaced, by the poll that finds a newer one.
type level struct {
	revision int64
	changed  chan struct{}
}

// New makes a hub that polls at an interval, which must be above 0.
func New(source Source, interval time.Duration, logger *slog.Logger) (*Hub, error) {
	if interval <= 0 {
		return nil, fmt.Errorf("watch interval %v: must be above 0", interval)
	}
	return &Hub{
		source: source, interval: interval, logger: logger,
		groups: map[store.AgentGroup]*level{}, polledAt: time.Now(),
	}, nil
}

// Run polls until the context ends.
func (h *Hub) Run(ctx context.Context) error {
	for {
		h.poll(ctx)
		gap := min(nudgeGap, h.interval)
		if !pause(ctx, gap) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(h.wait() - gap):
		case <-h.source.PlacementChanged():
		}
	}
}

// wait is the time between two polls.
func (h *Hub) wait() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.source.Hearing() && time.Since(h.failedAt) > doubtFor {
		return max(h.interval, toldInterval)
	}
	if h.watchers > 0 && time.Since(h.movedAt) < livelyFor {
		return h.interval / quickFactor
	}
	return h.interval
}

// enter counts a watcher until the function that it answers is called.
func (h *Hub) enter() (leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.watchers--
	}
}

func pause(ctx context.Context, wait time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}

func (h *Hub) poll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, staleAfter)
	defer cancel()
	revisions, err := h.source.Revisions(ctx)
	if err != nil {
		h.failed(ctx, err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.polledAt, h.failing = time.Now(), false
	for group, revision := range revisions {
		h.advance(group, revision)
	}
}

// advance wakes the watchers of an agent group whose revision is another than before. Also a lower one: the catalog may have been restored.
// Requires: mu.
func (h *Hub) advance(group store.AgentGroup, revision int64) {
	known := h.level(group)
	if known.revision == revision {
		return
	}
	known.revision = revision
	h.movedAt = time.Now()
	h.changes++
	close(known.changed)
	known.changed = make(chan struct{})
}

// level finds or makes the level of an agent group. Requires: mu.
func (h *Hub) level(group store.AgentGroup) *level {
	known, ok := h.groups[group]
	if !ok {
		known = &level{changed: make(chan struct{})}
		h.groups[group] = known
	}
	return known
}

// failed says once that polls fail.
func (h *Hub) failed(ctx context.Context, err error) {
	h.mu.Lock()
	first := !h.failing
	h.failing, h.failedAt = true, time.Now()
	h.mu.Unlock()
	if first {
		h.logger.WarnContext(ctx, "placement poll failed", slog.Any("error", err))
	}
}

// state returns the newest revision of an agent group, and a channel that is closed when there is another.
func (h *Hub) state(group store.AgentGroup) (revision int64, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.level(group)
	return known.revision, known.changed
}

// Changes counts the changes that polls have found, of all agent groups: while it stays as it was, so has the placement, but for the last interval.
func (h *Hub) Changes() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changes
}

// stale tells for how long no poll has succeeded, if that is too long.
func (h *Hub) stale() (time.Duration, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := time.Since(h.polledAt)
	return since, since > staleAfter+max(h.interval, toldInterval)
}
