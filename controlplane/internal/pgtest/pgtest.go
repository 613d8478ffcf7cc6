package pgtest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// timeout bounds each step of setting up and clearing away.
const timeout = time.Minute

// template is the migrated database that tests get copies of.
const template = "streamhouse_template"

var (
	// shared is the server of this process, started by the first test that asks.
	shared = sync.OnceValues(start)
	// started is set once shared has been asked for.
	started atomic.Bool
	// migrated makes the template.
	migrated = sync.OnceValue(makeTemplate)
	// databases counts those made, for their names.
	databases atomic.Int64
)

// Main runs the tests and stops the server.
func Main(m *testing.M) {
	m.Run() // keeps the exit code
	if started.Load() {
		if s, err := shared(); err == nil {
			s.stop()
		}
	}
}

// Open makes a migrated database for the test and a store on it. Config.URL is filled in; the rest is the caller's.
func Open(tb testing.TB, config postgres.Config) *postgres.Store {
	tb.Helper()
	config.URL = URL(tb)
	return OpenURL(tb, config)
}

// OpenURL makes a store on a database that exists: another replica.
func OpenURL(tb testing.TB, config postgres.Config) *postgres.Store {
	tb.Helper()
	s, err := postgres.Open(tb.Context(), config)
	if err != nil {
		tb.Fatalf("open store: %v", err)
	}
	tb.Cleanup(s.Close)
	return s
}

// URL makes a migrated database that lives as long as the test.
func URL(tb testing.TB) string {
	tb.Helper()
	server(tb)
	if err := migrated(); err != nil {
		tb.Fatalf("migrate template database: %v", err)
	}
	return create(tb, template)
}

// EmptyURL makes a database without a schema that lives as long as the test.
func EmptyURL(tb testing.TB) string {
	tb.Helper()
	server(tb)
	return create(tb, "template0")
}

func server(tb testing.TB) *process {
	tb.Helper()
	started.Store(true)
	s, err := shared()
	if err != nil {
		tb.Fatalf("start PostgreSQL: %v", err)
	}
	return s
}

func makeTemplate() error {
	s, err := shared()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := s.exec(ctx, "CREATE DATABASE "+template+" TEMPLATE template0"); err != nil {
		return err
	}
	migrator, err := postgres.Open(ctx, postgres.Config{URL: s.url(template)})
	if err != nil {
		return fmt.Errorf("open template database: %w", err)
	}
	defer migrator.Close() // a template must have no connections
	return migrator.Migrate(ctx)
}

func create(tb testing.TB, from string) string {
	tb.Helper()
	s := server(tb)
	name := fmt.Sprintf("test_%d", databases.Add(1))
	ctx, cancel := context.WithTimeout(tb.Context(), timeout)
	defer cancel()
	if err := s.exec(ctx, strings.Join([]string{"CREATE DATABASE", name, "TEMPLATE", from}, " ")); err != nil {
		tb.Fatalf("create database: %v", err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if err := s.exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			tb.Errorf("drop database: %v", err)
		}
	})
	return s.url(name)
}

// exec runs one statement in the maintenance database.
func (p *process) exec(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, p.url("postgres"))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}
