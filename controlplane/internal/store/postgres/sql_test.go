package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// connection is a session with the database of its own, for tests that play another transaction.
func (w *world) connection() *pgx.Conn {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.url)
	w.must(err)
	w.t.Cleanup(func() { _ = conn.Close(w.t.Context()) })
	return conn
}

// sql runs one statement and answers how many rows it changed.
func (w *world) sql(statement string, arguments ...any) int64 {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.url)
	w.must(err)
	defer func() { _ = conn.Close(w.t.Context()) }()
	tag, err := conn.Exec(w.t.Context(), statement, arguments...)
	w.must(err)
	return tag.RowsAffected()
}

// number is the one value that a query answers.
func (w *world) number(query string, arguments ...any) int64 {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.url)
	w.must(err)
	defer func() { _ = conn.Close(w.t.Context()) }()
	var n int64
	w.must(conn.QueryRow(w.t.Context(), query, arguments...).Scan(&n))
	return n
}

// silence makes a session look silent for that many seconds.
func (a *agent) silence(seconds int) {
	a.t.Helper()
	if a.sql("UPDATE sessions SET last_heartbeat_at = clock_timestamp() - make_interval(secs => $2) WHERE session_id = $1", a.session, float64(seconds)) != 1 {
		a.t.Fatal("no such session")
	}
}

// present makes the judges look present for a long time already.
func (w *world) present() {
	w.t.Helper()
	w.sql("UPDATE pulse SET beat_at = clock_timestamp(), quiet_until = '2000-01-01'")
}

// waiting says how many sessions of this database wait for a lock.
func (w *world) waiting() int64 {
	w.t.Helper()
	return w.number("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
}

// checkCatalog fails the test unless the catalog is what P1 and P2 say: from the log start on segments follow each other up to the high
// watermark; and every object's reference count is the number of its segments.
func (w *world) checkCatalog(t testing.TB) {
	t.Helper()
	broken := w.number(`
		SELECT count(*) FROM (
			SELECT p.high_watermark, p.log_start_offset,
			       COALESCE(min(s.base_offset), p.log_start_offset) AS first,
			       COALESCE(max(s.base_offset + s.record_count), p.log_start_offset) AS last,
			       COALESCE(bool_and(s.base_offset = COALESCE(s.before, s.base_offset)), true) AS contiguous
			FROM partitions p
			LEFT JOIN (SELECT *, lag(base_offset + record_count) OVER (PARTITION BY partition_id ORDER BY base_offset) AS before FROM segments) s
			     ON s.partition_id = p.partition_id
			GROUP BY p.partition_id, p.high_watermark, p.log_start_offset) c
		WHERE NOT contiguous OR last <> high_watermark OR first > log_start_offset`)
	if broken != 0 {
		t.Errorf("%d partitions whose segments do not follow each other from the log start up to the high watermark", broken)
	}
	miscounted := w.number(`SELECT count(*) FROM object_keys o WHERE o.reference_count <> (SELECT count(*) FROM segments s WHERE s.object_id = o.object_id)`)
	if miscounted != 0 {
		t.Errorf("%d objects with a wrong reference count", miscounted)
	}
}
