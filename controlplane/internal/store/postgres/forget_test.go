package postgres_test

import (
	"testing"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// idle makes a producer look idle for so long, on every partition.
func (w *world) idle(producer int64, since time.Duration) {
	w.t.Helper()
	w.sql("UPDATE producers SET updated_at = clock_timestamp() - make_interval(secs => $2) WHERE producer_id = $1", producer, since.Seconds())
}

func (w *world) forgotten(idle time.Duration) int {
	w.t.Helper()
	page, err := w.ForgetProducers(w.t.Context(), idle, store.ProducerCursor{})
	w.must(err)
	if page.Next != nil {
		w.t.Fatalf("a page that is not full has one after it: %+v", page)
	}
	return page.Producers
}

func wantResult(t testing.TB, got *controlplanev1.SegmentOutcome, want controlplanev1.SegmentResult) {
	t.Helper()
	if got.GetResult() != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// P5: who was idle for long is forgotten, and nobody else. What it sends next must start at sequence 0.
func TestP5_IdleProducersAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 1)
	epoch := a.lead(orders, 0).GetEpoch()
	wantResult(t, a.committed(segment(orders, 0, epoch, 0, 4, batch(1, 0, 0, 2, 0), batch(2, 0, 0, 2, 2))), controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED)
	w.idle(1, 169*time.Hour)
	w.idle(2, 167*time.Hour)
	if n := w.forgotten(168 * time.Hour); n != 1 {
		t.Fatalf("%d producers forgotten", n)
	}
	wantResult(t, a.committed(segment(orders, 0, epoch, 4, 1, batch(1, 0, 2, 1, 4))), controlplanev1.SegmentResult_SEGMENT_RESULT_SEQUENCE_GAP)
	wantResult(t, a.committed(segment(orders, 0, epoch, 4, 1, batch(2, 0, 2, 1, 4))), controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED)
	wantResult(t, a.committed(segment(orders, 0, epoch, 5, 1, batch(1, 0, 0, 1, 5))), controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED)
	if n := w.forgotten(168 * time.Hour); n != 0 {
		t.Errorf("%d producers forgotten that have written since", n)
	}
}

// A producer whose row a commit holds is passed over: the forgetting waits for nobody, and what the commit writes stays.
func TestP5_ForgettingPassesOverCommitsUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 1)
	epoch := a.lead(orders, 0).GetEpoch()
	a.committed(segment(orders, 0, epoch, 0, 2, batch(1, 0, 0, 2, 0)))
	w.idle(1, time.Hour)
	commit := w.connection()
	for _, statement := range []string{"BEGIN", "UPDATE producers SET updated_at = clock_timestamp() WHERE producer_id = 1"} {
		if _, err := commit.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if n := w.forgotten(time.Minute); n != 0 {
		t.Errorf("%d producers forgotten under a commit's lock", n)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("waited %v for a commit", took)
	}
	if _, err := commit.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if n := w.forgotten(time.Minute); n != 0 {
		t.Errorf("%d producers forgotten that have just written", n)
	}
}

// Pages follow each other to the end of the table, whatever lies between them.
func TestForgettingPassesOverEveryPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	w.sql(`INSERT INTO producers (partition_id, producer_id, updated_at, producer_epoch, batches)
		SELECT p, q, clock_timestamp() - interval '2 hours' * (q % 2), 0, '\x00000000000000010000000000000000'
		FROM generate_series(1, 3) p, generate_series(0, 4999) q`)
	forgotten, looks := 0, 0
	for next := (&store.ProducerCursor{}); next != nil; looks++ {
		page, err := w.ForgetProducers(t.Context(), time.Hour, *next)
		w.must(err)
		forgotten, next = forgotten+page.Producers, page.Next
	}
	if left := w.number("SELECT count(*) FROM producers"); forgotten != 7500 || left != 7500 || looks != 4 {
		t.Errorf("%d forgotten, %d left, after %d looks", forgotten, left, looks)
	}
}
