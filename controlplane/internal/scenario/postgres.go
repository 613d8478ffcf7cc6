package scenario

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// patience bounds how long a call may take to reach the row that it waits for.
const patience = 20 * time.Second

// OnPostgres is a catalog in a database of its own.
type OnPostgres struct {
	*postgres.Store
	// Pool reaches the same database past the store.
	Pool *pgxpool.Pool

	holding pgx.Tx // nil: nothing is held
	started int
	running sync.WaitGroup
}

// NewPostgres makes an empty catalog in PostgreSQL that lives as long as the test.
func NewPostgres(tb testing.TB) *OnPostgres {
	tb.Helper()
	url := pgtest.URL(tb)
	s := pgtest.OpenURL(tb, postgres.Config{
		Logger: slog.New(slog.DiscardHandler),
		URL:    url, SessionDuration: SessionDuration, MaxMoves: MaxMoves, MaxConns: 8,
		LockTimeout: patience, StatementTimeout: 2 * patience, IdleInTransactionTimeout: 2 * patience,
	})
	pool, err := pgxpool.New(tb.Context(), url)
	if err != nil {
		tb.Fatalf("open pool: %v", err)
	}
	tb.Cleanup(pool.Close)
	p := &OnPostgres{Store: s, Pool: pool}
	tb.Cleanup(func() { // a story that broke off in the middle holds its rows still
		if err := p.LetGo(context.Background()); err != nil {
			tb.Errorf("let go: %v", err)
		}
	})
	return p
}

// Age sets heartbeats, commits, and the end of a pause in judging, back.
func (p *OnPostgres) Age(ctx context.Context, d time.Duration) error {
	_, err := p.Pool.Exec(ctx, `WITH aged AS (UPDATE sessions SET last_heartbeat_at = last_heartbeat_at - make_interval(secs => $1)),
		     committed AS (UPDATE object_keys SET created_at = created_at - make_interval(secs => $1),
		         newest_commit_at = newest_commit_at - make_interval(secs => $1),
		         unreferenced_at = unreferenced_at - make_interval(secs => $1), tombstoned_at = tombstoned_at - make_interval(secs => $1)),
		     kept AS (UPDATE upkeep SET finished_at = finished_at - make_interval(secs => $1), shard_due_at = shard_due_at - make_interval(secs => $1),
		         key_compaction_due_at = key_compaction_due_at - make_interval(secs => $1)),
		     cleaned AS (UPDATE key_compactions SET finished_at = finished_at - make_interval(secs => $1), horizon_at = horizon_at - make_interval(secs => $1))
		UPDATE pulse SET quiet_until = quiet_until - make_interval(secs => $1)`, d.Seconds())
	return err
}

// AgePulse sets the last beat.
func (p *OnPostgres) AgePulse(ctx context.Context, d time.Duration) error {
	_, err := p.Pool.Exec(ctx, `UPDATE pulse SET beat_at = clock_timestamp() - make_interval(secs => $1)`, d.Seconds())
	return err
}

// Restarted has the catalog remember another life than the server's.
func (p *OnPostgres) Restarted(ctx context.Context) error {
	_, err := p.Pool.Exec(ctx, `WITH shown AS (UPDATE sessions SET evidence_for = 'before' WHERE evidence_for IS NOT NULL)
		UPDATE catalog SET life = 'before'`)
	return err
}

// Hold locks the row in a transaction of its own.
func (p *OnPostgres) Hold(ctx context.Context, r Row) (err error) {
	if p.holding == nil {
		if p.holding, err = p.Pool.Begin(ctx); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
	}
	if r.Session != uuid.Nil {
		_, err = p.holding.Exec(ctx, `SELECT FROM sessions WHERE session_id = $1 FOR UPDATE`, r.Session)
	} else {
		_, err = p.holding.Exec(ctx, `SELECT FROM partitions WHERE topic_id = $1 AND partition = $2 FOR UPDATE`, r.Topic, r.Number)
	}
	return err
}

// Start runs the call and waits until as many calls wait for locks as were started.
func (p *OnPostgres) Start(ctx context.Context, call func(ctx context.Context)) error {
	p.started++
	p.running.Go(func() { call(ctx) })
	waitCtx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		var waiting int
		err := p.Pool.QueryRow(waitCtx, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
		if err != nil {
			return fmt.Errorf("count waiting calls: %w", err)
		}
		if waiting == p.started {
			return nil
		}
		if err := pause(waitCtx); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return errors.New("the call does not wait for what is held")
	case <-time.After(5 * time.Millisecond):
		return nil
	}
}

// LetGo unlocks, and waits for the calls.
func (p *OnPostgres) LetGo(ctx context.Context) error {
	var err error
	if p.holding != nil {
		err = p.holding.Rollback(ctx)
	}
	p.running.Wait()
	p.holding, p.started = nil, 0
	return err
}
