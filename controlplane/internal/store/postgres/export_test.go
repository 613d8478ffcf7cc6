package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// Panic runs a transaction that panics, and answers what it panicked with.
func (s *Store) Panic(ctx context.Context) (cause any) {
	defer func() { cause = recover() }()
	_ = s.write(ctx, harmless, func(context.Context, *db.Queries) error { panic("in a transaction") })
	return nil
}

// HearsItself finds out whether notices arrive on a connection.
func (s *Store) HearsItself(ctx context.Context, conn *pgx.Conn) error { return s.hearEcho(ctx, conn) }
