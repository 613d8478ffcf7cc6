package watch

import (
	"context"
	"time"

	"github.com/google/uuid"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// SignOfLife is the longest silence of a stream.
const SignOfLife = time.Second

// Watcher is an agent that watches its agent group.
type Watcher struct {
	AgentGroup store.AgentGroup
	SessionID  uuid.UUID
	// Revision is the last one that the agent has applied; 0: none.
	Revision int64
}

// stream is one watcher's progress.
type stream struct {
	hub     *Hub
	watcher Watcher
	sent    int64 // last revision sent
	seen    int64 // last revision of the hub that was looked at
	dirty   bool  // something has changed since the session was last checked
	send    func(*controlplanev1.WatchResponse) error
}

// Watch sends what has changed after the watcher's revision, and each later change, until the context ends, the session ends (its refusal),
// the database is out of reach (CATALOG_UNAVAILABLE), or send fails. The first message comes at once, changed or not.
func (h *Hub) Watch(ctx context.Context, watcher Watcher, send func(*controlplanev1.WatchResponse) error) error {
	defer h.enter()()
	s := &stream{hub: h, watcher: watcher, sent: watcher.Revision, send: send}
	s.seen, _ = h.state(watcher.AgentGroup) // before the session is checked: a change that ends it meanwhile is seen as a change
	if err := h.source.CheckSession(ctx, watcher.AgentGroup, watcher.SessionID); err != nil {
		return err
	}
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	alive := time.NewTicker(SignOfLife)
	defer alive.Stop()
	for {
		if err := s.step(ctx, alive); err != nil {
			return err
		}
	}
}

// step waits for a change or for the time to show a sign of life, and acts on it.
func (s *stream) step(ctx context.Context, alive *time.Ticker) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	revision, changed := s.hub.state(s.watcher.AgentGroup)
	if revision != s.seen {
		s.seen, s.dirty = revision, true
		if revision == s.sent {
			return nil
		}
		return s.catchUp(ctx)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-changed:
		return nil
	case <-alive.C:
		return s.sign(ctx)
	}
}

// catchUp sends pages until there is no more.
func (s *stream) catchUp(ctx context.Context) error {
	for {
		page, err := s.hub.source.PlacementAfter(ctx, s.watcher.AgentGroup, s.sent, store.PlacementPage)
		if err != nil {
			return err
		}
		if err := s.send(&controlplanev1.WatchResponse{Placement: page}); err != nil {
			return err
		}
		s.sent = page.GetRevision()
		if !page.GetMore() {
			return nil
		}
	}
}

// sign shows that the stream is alive. The end of a session is a change of its agent group, so that it is looked up only after one: an
// idle cluster costs no query.
func (s *stream) sign(ctx context.Context) error {
	if since, stale := s.hub.stale(); stale {
		return store.Refuse(refusalv1.Reason_REASON_CATALOG_UNAVAILABLE, "the catalog has been out of reach for %v", since.Round(time.Second))
	}
	if s.dirty {
		if err := s.hub.source.CheckSession(ctx, s.watcher.AgentGroup, s.watcher.SessionID); err != nil {
			return err
		}
		s.dirty = false
	}
	return s.send(&controlplanev1.WatchResponse{})
}
