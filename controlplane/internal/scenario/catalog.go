package scenario

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/memory"
)

// Times of scripts: minutes where a cluster has seconds, so that a slow machine changes no answer.
const (
	// SessionDuration of silence ends a session.
	SessionDuration = 10 * time.Minute
	// SuspectAfter of silence makes a session suspect.
	SuspectAfter = 2 * time.Minute
	// MaxMoves hand-offs may be under way in an agent group.
	MaxMoves = 4
)

// Catalog is a store whose time can be turned and whose rows can be held.
type Catalog interface {
	store.Store
	// Age lets time pass for everyone but the judges, and for what was committed.
	Age(ctx context.Context, d time.Duration) error
	// AgePulse says that a judge last beat d ago.
	AgePulse(ctx context.Context, d time.Duration) error
	// Restarted says that the database begins another life, with nothing lost.
	Restarted(ctx context.Context) error
	// Hold locks a row until LetGo.
	Hold(ctx context.Context, r Row) error
	// LetGo unlocks what is held.
	LetGo(ctx context.Context) error
	// Start runs a call in the background: it is on its way, and waits for a held row, or for a call before it, when Start returns.
	Start(ctx context.Context, call func(ctx context.Context)) error
}

// Row is what can be held: a session, or else a partition.
type Row struct {
	Session uuid.UUID
	Topic   uuid.UUID
	Number  int32
}

// inMemory does one call at a time: what would wait for a row is done, in its turn, when the row is let go.
type inMemory struct {
	*memory.Store
	waiting []func(ctx context.Context)
}

// NewMemory makes an empty catalog in memory. newID may be nil; see memory.Config.
func NewMemory(newID func() uuid.UUID) Catalog {
	return &inMemory{Store: memory.New(memory.Config{SessionDuration: SessionDuration, MaxMoves: MaxMoves, NewID: newID})}
}

func (m *inMemory) Age(_ context.Context, d time.Duration) error {
	m.Store.Age(d)
	return nil
}

func (m *inMemory) AgePulse(_ context.Context, d time.Duration) error {
	m.Store.AgePulse(d)
	return nil
}

func (m *inMemory) Restarted(context.Context) error {
	m.Restart()
	return nil
}

func (m *inMemory) Hold(context.Context, Row) error { return nil }

func (m *inMemory) Start(_ context.Context, call func(ctx context.Context)) error {
	m.waiting = append(m.waiting, call)
	return nil
}

func (m *inMemory) LetGo(ctx context.Context) error {
	for _, call := range m.waiting {
		call(ctx)
	}
	m.waiting = nil
	return nil
}
