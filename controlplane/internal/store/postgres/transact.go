package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

const (
	// attempts is how often a transaction is tried that fails for a passing reason. With the pauses: about two seconds, enough for a
	// deadlock's loser and for a PostgreSQL that restarts quickly; agents repeat what takes longer.
	attempts = 7
	// firstPause doubles from attempt to attempt, each with jitter of a half.
	firstPause = 20 * time.Millisecond
)

// twice says what running a transaction again does after its COMMIT was sent and not answered.
type twice bool

const (
	// harmless: a second run has the same effect, or finds what the first one did.
	harmless twice = true
	// wrong: a second run would answer something false ("exists already") or do it once more.
	wrong twice = false
)

// lostError is a COMMIT that was sent and not answered.
type lostError struct{ cause error }

func (e *lostError) Error() string { return "commit unanswered: " + e.cause.Error() }
func (e *lostError) Unwrap() error { return e.cause }

// write runs fn in a READ COMMITTED transaction.
func (s *Store) write(ctx context.Context, again twice, fn func(ctx context.Context, q *db.Queries) error) error {
	return s.transact(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, again, fn)
}

// snapshot runs fn in one that reads a single snapshot, taken at its first statement.
func (s *Store) snapshot(ctx context.Context, fn func(ctx context.Context, q *db.Queries) error) error {
	return s.transact(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, harmless, fn)
}

// read runs fn, one statement without a transaction around it.
func (s *Store) read(ctx context.Context, fn func(ctx context.Context, q *db.Queries) error) error {
	return s.retry(ctx, harmless, func() error { return fn(ctx, s.queries) })
}

func (s *Store) transact(ctx context.Context, options pgx.TxOptions, again twice, fn func(ctx context.Context, q *db.Queries) error) error {
	return s.retry(ctx, again, func() error { return s.once(ctx, options, fn) })
}

// once runs one transaction, to the end, also where fn panics: its locks would outlive the call that the panic ends.
func (s *Store) once(ctx context.Context, options pgx.TxOptions, fn func(ctx context.Context, q *db.Queries) error) error {
	tx, err := s.pool.BeginTx(ctx, options)
	if err != nil {
		return err
	}
	failed := true
	defer func() {
		if failed {
			s.rollback(ctx, tx)
		}
	}()
	if err := fn(ctx, s.queries.WithTx(tx)); err != nil {
		return err
	}
	failed = false
	if err := tx.Commit(ctx); err != nil {
		if surelyRolledBack(err) {
			return err
		}
		return &lostError{err}
	}
	return nil
}

// rollback frees the connection also when the caller has gone.
func (s *Store) rollback(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.StatementTimeout)
	defer cancel()
	_ = tx.Rollback(ctx) // else the connection is broken, and PostgreSQL rolls back by itself
}

// retry runs attempt until it succeeds, fails for good, or has failed for passing reasons often enough.
func (s *Store) retry(ctx context.Context, again twice, attempt func() error) error {
	pause := firstPause
	unknown := false // an attempt whose COMMIT was lost leaves the whole unknown until another one succeeds or finds a definite answer
	for i := 1; ; i++ {
		err := attempt()
		_, lost := errors.AsType[*lostError](err)
		unknown = (unknown || lost) && !definite(err)
		if err == nil || !passing(err) || ctx.Err() != nil || i == attempts || (unknown && again == wrong) {
			return settled(ctx, err, unknown)
		}
		s.config.Logger.DebugContext(ctx, "transaction repeated", "attempt", i, "error", err)
		if !sleep(ctx, pause/2+rand.N(pause)) {
			return settled(ctx, err, unknown)
		}
		pause *= 2
	}
}

func sleep(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// settled is what the caller gets to see of an error.
func settled(ctx context.Context, err error, unknown bool) error {
	switch {
	case err == nil:
		return nil
	case unknown:
		refused := store.Refuse(refusalv1.Reason_REASON_UNANSWERED, "the database did not answer the commit: it may or may not have happened")
		refused.Refusal.Written = refusalv1.Written_WRITTEN_POSSIBLY
		refused.Cause = err
		return refused
	case ctx.Err() != nil:
		return ctx.Err()
	default:
		return unavailable(err)
	}
}

// unavailable marks an error for a passing reason as CATALOG_UNAVAILABLE; others stay.
func unavailable(err error) error {
	if err == nil || !passing(err) {
		return err
	}
	refused := store.Refuse(refusalv1.Reason_REASON_CATALOG_UNAVAILABLE, "the database is out of reach or too busy: try again")
	refused.Refusal.Written = refusalv1.Written_WRITTEN_SURELY_NOT
	refused.Cause = err
	return refused
}

// passing says whether the same may succeed a moment later: a broken or refused connection, a lost race, a timeout of PostgreSQL.
func passing(err error) bool {
	if definite(err) {
		return false
	}
	if errors.Is(err, errKeyGone) || errors.Is(err, errMovedOn) {
		return true
	}
	answered, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return brokenConnection(err)
	}
	switch answered.Code {
	case "SH001", // rows that were there a moment ago (all_or_nothing)
		"40001", "40P01", // serialization failure, deadlock
		"55P03", "57014", // lock timeout, statement timeout
		"57P01", "57P02", "57P03", "57P05", // shutdown, crash, starting up, idle too long
		"25P03", // idle in transaction too long
		"53300": // too many connections
		return true
	default:
		return strings.HasPrefix(answered.Code, "08") // connection exceptions
	}
}

// definite: an answer of this program's own.
func definite(err error) bool {
	_, refused := errors.AsType[*store.Refused](err)
	_, unknown := errors.AsType[*unknownSessionError](err)
	return refused || unknown || errors.Is(err, pgx.ErrNoRows)
}

// brokenConnection: whatever is not an answer of PostgreSQL's comes from the way to it, except mistakes of this program, which fail
// before anything is sent.
func brokenConnection(err error) bool {
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	return connecting || pgconn.SafeToRetry(err) || pgconn.Timeout(err) || isNetwork(err)
}

// surelyRolledBack: PostgreSQL itself says that the COMMIT failed. A shutdown notice at this moment says nothing.
func surelyRolledBack(err error) bool {
	if errors.Is(err, pgx.ErrTxCommitRollback) || errors.Is(err, pgx.ErrTxClosed) {
		return true
	}
	answered, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (strings.HasPrefix(answered.Code, "40") || strings.HasPrefix(answered.Code, "23"))
}
