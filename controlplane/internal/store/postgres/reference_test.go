package postgres_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// There are no foreign keys on what grants and commits write: what is referred to stays all the same, and tenures go with their partition.
func TestReferences_AreKeptWithoutForeignKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	orders, a, b := w.topic("orders", 2), w.register("a"), w.register("b")
	w.assign(orders, 0, "a")
	epoch := a.lead(orders, 0).GetEpoch()
	w.assign(orders, 1, "b")
	b.lead(orders, 1)
	w.sql("UPDATE partitions SET leader_session_id = NULL WHERE partition = 1") // b is in a tenure alone
	conn := w.connection()
	for _, id := range []uuid.UUID{a.session, b.session} {
		if _, err := conn.Exec(t.Context(), "DELETE FROM sessions WHERE session_id = $1", id); !violatesReference(err) {
			t.Errorf("a session that is referred to was deleted: %v", err)
		}
	}
	if _, err := conn.Exec(t.Context(), "DELETE FROM topics"); !violatesReference(err) {
		t.Errorf("a topic with partitions was deleted: %v", err)
	}
	if n := w.sql("DELETE FROM partitions WHERE partition = 0"); n != 1 || epoch != 1 {
		t.Fatalf("%d partitions deleted", n)
	}
	if n := w.number("SELECT count(*) FROM tenures"); n != 1 {
		t.Errorf("%d tenures are left, want that of the other partition", n)
	}
	if n := w.sql("DELETE FROM sessions WHERE session_id = $1", a.session); n != 1 {
		t.Error("a session to which nothing refers stayed")
	}
}

func violatesReference(err error) bool {
	answered, ok := errors.AsType[*pgconn.PgError](err)
	return ok && answered.Code == "23503"
}

// A grant that is under way when its session is deleted is waited for, and seen.
func TestReferences_AreSeenByADeletionThatWaited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	w.topic("orders", 1)
	a := w.register("a")
	tx, err := w.connection().Begin(t.Context())
	w.must(err)
	_, err = tx.Exec(t.Context(), "SELECT FROM sessions WHERE session_id = $1 FOR KEY SHARE", a.session)
	w.must(err)
	_, err = tx.Exec(t.Context(), "UPDATE partitions SET epoch = 1, leader_session_id = $1", a.session)
	w.must(err)
	deleted := make(chan error, 1)
	conn := w.connection()
	go func() {
		_, err := conn.Exec(t.Context(), "DELETE FROM sessions WHERE session_id = $1", a.session)
		deleted <- err
	}()
	eventually(t, "the deletion waits", func() bool { return w.waiting() > 0 })
	w.must(tx.Commit(t.Context()))
	if err := <-deleted; !violatesReference(err) {
		t.Fatalf("the session of a leader was deleted: %v", err)
	}
}
