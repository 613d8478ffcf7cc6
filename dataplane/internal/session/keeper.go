package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/dataplane/internal/catalog"
	"github.com/streamhouse/streamhouse/dataplane/internal/evidence"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	"github.com/streamhouse/streamhouse/dataplane/internal/traffic"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

const (
	// heartbeatAttempt bounds the first attempt of a heartbeat at one address, so that a stuck replica, with the second since the heartbeat
	// before, costs less than --suspect-after; it doubles with every failure up to maxHeartbeatAttempt, so that a slow catalog is heard in
	// the end.
	heartbeatAttempt    = time.Second / 2
	maxHeartbeatAttempt = 8 * time.Second
	registerTimeout     = 10 * time.Second
)

// Config says who registers.
type Config struct {
	AgentID    string
	AgentGroup string
	Zone       string
	// Address is the base URL under which clients and other agents reach the agent; asked for when it registers, since a listener may have
	// to be bound first.
	Address func() string
	Version string
	// Capacity is what the agent is meant for, bytes of records per second; 0: as the control plane assumes.
	Capacity int64
	// Unfit tells whether nothing should be placed on this agent.
	Unfit func() bool
	// Settled is the counter below which objects of the session are settled; 0: nothing to say. nil: nothing ever.
	Settled func(session object.UUID) uint64
	// Traffic is reported with the heartbeats.
	Traffic *traffic.Book
	// Evidence is given to the catalog with the heartbeats.
	Evidence *evidence.Book
	// Began is told in which incarnation each session begins, before Halted can say that its catalog serves. nil: nobody.
	Began func(incarnation int32)
}

// Holder does what one session is for. It gets a session that has just begun and returns when all that it held is settled: after the
// session has ended, or after ctx has, or because a drain is complete.
type Holder func(ctx context.Context, s *Session) error

// Keeper keeps one session after the other.
type Keeper struct {
	config  Config
	catalog *catalog.Client
	table   *route.Table
	log     *slog.Logger

	draining  atomic.Bool
	leave     chan struct{} // closed when a drain begins
	leaving   sync.Once
	halted    atomic.Bool
	announced chan struct{} // closed when the control plane has heard that the agent drains
	ordered   chan struct{} // closed when the control plane wants it drained
	orders    sync.Once
	nudge     chan struct{} // capacity 1: send a heartbeat now
	current   atomic.Pointer[Session]
}

// New returns a keeper that fills table.
func New(config Config, catalog *catalog.Client, table *route.Table, log *slog.Logger) *Keeper {
	return &Keeper{
		config: config, catalog: catalog, table: table, log: log,
		leave: make(chan struct{}), announced: make(chan struct{}), ordered: make(chan struct{}), nudge: make(chan struct{}, 1),
	}
}

// Current is the session that was registered last; nil: none yet.
func (k *Keeper) Current() *Session { return k.current.Load() }

// Drain tells the control plane to place nothing on this agent any more, from the next heartbeat on, which goes out at once. It is for
// good: no new session is registered.
func (k *Keeper) Drain() {
	k.draining.Store(true)
	k.leaving.Do(func() { close(k.leave) })
	k.Nudge()
}

// Halted tells whether the catalog was halted when it was last heard of, in this session or the one before: what is appended now could not be committed.
func (k *Keeper) Halted() bool { return k.halted.Load() }

// Announced is closed when the control plane has heard of the drain.
func (k *Keeper) Announced() <-chan struct{} { return k.announced }

// Ordered is closed when an operator wants the agent drained.
func (k *Keeper) Ordered() <-chan struct{} { return k.ordered }

// Nudge sends a heartbeat now.
func (k *Keeper) Nudge() {
	select {
	case k.nudge <- struct{}{}:
	default:
	}
}

// Run registers and holds, again and again, until ctx ends or a drain is complete (nil), the agent is superseded (ErrSuperseded), its key is not
// valid any more (ErrRevoked), the control plane refuses it for good, or hold fails.
func (k *Keeper) Run(ctx context.Context, hold Holder) error {
	for ctx.Err() == nil && !k.draining.Load() {
		s, interval, err := k.register(ctx)
		if err != nil {
			return err
		}
		if s == nil {
			return nil
		}
		if err := k.keep(ctx, s, interval, hold); err != nil {
			return err
		}
		if cause := s.Cause(); errors.Is(cause, ErrSuperseded) || errors.Is(cause, ErrRevoked) {
			return cause
		}
	}
	return nil
}

