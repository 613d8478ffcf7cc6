package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/streamhouse/streamhouse/sql"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// Store is the catalog in one PostgreSQL database.
type Store struct {
	pool    *pgxpool.Pool
	queries *db.Queries // outside of transactions, one statement each
	config  Config
	// partitionIDs spares commits a look at the index by topic.
	partitionIDs partitionIDs
	meters       meters
	// Capacity one: a signal says "look", not how often.
	placementChanged, unsettled, reshaped chan struct{}
	hearing                               atomic.Bool
}

var _ store.Store = (*Store)(nil)

// Open prepares a pool; it connects when it is first used, so that a control plane may start before its database.
func Open(ctx context.Context, config Config) (*Store, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	poolConfig, err := config.pool()
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, poolConfig)
	if err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	return &Store{
		pool: pool, queries: db.New(pool), config: config,
		placementChanged: make(chan struct{}, 1), unsettled: make(chan struct{}, 1), reshaped: make(chan struct{}, 1),
	}, nil
}

// Close waits for connections in use and closes all.
func (s *Store) Close() { s.pool.Close() }

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return unavailable(s.pool.Ping(ctx)) }

// lockWaitSeconds and lockTries say how long replicas wait for the one that migrates.
const (
	lockWaitSeconds = 1
	lockTries       = 60
)

// Migrate brings the schema up to date. Of several replicas one does it, the others wait, up to a minute. Idempotent.
func (s *Store) Migrate(ctx context.Context) error {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(lockWaitSeconds, lockTries))
	if err != nil {
		return fmt.Errorf("prepare migration lock: %w", err)
	}
	files, err := fs.Sub(sql.Migrations, "migrations")
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	// A connection of its own: a migration may take longer than a transaction of the pool.
	config := s.pool.Config().ConnConfig
	delete(config.RuntimeParams, "statement_timeout")
	delete(config.RuntimeParams, "idle_in_transaction_session_timeout")
	database := stdlib.OpenDB(*config)
	defer func() { _ = database.Close() }()
	provider, err := goose.NewProvider(goose.DialectPostgres, database, files, goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	_, err = s.attest(ctx)
	return err
}

// PlacementChanged signals after this process changed a placement, and while it is Hearing also after another one did.
func (s *Store) PlacementChanged() <-chan struct{} { return s.placementChanged }

// Unsettled signals after this process changed a session or a topic.
func (s *Store) Unsettled() <-chan struct{} { return s.unsettled }

// Reshaped signals after this process changed a session, a topic or a pin.
func (s *Store) Reshaped() <-chan struct{} { return s.reshaped }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}
