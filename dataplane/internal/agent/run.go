package agent

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/session"
)

const (
	deregisterTimeout = 3 * time.Second
	selfTestTimeout   = 30 * time.Second
	selfTestWait      = 2 * time.Second
)

// Run keeps a session and serves until the context ends or an operator wants the agent drained, then stops in four steps: it takes no more
// records, partition by partition, as others take over; it uploads and commits what it holds; it releases what is left and forwards late
// requests for DrainLinger; it deregisters. abort (nil: never) or DrainDeadline cut that short. An error means that the agent cannot go on:
// superseded, refused, its key revoked, or a bucket that cannot be trusted. Its RPCs should be served from before Run until after it.
func (a *Agent) Run(ctx context.Context, abort <-chan struct{}) error {
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	group, work := errgroup.WithContext(work)
	held := make(chan struct{}) // closed when no session is kept any more
	group.Go(func() error { return a.reader.Run(work) })
	group.Go(func() error { return a.traffic.Run(work) })
	jobs, leave := context.WithCancel(work)
	defer leave()
	if a.jobs != nil {
		group.Go(func() error { return a.jobs.Run(jobs) })
	}
	group.Go(func() error {
		defer close(held)
		return a.keep(work)
	})
	group.Go(func() error {
		select {
		case <-ctx.Done():
			leave() // others go on with its jobs
			a.drain(work, held, abort)
		case <-a.keeper.Ordered():
			a.deps.Log.InfoContext(work, "an operator wants this agent drained")
			leave()
			a.drain(work, held, abort)
		case <-work.Done():
		}
		a.part(work)
		end()
		return nil
	})
	return group.Wait()
}

// keep finds out whether the bucket can be trusted, then keeps a session.
func (a *Agent) keep(ctx context.Context) error {
	if err := a.tryBucket(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	a.trusted.Store(true)
	first := true
	return a.keeper.Run(ctx, func(ctx context.Context, kept *session.Session) error {
		if first && a.deps.Ready != nil {
			a.deps.Ready()
		}
		first = false
		return a.desk.Hold(ctx, kept)
	})
}

// tryBucket waits for a bucket that is out of reach; one that lacks what durability needs ends the process.
func (a *Agent) tryBucket(ctx context.Context) error {
	for {
		err := a.tryBucketOnce(ctx)
		if err == nil || ctx.Err() != nil {
			return nil //nolint:nilerr // the agent was told to stop
		}
		if _, lacks := errors.AsType[*objectstore.CapabilityError](err); lacks {
			return err
		}
		a.deps.Log.WarnContext(ctx, "bucket is not usable yet", slog.Any("error", err))
		select {
		case <-time.After(selfTestWait):
		case <-ctx.Done():
		}
	}
}

func (a *Agent) tryBucketOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, selfTestTimeout)
	defer cancel()
	return objectstore.SelfTest(ctx, a.deps.Store, object.GroupPrefix(a.config.Session.AgentGroup))
}

// drain hands everything over, and goes on forwarding for a while if somebody has taken over.
func (a *Agent) drain(work context.Context, held, abort <-chan struct{}) {
	logger := a.deps.Log
	logger.InfoContext(work, "draining")
	work, cancel := context.WithTimeout(work, a.config.DrainDeadline)
	defer cancel()
	a.keeper.Drain()
	a.desk.Drain()
	a.reader.Drain()
	select {
	case <-a.desk.Drained():
	case <-held:
		return
	case <-abort:
		logger.WarnContext(work, "drain was cut short by a second signal")
		return
	case <-work.Done():
		logger.WarnContext(work, "drain was cut short by drain-deadline")
		return
	}
	logger.InfoContext(work, "drained")
	if a.alone() {
		return
	}
	select {
	case <-time.After(a.config.DrainLinger):
	case <-held:
	case <-abort:
	case <-work.Done():
	}
}

// alone: nobody else could have taken anything over, so nobody is worth forwarding to.
func (a *Agent) alone() bool {
	for _, other := range a.table.Agents() {
		if other.ID != a.config.Session.AgentID && !other.Draining {
			return false
		}
	}
	return true
}

// part ends what waits here, and the session.
func (a *Agent) part(ctx context.Context) {
	a.produce.Stop()
	a.reader.Stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deregisterTimeout)
	defer cancel()
	if err := a.keeper.Deregister(ctx); err != nil {
		a.deps.Log.WarnContext(ctx, "session was left to expire", slog.Any("error", err))
	}
	a.desk.Close()
}
