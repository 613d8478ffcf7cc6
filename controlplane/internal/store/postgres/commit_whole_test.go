package postgres_test

import (
	"testing"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// leads acquires partitions from 0 on.
func (a *agent) leads(t topic, partitions int32) {
	a.t.Helper()
	for p := range partitions {
		a.lead(t, p)
	}
}

// inBackground commits and sends the outcomes, none after an error.
func (a *agent) inBackground(o *controlplanev1.ObjectCommit) <-chan []*controlplanev1.SegmentOutcome {
	outcomes := make(chan []*controlplanev1.SegmentOutcome, 1)
	go func() {
		defer close(outcomes)
		response, err := a.Commit(a.t.Context(), a.group, &controlplanev1.CommitRequest{
			SessionId: a.session.String(), Objects: []*controlplanev1.ObjectCommit{o},
		})
		if err != nil {
			a.t.Error(err)
			return
		}
		outcomes <- response.GetObjects()[0].GetSegments()
	}()
	return outcomes
}

// Partitions are locked in (topic_id, partition) order, wherever they lie and however few they are, so that no two transactions wait for each
// other in a ring.
func TestCommit_LocksPartitionsInOrder(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int32{3, 1000} { // a statement each, and one for all, so many that other plans are tempting
		w := newWorld(t, postgres.Config{})
		a, orders := w.register("a"), w.topic("orders", 4*partitions)
		w.sql("UPDATE partitions SET epoch = 1, leader_session_id = $1", a.session)
		// The rows lie the other way round, and so do their ids; and this server prefers to go by them.
		w.sql("CREATE TABLE turned AS TABLE partitions")
		w.sql("UPDATE turned SET partition_id = 1000000 - partition_id")
		w.sql("DELETE FROM partitions")
		w.sql("INSERT INTO partitions OVERRIDING SYSTEM VALUE TABLE turned ORDER BY partition DESC")
		w.sql("VACUUM ANALYZE partitions")
		w.sql("DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET enable_hashjoin = off'; EXECUTE 'ALTER DATABASE ' || current_database() || ' SET enable_nestloop = off'; END $$")
		a.world = w.replica(postgres.Config{})
		var segments []*controlplanev1.SegmentCommit
		for p := range partitions {
			segments = append(segments, segment(orders, p, 1, 0, 1))
		}
		middle := partitions / 2
		tx, err := w.connection().Begin(t.Context())
		w.must(err)
		_, err = tx.Exec(t.Context(), "SELECT FROM partitions WHERE partition = $1 FOR UPDATE", middle)
		w.must(err)
		outcomes := a.inBackground(a.object(segments...))
		eventually(t, "the commit waits", func() bool { return w.waiting() > 0 })
		free := func(condition string) int64 {
			return w.sql("SELECT FROM partitions WHERE partition < $2 AND "+condition+" FOR NO KEY UPDATE SKIP LOCKED", middle, partitions)
		}
		if below, above := free("partition < $1"), free("partition > $1"); below != 0 || above != int64(partitions-middle-1) {
			t.Errorf("%d partitions, one in the middle is awaited: %d below it are not locked, of those above it %d are not", partitions, below, above)
		}
		w.must(tx.Commit(t.Context()))
		for _, out := range <-outcomes {
			wantOutcome(t, out, committed, 1, 1)
		}
		w.checkCatalog(t)
	}
}

// Between its two round trips a commit finds a producer forgotten that it has read: it begins again, and knows nothing of it.
func TestP5_AProducerThatIsForgottenDuringACommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a, orders := w.register("a"), w.topic("orders", 2)
	a.leads(orders, 2)
	for p := range int32(2) {
		wantOutcome(t, a.committed(segment(orders, p, 1, 0, 2, batch(7, 0, 0, 2, 0))), committed, 2, 1)
	}
	tx, err := w.connection().Begin(t.Context())
	w.must(err)
	_, err = tx.Exec(t.Context(), "LOCK TABLE segments IN SHARE MODE") // what the second round trip begins with waits
	w.must(err)
	outcomes := a.inBackground(a.object(segment(orders, 0, 1, 2, 1, batch(7, 0, 2, 1, 2)), segment(orders, 1, 1, 2, 1, batch(7, 0, 2, 1, 2))))
	eventually(t, "the commit waits", func() bool { return w.waiting() > 0 })
	_, err = tx.Exec(t.Context(), "DELETE FROM producers USING partitions WHERE producers.partition_id = partitions.partition_id AND partition = 0")
	w.must(err)
	w.must(tx.Commit(t.Context()))
	found := <-outcomes
	if len(found) != 2 {
		t.Fatalf("outcomes %v", found)
	}
	wantOutcome(t, found[0], gap, 2, 1)
	wantOutcome(t, found[1], committed, 3, 1)
	w.checkCatalog(t)
}

// Ids of partitions are remembered. In a catalog that went back in time they may be those of others: nothing is written to these.
func TestP2_ARememberedIdOfAnotherPartition(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int32{2, 8} {
		w := newWorld(t, postgres.Config{})
		a, orders := w.register("a"), w.topic("orders", partitions)
		a.leads(orders, partitions)
		var first, second []*controlplanev1.SegmentCommit
		for p := range partitions {
			first, second = append(first, segment(orders, p, 1, 0, 2)), append(second, segment(orders, p, 1, 2, int32(3)+p))
		}
		a.commit(a.object(first...))
		w.sql("ALTER TABLE partitions ALTER COLUMN partition_id SET GENERATED BY DEFAULT")
		w.sql("UPDATE partitions SET partition_id = -partition_id")
		w.sql("UPDATE segments SET partition_id = -partition_id")
		w.sql("UPDATE partitions SET partition_id = $1 + partition_id", partitions+1) // the other way round
		w.sql("UPDATE segments SET partition_id = $1 + partition_id", partitions+1)
		for range 2 { // entry by entry; then wholly, with the new ids
			outcomes := a.commit(a.object(second...))[0].GetSegments()
			for p := range partitions {
				wantOutcome(t, outcomes[p], committed, second[p].GetBaseOffset()+int64(3+p), 1)
				if got := w.number("SELECT high_watermark FROM partitions WHERE partition = $1", p); got != outcomes[p].GetHighWatermark() {
					t.Errorf("partition %d ends at %d, want %v", p, got, outcomes[p])
				}
				second[p] = segment(orders, p, 1, outcomes[p].GetHighWatermark(), 3+p)
			}
			w.checkCatalog(t)
		}
	}
}
