package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// step is one statement of a round trip: it calls one query, takes its arguments and its answer from around it, and is called twice, to
// send the query and to receive its answer.
type step func(ctx context.Context, d db.DBTX) error

// statement is a step that answers nothing.
func statement(text string) step {
	return func(ctx context.Context, d db.DBTX) error {
		_, err := d.Exec(ctx, text)
		return err
	}
}

// roundTrip sends all steps at once, then receives their answers in order, up to the first error, which is answered with the step at
// fault. PostgreSQL runs them one after the other, each seeing what those before it did and waited for, and none after an error.
func roundTrip(ctx context.Context, conn *pgx.Conn, steps []step) (failed int, err error) {
	sent := &sending{}
	for i, s := range steps {
		if err := s(ctx, sent); !errors.Is(err, errQueued) {
			return i, errors.Join(errors.New("a step of a round trip must be one query"), err)
		}
	}
	results := conn.SendBatch(ctx, &sent.batch)
	for i, s := range steps {
		if err := s(ctx, receiving{results}); err != nil {
			_ = results.Close() // the same error, or one after it
			return i, err
		}
	}
	return len(steps), results.Close()
}

// together runs steps in one round trip, which is one transaction without a BEGIN of its own; they are made anew for each attempt. Requires: a second
// run does no harm.
func (s *Store) together(ctx context.Context, steps func() []step) error {
	return s.retry(ctx, harmless, func() error {
		conn, err := s.pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		_, err = roundTrip(ctx, conn.Conn(), steps())
		return err
	})
}

// errQueued is what a step is told while it is sent.
var errQueued = errors.New("queued")

// sending puts queries into a batch.
type sending struct{ batch pgx.Batch }

func (s *sending) Exec(_ context.Context, text string, args ...any) (pgconn.CommandTag, error) {
	s.batch.Queue(text, args...)
	return pgconn.CommandTag{}, errQueued
}

func (s *sending) Query(_ context.Context, text string, args ...any) (pgx.Rows, error) {
	s.batch.Queue(text, args...)
	return nil, errQueued
}

func (s *sending) QueryRow(_ context.Context, text string, args ...any) pgx.Row {
	s.batch.Queue(text, args...)
	return queuedRow{}
}

type queuedRow struct{}

func (queuedRow) Scan(...any) error { return errQueued }

// receiving gives each query the next answer.
type receiving struct{ results pgx.BatchResults }

func (r receiving) Exec(context.Context, string, ...any) (pgconn.CommandTag, error) {
	return r.results.Exec()
}

func (r receiving) Query(context.Context, string, ...any) (pgx.Rows, error) { return r.results.Query() }

func (r receiving) QueryRow(context.Context, string, ...any) pgx.Row { return r.results.QueryRow() }
