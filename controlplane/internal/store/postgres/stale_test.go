package postgres_test

import (
	"testing"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// A plan outlives what was true when it was made. One made while the tables were nearly empty must serve when they are large, until the next
// ANALYZE throws it away: also then each row is looked up by its index, not all of the table held against all of the commit.
func TestCommit_PlansOfSmallTablesServeLargeOnes(t *testing.T) {
	t.Parallel()
	const few, many = 4, 300
	w := newWorld(t, postgres.Config{MaxConns: 2})
	a := w.register("a")
	w.sql("ALTER TABLE partitions SET (autovacuum_enabled = off)")
	w.sql("ALTER TABLE producers SET (autovacuum_enabled = off)")
	small := w.topic("small", few)
	a.leads(small, few)
	a.commit(wide(a, small, few, 0))
	w.sql("VACUUM ANALYZE partitions")
	w.sql("VACUUM ANALYZE producers")
	a.commit(wide(a, small, few, 1)) // the plans are made
	a.commit(wide(a, small, few, 2))

	large := w.topic("large", many)
	a.acquireAll(large, many)
	for round := range int64(4) {
		for _, out := range a.commit(wide(a, large, many, round))[0].GetSegments() {
			wantOutcome(t, out, committed, 10*(round+1), 1)
		}
	}
	w.Close() // its connections count what they have done when they end
	eventually(t, "partitions are looked up by their index", func() bool { return w.looks("partitions_partition_id_key") >= 4*many })
	eventually(t, "producers are looked up by their index", func() bool { return w.looks("producers_pkey") >= (4+3)*many })
}

// To find that a deleted topic has no segments left must not cost a walk through those of all others.
func TestPurge_LooksAtTheSegmentsOfDeletedTopicsAlone(t *testing.T) {
	t.Parallel()
	const partitions = 20
	w := newWorld(t, postgres.Config{MaxConns: 2})
	a := w.register("a")
	w.sql("ALTER TABLE segments SET (autovacuum_enabled = off)")
	kept, gone := w.topic("kept", 1), w.topic("gone", partitions)
	a.lead(kept, 0)
	a.leads(gone, partitions)
	for round := range int64(20) {
		a.commit(wide(a, kept, 1, round))
	}
	a.commit(wide(a, gone, partitions, 0))
	w.sql("VACUUM ANALYZE segments")
	_, err := w.DeleteTopic(t.Context(), &controlplanev1.DeleteTopicRequest{Name: "gone"})
	w.must(err)
	purger := w.replica(postgres.Config{})
	for more := true; more; {
		_, more, err = purger.PurgeDeleted(t.Context())
		w.must(err)
	}
	purger.Close() // its connections count what they have done when they end
	eventually(t, "the purge is counted", func() bool { return w.looks("segments_pkey") >= partitions })
	if walks := w.number("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'segments'"); walks > 0 {
		t.Errorf("all segments were walked through %d times", walks)
	}
	if left := w.number("SELECT count(*) FROM segments"); left != 20 {
		t.Errorf("%d segments are left, want the 20 of the topic that is kept", left)
	}
}

// looks is how often an index was asked, by connections that have ended.
func (w *world) looks(index string) int64 {
	w.t.Helper()
	return w.number("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = $1", index)
}

// wide is an object with a segment of ten records for each of the first partitions, each of an idempotent producer.
func wide(a *agent, topic topic, partitions int32, round int64) *controlplanev1.ObjectCommit {
	var segments []*controlplanev1.SegmentCommit
	for p := range partitions {
		segments = append(segments, segment(topic, p, 1, 10*round, 10, batch(7, 0, int32(10*round), 10, 10*round)))
	}
	return a.object(segments...)
}

// acquireAll acquires partitions from 0 on, in one call.
func (a *agent) acquireAll(t topic, partitions int32) {
	a.t.Helper()
	request := &controlplanev1.AcquireRequest{SessionId: a.session.String()}
	for p := range partitions {
		request.Partitions = append(request.Partitions, &controlplanev1.AcquirePartition{TopicId: t[:], Partition: p})
	}
	_, err := a.Acquire(a.t.Context(), a.group, request)
	a.must(err)
}
