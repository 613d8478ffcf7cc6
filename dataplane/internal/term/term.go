// Package term is the write path of one session, put together: ledger, flusher, committer, lease loop. A Desk outlives the terms and is
// where producers' batches are handed in, whichever session the agent has.
// Nothing here decides: the packages that it joins do.
//
//	serving -> (session ended)   stop appending, upload and commit what is held in the old epochs, drop the rest
//	        -> (drain)           hand over partition by partition, flushing each first
//	        -> (context ended)   stop hard: unsent is surely not written, sent is possibly
//
// Promises: P1, P6 across the end of a session.
// Read: term.go, desk.go.
package term

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/dataplane/internal/catalog"
	"github.com/streamhouse/streamhouse/dataplane/internal/commit"
	"github.com/streamhouse/streamhouse/dataplane/internal/flush"
	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/lease"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	"github.com/streamhouse/streamhouse/dataplane/internal/session"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/tracing"
)

// uploadGrace is how long uploads may go on after their session has ended.
const uploadGrace = 10 * time.Second

// Config of all terms of an agent; all is required but Tracer.
type Config struct {
	AgentID, AgentGroup string
	MaxObjectBytes      int
	MaxBufferedBytes    int
	Uploads             *flush.Uploads
	Commits             *commit.Measures
	Catalog             *catalog.Client
	Table               *route.Table
	Observer            partition.Observer
	Handed              *lease.Handed
	Successors          lease.Successors
	// DrainHeard is closed when the control plane knows that this agent drains.
	DrainHeard <-chan struct{}
	// Tracer makes spans; nil: nothing does.
	Tracer *tracing.Tracer
	Log    *slog.Logger
}

type term struct {
	session *session.Session
	ledger  *ingest.Ledger
	leases  *lease.Manager
	flusher *flush.Flusher
	commits *commit.Committer
}

func newTerm(c Config, s *session.Session) *term {
	ledger := ingest.New(ingest.Config{
		AgentGroup: c.AgentGroup, Session: s.ID, Incarnation: s.Incarnation,
		MaxObjectBytes: c.MaxObjectBytes, MaxBufferedBytes: c.MaxBufferedBytes,
	})
	log := c.Log.With(slog.String("session_id", s.ID.String()))
	deleted := func(p partition.ID) { c.Table.Forget(p.Topic) }
	return &term{
		session: s, ledger: ledger,
		flusher: flush.New(ledger, c.Uploads, log),
		commits: commit.New(ledger, c.Catalog, c.Observer, deleted, c.Commits, c.Tracer, log),
		leases: lease.NewManager(lease.Config{
			Self: c.AgentID, Session: s.ID.String(), Ledger: ledger, Table: c.Table, Catalog: c.Catalog, Observer: c.Observer,
			Successors: c.Successors, Handed: c.Handed, Unfit: c.Uploads.Unfit, DrainHeard: c.DrainHeard, Tracer: c.Tracer, Log: log,
		}),
	}
}

// run serves until the session has ended, the drain is complete, or ctx ends, and returns when nothing of the term is left.
func (t *term) run(ctx context.Context, drain <-chan struct{}, observer partition.Observer) error {
	defer t.drop(observer)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.flusher.Run(ctx) })
	g.Go(func() error { return t.commits.Run(ctx) })
	g.Go(func() error {
		defer cancel()
		t.serve(ctx, drain)
		t.ledger.Stop()
		t.settle(ctx)
		return nil
	})
	return g.Wait()
}

// serve runs the lease loop until the term is over: session ended, drained, or ctx ended.
func (t *term) serve(ctx context.Context, drain <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.leases.Run(ctx)
	}()
	defer func() {
		cancel()
		<-done
	}()
	for {
		select {
		case <-drain:
			t.leases.Drain()
			drain = nil
		case <-t.session.Ended():
			return
		case <-done:
			return
		}
	}
}

// settle waits until nothing is in flight: uploads for a while, sent commits until they are answered. Requires: the ledger was stopped, the
// lease loop has ended.
func (t *term) settle(ctx context.Context) {
	grace := time.NewTimer(uploadGrace)
	defer grace.Stop()
	for !t.ledger.Idle() {
		if errors.Is(t.session.Cause(), session.ErrRevoked) {
			return // no commit will be answered: what was sent stays possibly written
		}
		select {
		case <-t.ledger.Lease:
		case <-grace.C:
			t.ledger.GiveUpUploads(refusalv1.Reason_REASON_NOT_LEADER)
		case <-ctx.Done():
			return
		}
	}
}

// drop ends what is left: nothing after a clean end.
func (t *term) drop(observer partition.Observer) {
	held := t.ledger.Held()
	t.ledger.Abandon(refusalv1.Reason_REASON_NOT_LEADER)
	for p, h := range held {
		observer.Moved(p, h.Epoch)
	}
}
