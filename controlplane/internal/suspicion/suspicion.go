package suspicion

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/serve/tracing"
)

const (
	// attempts at one agent: a process that dies closes its watch and its listener one after the other.
	attempts = 6
	// firstWait between attempts; it doubles: 155 ms in all.
	firstWait = 5 * time.Millisecond
	// knockTimeout bounds an attempt, catalogTimeout a call to the catalog.
	knockTimeout   = 500 * time.Millisecond
	catalogTimeout = 3 * time.Second
	// maxAsking is how many agents are asked after at once; beyond maxWaiting more a broken watch is left to the silence.
	maxAsking  = 32
	maxWaiting = 1024
)

// Catalog knows where agents are; a store.Store is one.
type Catalog interface {
	SessionAddress(ctx context.Context, agentGroup store.AgentGroup, sessionID uuid.UUID) (string, error)
	SuspectRefused(ctx context.Context, agentGroup store.AgentGroup, sessionID uuid.UUID) (suspected bool, err error)
}

// Knock asks at an agent's address (its base URL) whether somebody is there. nil: somebody answered. An error that is syscall.ECONNREFUSED:
// the connection was refused. Any other error proves nothing.
type Knock func(ctx context.Context, address string) error

// Asker asks after agents.
type Asker struct {
	catalog Catalog
	knock   Knock
	logger  *slog.Logger
	tracer  *tracing.Tracer // nil: nothing is traced
	waiting chan watched

	mu     sync.Mutex // guards asking
	asking map[uuid.UUID]struct{}
}

// watched is a session whose watch broke.
type watched struct {
	agentGroup store.AgentGroup
	sessionID  uuid.UUID
}

// New makes an asker. tracer may be nil.
func New(catalog Catalog, knock Knock, logger *slog.Logger, tracer *tracing.Tracer) *Asker {
	return &Asker{
		catalog: catalog, knock: knock, logger: logger, tracer: tracer,
		waiting: make(chan watched, maxWaiting), asking: map[uuid.UUID]struct{}{},
	}
}

// WatchBroke says that a session's watch ended, and neither this process nor the end of the session was the reason. It never waits.
func (a *Asker) WatchBroke(agentGroup store.AgentGroup, sessionID uuid.UUID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.asking[sessionID]; known {
		return
	}
	select {
	case a.waiting <- watched{agentGroup, sessionID}:
		a.asking[sessionID] = struct{}{}
	default: // full: silence will tell
	}
}

// Run asks until the context ends; then it returns nil once nobody is asked any more.
func (a *Asker) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for range maxAsking {
		all.Go(func() { a.work(ctx) })
	}
	all.Wait()
	return nil
}

func (a *Asker) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case w := <-a.waiting:
			a.ask(ctx, w)
			a.mu.Lock()
			delete(a.asking, w.sessionID)
			a.mu.Unlock()
		}
	}
}

// ask knocks until there is a verdict, a few times at most.
func (a *Asker) ask(ctx context.Context, w watched) {
	ctx, span := a.tracer.Rare(ctx, "knock")
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(attribute.String("streamhouse.session_id", w.sessionID.String()))
	}
	address, err := a.address(ctx, w)
	if err != nil {
		return // it has ended, or the catalog is out of reach: nobody is suspected then
	}
	wait := firstWait
	for range attempts {
		err := a.knockOnce(ctx, address)
		switch {
		case ctx.Err() != nil || err == nil || errors.Is(err, context.DeadlineExceeded):
			return
		case errors.Is(err, syscall.ECONNREFUSED):
			tracing.Fail(span, "connection refused")
			a.suspect(ctx, w, address)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait *= 2
	}
}

func (a *Asker) address(ctx context.Context, w watched) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, catalogTimeout)
	defer cancel()
	return a.catalog.SessionAddress(ctx, w.agentGroup, w.sessionID)
}

func (a *Asker) knockOnce(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, knockTimeout)
	defer cancel()
	return a.knock(ctx, address)
}

func (a *Asker) suspect(ctx context.Context, w watched, address string) {
	ctx, cancel := context.WithTimeout(ctx, catalogTimeout)
	defer cancel()
	suspected, err := a.catalog.SuspectRefused(ctx, w.agentGroup, w.sessionID)
	attributes := []any{slog.String("session_id", w.sessionID.String()), slog.String("address", address)}
	switch {
	case err != nil && ctx.Err() == nil:
		a.logger.WarnContext(ctx, "session was not made suspect", append(attributes, slog.Any("error", err))...)
	case suspected:
		a.logger.WarnContext(ctx, "session becomes suspect: its address refuses connections", attributes...)
	}
}