// keep runs one session: the holder decides when it is over.
func (k *Keeper) keep(ctx context.Context, s *Session, interval time.Duration, hold Holder) error {
	k.current.Store(s)
	k.config.Evidence.Begin(s.Incarnation)
	if k.config.Began != nil {
		k.config.Began(s.Incarnation)
	}
	k.log.InfoContext(ctx, "session began", slog.String("session_id", s.ID.String()), slog.Int("incarnation", int(s.Incarnation)))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return k.heartbeats(ctx, s, interval) })
	g.Go(func() error { return k.follow(ctx, s) })
	g.Go(func() error {
		defer cancel()
		k.awaitShown(ctx, s)
		return hold(ctx, s)
	})
	return g.Wait()
}

// awaitShown waits until the catalog has taken this agent's evidence: a catalog that has lost transactions must halt before it grants anything
// to somebody who knows better.
func (k *Keeper) awaitShown(ctx context.Context, s *Session) {
	select {
	case <-s.shown:
	case <-k.leave:
	case <-s.Ended():
	case <-ctx.Done():
	}
}

// register asks until it is answered; a nil session without an error: ctx ended or a drain began.
func (k *Keeper) register(ctx context.Context) (*Session, time.Duration, error) {
	var backoff catalog.Backoff
	wanted := randomUUID().String()
	for ctx.Err() == nil && !k.draining.Load() {
		began := time.Now()
		res, err := k.registerOnce(ctx, wanted)
		if err == nil {
			id, err := object.ParseUUID(res.GetSessionId())
			if err != nil {
				return nil, 0, fmt.Errorf("register: session id: %w", err)
			}
			duration := time.Duration(res.GetSessionDurationMs()) * time.Millisecond
			interval := time.Duration(res.GetHeartbeatIntervalMs()) * time.Millisecond
			return newSession(id, res.GetIncarnation(), began.Add(duration)), max(interval, 10*time.Millisecond), nil
		}
		if misconfigured(err) {
			return nil, 0, fmt.Errorf("register: %w", err)
		}
		k.log.WarnContext(ctx, "registration is repeated", slog.Any("error", err))
		if backoff.Wait(ctx) != nil {
			break
		}
	}
	return nil, 0, nil //nolint:nilerr // the end of ctx, or a drain, is no fault
}

// registerOnce asks for the session wanted: the same in every repeat, so that a late first attempt does not end what a repeat was given.
func (k *Keeper) registerOnce(ctx context.Context, wanted string) (*controlplanev1.RegisterResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	return k.catalog.Register(ctx, &controlplanev1.RegisterRequest{
		AgentId: k.config.AgentID, AgentGroup: k.config.AgentGroup, Zone: k.config.Zone, Address: k.config.Address(), Version: k.config.Version,
		CapacityBytesPerSecond: k.config.Capacity, RegistrationId: wanted,
	})
}

// randomUUID is of version 4.
func randomUUID() (u object.UUID) {
	_, _ = rand.Read(u[:]) // never fails: crypto/rand ends the program instead
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

// misconfigured: repeating will not help. A key may not exist yet when agent and control plane start together, so that is repeated.
func misconfigured(err error) bool {
	r, ok := refusal.FromError(err)
	if !ok {
		return false
	}
	switch r.GetReason() {
	case refusalv1.Reason_REASON_INVALID, refusalv1.Reason_REASON_WRONG_AGENT_GROUP, refusalv1.Reason_REASON_MISSING_ROLE:
		return true
	default:
		return false
	}
}

// heartbeats renew the session until ctx ends or the control plane says that it is over. Past the deadline they go on: a session that
// nobody has ended is alive again with the next answer.
func (k *Keeper) heartbeats(ctx context.Context, s *Session, interval time.Duration) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	failures := 0
	for {
		select {
		case <-timer.C:
		case <-k.nudge:
		case <-s.Ended():
			return nil
		case <-ctx.Done():
			return nil
		}
		began := time.Now()
		more, err := k.heartbeat(ctx, s, failures)
		switch {
		case err == nil:
			failures = 0
		case ctx.Err() != nil || ends(s, err):
			return nil
		default:
			failures++
			k.log.WarnContext(ctx, "heartbeat was not answered", slog.Int("failures", failures), slog.Any("error", err))
		}
		timer.Reset(untilNext(began, interval, more, failures))
	}
}

