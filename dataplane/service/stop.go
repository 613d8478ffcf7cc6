package service

import (
	"context"
	"errors"
	"fmt"
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

// Run serves until the context ends, then stops in four steps: it takes no more records, partition by partition, as others take over; it
// uploads and commits what it holds; it releases what is left and forwards late requests for drain-linger; it deregisters. Deps.Abort or
// drain-deadline cut that short. An error means that the agent cannot go on: superseded, refused, or a bucket that cannot be trusted.
func (s *Service) Run(ctx context.Context) error {
	defer s.idle()
	logger := s.deps.Log.Logger
	logger.InfoContext(ctx, "listening", slog.String("address", s.server.Addr().String()), slog.String("agent_id", s.id))
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	group, work := errgroup.WithContext(work)
	held := make(chan struct{}) // closed when no session is kept any more
	serving, shut := context.WithCancel(work)
	defer shut()
	group.Go(func() error { return s.deps.Log.Run(work) })
	group.Go(func() error { return s.reader.Run(work) })
	group.Go(func() error { return s.server.Run(serving) })
	group.Go(func() error {
		defer close(held)
		return s.keep(work)
	})
	group.Go(func() error {
		select {
		case <-ctx.Done():
			s.drain(work, held)
		case <-work.Done():
		}
		s.part(work)
		shut()
		end()
		return nil
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	logger.InfoContext(ctx, "stopped")
	return nil
}

// keep finds out whether the bucket can be trusted, then keeps a session.
func (s *Service) keep(ctx context.Context) error {
	if err := s.tryBucket(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	first := true
	return s.keeper.Run(ctx, func(ctx context.Context, kept *session.Session) error {
		if first && s.deps.Ready != nil {
			s.deps.Ready(s.URL())
		}
		first = false
		return s.desk.Hold(ctx, kept)
	})
}

// tryBucket waits for a bucket that is out of reach; one that lacks what durability needs ends the process.
func (s *Service) tryBucket(ctx context.Context) error {
	for {
		err := s.tryBucketOnce(ctx)
		var lacks *objectstore.CapabilityError
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if errors.As(err, &lacks) {
			return err
		}
		s.deps.Log.WarnContext(ctx, "bucket is not usable yet", slog.Any("error", err))
		select {
		case <-time.After(selfTestWait):
		case <-ctx.Done():
		}
	}
}

func (s *Service) tryBucketOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, selfTestTimeout)
	defer cancel()
	return objectstore.SelfTest(ctx, s.store, object.GroupPrefix(s.config.AgentGroup))
}

// drain hands everything over, and goes on forwarding for a while if somebody has taken over.
func (s *Service) drain(work context.Context, held <-chan struct{}) {
	logger := s.deps.Log.Logger
	logger.InfoContext(work, "draining")
	work, cancel := context.WithTimeout(work, s.config.DrainDeadline)
	defer cancel()
	s.keeper.Drain()
	s.desk.Drain()
	select {
	case <-s.desk.Drained():
	case <-held:
		return
	case <-s.deps.Abort:
		logger.WarnContext(work, "drain was cut short by a second signal")
		return
	case <-work.Done():
		logger.WarnContext(work, "drain was cut short by drain-deadline")
		return
	}
	logger.InfoContext(work, "drained")
	if s.alone() {
		return
	}
	select {
	case <-time.After(s.config.DrainLinger):
	case <-held:
	case <-s.deps.Abort:
	case <-work.Done():
	}
}

// alone: nobody else could have taken anything over, so nobody is worth forwarding to.
func (s *Service) alone() bool {
	for _, a := range s.table.Agents() {
		if a.ID != s.id && !a.Draining {
			return false
		}
	}
	return true
}

// part ends what waits here, and the session.
func (s *Service) part(ctx context.Context) {
	s.produce.Stop()
	s.reader.Stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deregisterTimeout)
	defer cancel()
	if err := s.keeper.Deregister(ctx); err != nil {
		s.deps.Log.WarnContext(ctx, "session was left to expire", slog.Any("error", err))
	}
	s.desk.Close()
}
