package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// hears runs a replica's listener until the test ends, and waits until it hears.
func (w *world) hears() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Hear(ctx, "q") }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil || w.Hearing() {
			w.t.Errorf("Hear: %v, hearing %v", err, w.Hearing())
		}
	})
	w.until("hears", w.Hearing)
	w.told()
}

func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			w.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// told waits for a signal.
func (w *world) told() {
	w.t.Helper()
	select {
	case <-w.PlacementChanged():
	case <-time.After(30 * time.Second):
		w.t.Fatal("no signal")
	}
}

// TestPlacement_ReplicasHearOfEachOther: of every change in time, also of those that are made while the connection is gone.
func TestPlacement_ReplicasHearOfEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	q := w.replica(postgres.Config{})
	q.hears()
	w.register("a")
	q.told()
	w.topic("orders", 1)
	q.told()
	before := q.listener()
	if before == 0 {
		t.Fatal("the connection does not say what it is")
	}
	w.exec("SELECT pg_terminate_backend($1)", before)
	w.register("b")
	q.told() // by the notice, or when it listens again
	q.until("it hears again", func() bool { now := q.listener(); return now != 0 && now != before && q.Hearing() })
	w.register("c")
	q.told()
}

// TestPlacement_WhoIsToldNothingKnowsIt: a pooler may let LISTEN through and no notices.
func TestPlacement_WhoIsToldNothingKnowsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	conn, err := pgx.Connect(t.Context(), w.url)
	w.must(err)
	defer func() { _ = conn.Close(t.Context()) }()
	if err := w.HearsItself(t.Context(), conn); err == nil {
		t.Error("it hears without listening")
	}
	_, err = conn.Exec(t.Context(), "LISTEN streamhouse_placement")
	w.must(err)
	w.must(w.HearsItself(t.Context(), conn)) // the silence before has not broken it
}

// listener is the process that serves the connection which listens; 0: none.
func (w *world) listener() (pid int) {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.url)
	w.must(err)
	defer func() { _ = conn.Close(w.t.Context()) }()
	w.must(conn.QueryRow(w.t.Context(), `SELECT COALESCE(max(pid), 0) FROM pg_stat_activity
		WHERE application_name = 'streamhouse-listener q' AND datname = current_database()`).Scan(&pid))
	return pid
}