// untilNext keeps the beat, unless there is more to read at once; after a failure it hurries.
func untilNext(began time.Time, interval time.Duration, more bool, failures int) time.Duration {
	if more {
		return 0
	}
	if failures > 0 {
		interval = min(interval, 200*time.Millisecond)
	}
	return max(0, interval-time.Since(began))
}

// heartbeat sends one. P10: the session's deadline counts from before the request.
func (k *Keeper) heartbeat(ctx context.Context, s *Session, failures int) (more bool, err error) {
	limit := min(heartbeatAttempt<<min(failures, 4), maxHeartbeatAttempt)
	ctx, cancel := context.WithTimeout(ctx, limit*time.Duration(k.catalog.Replicas()))
	defer cancel()
	draining := k.draining.Load()
	page := k.config.Evidence.Next()
	settled := int64(0)
	if k.config.Settled != nil {
		settled = int64(k.config.Settled(s.ID))
	}
	began := time.Now()
	report := k.config.Traffic.Report(began)
	res, err := k.catalog.Heartbeat(ctx, &controlplanev1.HeartbeatRequest{
		SessionId: s.ID.String(), Revision: k.table.Revision(), Draining: draining, Unfit: k.config.Unfit(),
		Evidence: page.Evidence, Report: report, SettledObjectCounter: settled,
	})
	if err != nil {
		return false, err
	}
	k.config.Traffic.Taken(report, began)
	s.renewed(began.Add(time.Duration(res.GetSessionDurationMs()) * time.Millisecond))
	k.table.Apply(res.GetPlacement())
	if draining {
		k.announce()
	}
	if res.GetDrain() { // an order to this session: what the feed says of an agent may be about one before it
		k.orders.Do(func() { close(k.ordered) })
	}
	owes := k.heard(ctx, s, page, res)
	return owes || res.GetPlacement().GetMore(), nil
}

// heard takes what an answer says of the catalog itself; owes: it waits for more evidence.
func (k *Keeper) heard(ctx context.Context, s *Session, page evidence.Page, res *controlplanev1.HeartbeatResponse) (owes bool) {
	halted := res.GetCatalogState() == controlplanev1.CatalogState_CATALOG_STATE_HALTED
	switch was := k.halted.Swap(halted); {
	case halted && !was:
		k.log.ErrorContext(ctx, "catalog is halted: no records are taken until an operator has adopted it")
	case was && !halted:
		k.log.InfoContext(ctx, "catalog serves again")
	}
	if owes = k.config.Evidence.Taken(page, res.GetCatalogStart()); owes {
		return true
	}
	select {
	case <-s.shown:
	default:
		close(s.shown)
	}
	return false
}

func (k *Keeper) announce() {
	select {
	case <-k.announced:
	default:
		close(k.announced)
	}
}

// ends takes the control plane's word that the session is over.
func ends(s *Session, err error) bool {
	switch {
	case refusal.Is(err, refusalv1.Reason_REASON_SESSION_SUPERSEDED):
		s.end(ErrSuperseded)
	case refusal.Is(err, refusalv1.Reason_REASON_SESSION_EXPIRED):
		s.end(ErrExpired)
	case refusal.Is(err, refusalv1.Reason_REASON_UNAUTHENTICATED) && !s.Alive(): // not at once: a key may come back, a replica may be wrong
		s.end(ErrRevoked)
	default:
		return false
	}
	return true
}

// Deregister ends the session in the catalog, so that its partitions are free at once. It tries until ctx ends.
func (k *Keeper) Deregister(ctx context.Context) error {
	s := k.current.Load()
	if s == nil {
		return nil
	}
	var backoff catalog.Backoff
	for {
		_, err := k.catalog.Deregister(ctx, &controlplanev1.DeregisterRequest{SessionId: s.ID.String()})
		if err == nil || ends(s, err) {
			return nil
		}
		if backoff.Wait(ctx) != nil {
			return fmt.Errorf("deregister: %w", err)
		}
	}
}
