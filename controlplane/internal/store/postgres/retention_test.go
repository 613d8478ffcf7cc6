package postgres_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// keeps makes a topic that keeps records so long, and so many bytes; -1: all.
func (w *world) keeps(name string, partitions int32, kept time.Duration, bytes int64) topic {
	w.t.Helper()
	ms := kept.Milliseconds()
	if kept < 0 {
		ms = -1
	}
	return w.topicWith(&controlplanev1.CreateTopicRequest{
		Name: name, PartitionCount: partitions, Config: &controlplanev1.TopicConfig{RetentionMs: &ms, RetentionBytes: &bytes},
	})
}

// old makes everything that is committed so much older.
func (w *world) old(by time.Duration) {
	w.t.Helper()
	w.sql("UPDATE object_keys SET created_at = created_at - make_interval(secs => $1)", by.Seconds())
}

// raise is the first step of retention, over all pages.
func (w *world) raise() (partitions int) {
	w.t.Helper()
	for next := (&store.RetentionCursor{}); next != nil; {
		page, err := w.RaiseLogStarts(w.t.Context(), *next)
		w.must(err)
		partitions, next = partitions+page.Partitions, page.Next
	}
	return partitions
}

// remove is the second step.
func (w *world) remove() (segments int, bytes int64) {
	w.t.Helper()
	for next := (&store.RetentionCursor{}); next != nil; {
		page, err := w.RemoveBelowLogStarts(w.t.Context(), *next)
		w.must(err)
		segments, bytes, next = segments+page.Segments, bytes+page.Bytes, page.Next
	}
	return segments, bytes
}

func (a *agent) wantEdges(t topic, partition int32, logStart, highWatermark int64) {
	a.t.Helper()
	got := a.lookup(t, partition, 0)
	if got.GetLogStartOffset() != logStart || got.GetHighWatermark() != highWatermark {
		a.t.Fatalf("partition %d begins at %d and ends at %d, want %d and %d", partition, got.GetLogStartOffset(), got.GetHighWatermark(), logStart, highWatermark)
	}
}

// manySegments gives partition 0 of a topic so many segments of one record and one byte, by hand, each in an object of its own, committed a
// second after the one before, the last one now.
func (w *world) manySegments(topic string, n int) {
	w.t.Helper()
	w.sql(`WITH p AS (UPDATE partitions SET high_watermark = $2 FROM topics t WHERE t.topic_id = partitions.topic_id AND t.name = $1 AND partition = 0
	                  RETURNING partition_id),
	            o AS (INSERT INTO object_keys (key, session_id, size_bytes, outcome, reference_count, created_at)
	                  SELECT 'many/' || n, gen_random_uuid(), 1, '\x01', 1, clock_timestamp() - make_interval(secs => $2 - 1 - n)
	                  FROM generate_series(0, $2 - 1) n RETURNING object_id, key)
	       INSERT INTO segments (partition_id, base_offset, object_id, byte_position, max_timestamp_ms, record_count, size_bytes, epoch, crc32c)
	       SELECT p.partition_id, split_part(o.key, '/', 2)::bigint, o.object_id, 0, 0, 1, 1, 1, 0 FROM o, p`, topic, n)
}

// While the second step waits with its transaction open, at a lock on an object key, commits to the same partition go on.
func TestP8_NoCommitWaitsForTheRemovalOfSegments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{LockTimeout: 30 * time.Second, StatementTimeout: 40 * time.Second, IdleInTransactionTimeout: 40 * time.Second})
	a := w.register("a")
	orders := w.keeps("orders", 1, time.Hour, -1)
	epoch := a.lead(orders, 0).GetEpoch()
	a.committed(segment(orders, 0, epoch, 0, 10))
	a.committed(segment(orders, 0, epoch, 10, 10))
	w.old(2 * time.Hour)
	a.committed(segment(orders, 0, epoch, 20, 10))
	if n := w.raise(); n != 1 {
		t.Fatalf("%d log starts raised", n)
	}
	holder := w.connection()
	for _, statement := range []string{"BEGIN", "SELECT FROM object_keys WHERE object_id = (SELECT max(object_id) FROM object_keys WHERE created_at < clock_timestamp() - interval '1 hour') FOR UPDATE"} {
		if _, err := holder.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	type removed struct {
		segments int
		bytes    int64
	}
	done := make(chan removed, 1)
	go func() {
		segments, bytes := w.remove()
		done <- removed{segments, bytes}
	}()
	eventually(t, "the removal waits for the object key", func() bool { return w.waiting() == 1 })
	for i := range int64(5) {
		wantResult(t, a.committed(segment(orders, 0, epoch, 30+i, 1)), controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED)
	}
	if w.waiting() != 1 {
		t.Error("the removal does not wait any more: the commits show nothing")
	}
	if _, err := holder.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got != (removed{2, 2000}) {
		t.Errorf("removed %+v", got)
	}
	a.wantEdges(orders, 0, 20, 35)
	if n := w.number("SELECT count(*) FROM object_keys WHERE reference_count = 0 AND unreferenced_at IS NOT NULL"); n != 2 {
		t.Errorf("%d objects are free", n)
	}
	w.checkCatalog(t)
}

// A partition that a commit holds is passed over, so that the others are free again at once, and has its turn when the commit is done.
func TestP1_RetentionPassesOverWhatACommitHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{LockTimeout: 30 * time.Second, StatementTimeout: 40 * time.Second, IdleInTransactionTimeout: 40 * time.Second})
	a := w.register("a")
	orders := w.keeps("orders", 3, time.Hour, -1)
	for p := range int32(3) {
		a.committed(segment(orders, p, a.lead(orders, p).GetEpoch(), 0, 10))
	}
	w.old(2 * time.Hour)
	commit := w.connection()
	for _, statement := range []string{"BEGIN", "UPDATE partitions SET high_watermark = high_watermark WHERE partition = 1"} {
		if _, err := commit.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan int, 1)
	go func() { done <- w.raise() }()
	eventually(t, "retention waits for partition 1", func() bool { return w.waiting() == 1 })
	a.wantEdges(orders, 0, 10, 10)
	a.wantEdges(orders, 1, 0, 10)
	a.wantEdges(orders, 2, 10, 10)
	wantResult(t, a.committed(segment(orders, 2, 1, 10, 1)), controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED)
	if _, err := commit.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if n := <-done; n != 3 {
		t.Errorf("%d log starts raised", n)
	}
	a.wantEdges(orders, 1, 10, 10)
}

// A control plane that dies between the two steps leaves segments below the log start: the next pass, anybody's, removes them.
func TestP8_ANextPassFinishesRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.keeps("orders", 1, -1, 1500)
	epoch := a.lead(orders, 0).GetEpoch()
	for i := range int64(4) {
		a.committed(segment(orders, 0, epoch, i*10, 10))
	}
	if n := w.raise(); n != 1 {
		t.Fatalf("%d log starts raised", n)
	}
	a.wantEdges(orders, 0, 20, 40)
	other := w.replica(postgres.Config{})
	if n := other.raise(); n != 0 {
		t.Fatalf("%d log starts raised again", n)
	}
	if segments, bytes := other.remove(); segments != 2 || bytes != 2000 {
		t.Fatalf("%d segments and %d bytes removed", segments, bytes)
	}
	w.checkCatalog(t)
}

// A partition may have very many segments: by bytes all of them count, by time as many as fit a pass go.
func TestRetentionOfManySegments(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	w.keeps("small", 1, -1, 10_000)
	small := w.topicOf("small")
	w.manySegments("small", 4500)
	if n := w.raise(); n != 0 {
		t.Fatalf("%d log starts raised of a partition that has less than its bound", n)
	}
	w.update("small", &controlplanev1.TopicConfig{RetentionBytes: new(int64(2500))})
	w.raise()
	a.wantEdges(small, 0, 2000, 4500)
	w.update("small", &controlplanev1.TopicConfig{RetentionBytes: new(int64(7))})
	w.raise()
	a.wantEdges(small, 0, 4493, 4500)
	if segments, _ := w.remove(); segments != 4493 {
		t.Errorf("%d segments removed", segments)
	}
	w.sql("DELETE FROM segments")
	w.sql("DELETE FROM object_keys")
	w.sql("UPDATE partitions SET log_start_offset = high_watermark")

	w.keeps("aged", 1, 500*time.Second, -1)
	w.manySegments("aged", 2600)
	passes := 0
	for ; w.raise() > 0; passes++ {
		w.remove()
	}
	begins := a.lookup(w.topicOf("aged"), 0, 0).GetLogStartOffset()
	if begins < 2090 || begins > 2600 { // 2,600 seconds old at first, some more by now
		t.Errorf("the partition begins at %d", begins)
	}
	if passes < 3 {
		t.Errorf("%d passes", passes)
	}
	w.checkCatalog(t)
}

func (w *world) topicOf(name string) topic {
	w.t.Helper()
	response, err := w.GetTopic(w.t.Context(), store.EveryAgentGroup, &controlplanev1.GetTopicRequest{Name: name})
	w.must(err)
	return topic(uuid.MustParse(response.GetTopic().GetTopicId()))
}

func (w *world) update(name string, config *controlplanev1.TopicConfig) {
	w.t.Helper()
	_, err := w.UpdateTopic(w.t.Context(), &controlplanev1.UpdateTopicRequest{Name: name, Config: config})
	w.must(err)
}

// A segment that was compacted between retention's look and its lock lies in another object: it must stay, for that object's key is not locked.
func TestP8_RetentionLeavesAloneWhatWasCompactedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{LockTimeout: 30 * time.Second, StatementTimeout: 40 * time.Second, IdleInTransactionTimeout: 40 * time.Second})
	a := w.register("a")
	orders := w.keeps("orders", 1, time.Hour, -1)
	epoch := a.lead(orders, 0).GetEpoch()
	a.committed(segment(orders, 0, epoch, 0, 10))
	w.old(2 * time.Hour)
	w.raise()
	compaction := w.connection()
	for _, statement := range []string{
		"BEGIN", "SELECT FROM object_keys FOR UPDATE",
		`INSERT INTO object_keys (key, session_id, size_bytes, outcome, reference_count) VALUES ('large', gen_random_uuid(), 1, '\x01', 1)`,
		"UPDATE segments SET object_id = (SELECT object_id FROM object_keys WHERE key = 'large')",
		"UPDATE object_keys SET reference_count = 0, unreferenced_at = clock_timestamp() WHERE key <> 'large'",
	} {
		if _, err := compaction.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan int, 1)
	go func() { segments, _ := w.remove(); done <- segments }()
	eventually(t, "the removal waits for the object key", func() bool { return w.waiting() == 1 })
	if _, err := compaction.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if n := <-done; n != 0 {
		t.Errorf("%d segments removed whose object was not locked", n)
	}
	w.checkCatalog(t)
	if n, _ := w.remove(); n != 1 {
		t.Errorf("%d segments removed by the next pass", n)
	}
	w.checkCatalog(t)
}

// Nothing is deleted while the catalog is halted, nor before it is verified.
func TestP8_NothingIsRemovedOnTheWordOfAHaltedCatalog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.keeps("orders", 1, time.Hour, -1)
	epoch := a.lead(orders, 0).GetEpoch()
	a.committed(segment(orders, 0, epoch, 0, 10))
	a.committed(segment(orders, 0, epoch, 10, 10))
	w.old(2 * time.Hour)
	deletion := &controlplanev1.DeleteRecordsRequest{Name: "orders", Partitions: []*controlplanev1.RecordsBefore{{BeforeOffset: 10}}}
	_, err := w.DeleteRecords(t.Context(), deletion)
	w.must(err)
	a.loses(orders, 0, 0)
	if n := w.raise(); n != 0 {
		t.Errorf("%d log starts raised", n)
	}
	if n, _ := w.remove(); n != 0 {
		t.Errorf("%d segments removed", n)
	}
	_, err = w.DeleteRecords(t.Context(), deletion)
	wantReason(t, err, refusalv1.Reason_REASON_CATALOG_HALTED)
	if n := w.number("SELECT count(*) FROM segments"); n != 2 {
		t.Errorf("%d segments are left", n)
	}
}

// Commits, retention by both bounds and deletions of records at the same time, on two replicas: what is from the log start on is there, whole,
// and nobody fails.
func TestP1_P2_CommitsAndRetentionTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{MaxConns: 8})
	a := w.register("a")
	orders := w.keeps("orders", 4, 30*time.Millisecond, 3000)
	for p := range int32(4) {
		a.lead(orders, p)
	}
	replica := w.replica(postgres.Config{})
	writing := make(chan struct{})
	var others sync.WaitGroup
	for _, one := range []*world{w, replica} {
		others.Go(func() {
			for !closed(writing) {
				_, err := one.RaiseLogStarts(t.Context(), store.RetentionCursor{})
				_, err2 := one.RemoveBelowLogStarts(t.Context(), store.RetentionCursor{})
				if err != nil || err2 != nil {
					t.Errorf("retention: %v, %v", err, err2)
				}
				_, err = one.DeleteRecords(t.Context(), &controlplanev1.DeleteRecordsRequest{Name: "orders", Partitions: []*controlplanev1.RecordsBefore{
					{Partition: 3, BeforeOffset: -1}, {Partition: 1, BeforeOffset: 5},
				}})
				if got := reasonOf(err); err != nil && got != refusalv1.Reason_REASON_OUT_OF_RANGE {
					t.Errorf("delete records: %v", err)
				}
			}
		})
	}
	for round := range int64(60) {
		o := a.object(segment(orders, 0, 1, round*10, 10), segment(orders, 1, 1, round*10, 10), segment(orders, 2, 1, round*10, 10), segment(orders, 3, 1, round*10, 10))
		for _, outcome := range a.commit(o)[0].GetSegments() {
			wantResult(t, outcome, controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED)
		}
		p := int32(round % 4)
		start := a.lookup(orders, p, 0).GetLogStartOffset()
		if found := a.lookup(orders, p, start); found.GetLogStartOffset() < found.GetHighWatermark() && start >= found.GetLogStartOffset() &&
			(len(found.GetSegments()) == 0 || found.GetSegments()[0].GetBaseOffset() > start) {
			t.Fatalf("partition %d: nothing at its log start: %v", p, found)
		}
	}
	close(writing)
	others.Wait()
	w.checkCatalog(t)
	if n := w.number("SELECT min(log_start_offset) FROM partitions"); n == 0 {
		t.Error("retention never moved a partition")
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A topic of 100,000 partitions, each with segments, goes while another one is written to.
func TestP8_PurgeOfAHundredThousandPartitions(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	w.topic("wide", 100_000)
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	w.sql(`WITH p AS (UPDATE partitions SET high_watermark = 2 FROM topics t WHERE t.topic_id = partitions.topic_id AND t.name = 'wide' RETURNING partition_id, partition),
	            o AS (INSERT INTO object_keys (key, session_id, size_bytes, outcome, reference_count)
	                  SELECT 'wide/' || n, gen_random_uuid(), 1, '\x01', 1000 FROM generate_series(0, 199) n RETURNING object_id, key)
	       INSERT INTO segments (partition_id, base_offset, object_id, byte_position, max_timestamp_ms, record_count, size_bytes, epoch, crc32c)
	       SELECT p.partition_id, i, o.object_id, 0, 0, 1, 1, 1, 0 FROM p, generate_series(0, 1) i JOIN o ON true
	       WHERE o.key = 'wide/' || ((p.partition / 1000) * 2 + i)`)
	if n := w.number("SELECT count(*) FROM segments"); n != 200_000 {
		t.Fatalf("%d segments", n)
	}
	began := time.Now()
	_, err := w.DeleteTopic(t.Context(), &controlplanev1.DeleteTopicRequest{Name: "wide"})
	w.must(err)
	answered := time.Since(began)
	slowest, commits := time.Duration(0), int64(0)
	for more := true; more; {
		_, more, err = w.PurgeDeleted(t.Context())
		w.must(err)
		if more {
			sent := time.Now()
			wantResult(t, a.committed(segment(orders, 0, 1, commits, 1)), controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED)
			commits, slowest = commits+1, max(slowest, time.Since(sent))
		}
	}
	t.Logf("deleted after %v, purged after %v, in %d pages; the slowest commit in between took %v", answered, time.Since(began), commits, slowest)
	if n := w.number("SELECT count(*) FROM segments") + w.number("SELECT count(*) FROM partitions"); n != commits+1 {
		t.Errorf("%d rows are left beside those of the topic that stays", n-commits-1)
	}
	if n := w.number("SELECT count(*) FROM object_keys WHERE key LIKE 'wide/%' AND reference_count = 0 AND unreferenced_at IS NOT NULL"); n != 200 {
		t.Errorf("%d objects of the deleted topic are free", n)
	}
}

// TestDeleteRecordsSaysWhatIsThere: the refusal names log start and end, and what was asked for.
func TestDeleteRecordsSaysWhatIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 2)
	a.committed(segment(orders, 1, a.lead(orders, 1).GetEpoch(), 0, 10))
	_, err := w.DeleteRecords(t.Context(), &controlplanev1.DeleteRecordsRequest{Name: "orders", Partitions: []*controlplanev1.RecordsBefore{
		{Partition: 1, BeforeOffset: 11}, {Partition: 0, BeforeOffset: -1},
	}})
	got := refusalOf(err)
	if got.GetReason() != refusalv1.Reason_REASON_OUT_OF_RANGE || got.GetTopic() != "orders" || got.GetPartition() != 1 ||
		got.GetOffsets().GetLogStartOffset() != 0 || got.GetOffsets().GetHighWatermark() != 10 {
		t.Errorf("refused with %v", got)
	}
	response, err := w.DeleteRecords(t.Context(), &controlplanev1.DeleteRecordsRequest{Name: "orders", Partitions: []*controlplanev1.RecordsBefore{
		{Partition: 1, BeforeOffset: 4}, {Partition: 0, BeforeOffset: -1},
	}})
	w.must(err)
	if got := fmt.Sprint(response.GetPartitions()[0].GetLogStartOffset(), response.GetPartitions()[1].GetLogStartOffset()); got != "0 4" {
		t.Errorf("the partitions begin at %s", got)
	}
	if grant := a.lead(orders, 1); grant.GetLogStartOffset() != 4 {
		t.Errorf("who leads is told that the log begins at %d", grant.GetLogStartOffset())
	}
}

// BenchmarkRetention passes over 100,000 partitions with two segments each: with nothing to do, then raising all, then removing all.
func BenchmarkRetention(b *testing.B) {
	const partitions = 100_000
	w := newWorld(b, postgres.Config{})
	w.register("a")
	w.keeps("wide", partitions, time.Hour, 1<<30)
	for b.Loop() {
		b.StopTimer()
		w.sql("TRUNCATE object_keys, segments")
		w.sql(`WITH p AS (UPDATE partitions SET high_watermark = 2, log_start_offset = 0 RETURNING partition_id, partition),
		            o AS (INSERT INTO object_keys (key, session_id, size_bytes, outcome, reference_count)
		                  SELECT 'wide/' || n, gen_random_uuid(), 1, '\x01', 1000 FROM generate_series(0, 199) n RETURNING object_id, key)
		       INSERT INTO segments (partition_id, base_offset, object_id, byte_position, max_timestamp_ms, record_count, size_bytes, epoch, crc32c)
		       SELECT p.partition_id, i, o.object_id, 0, 0, 1, 1, 1, 0 FROM p, generate_series(0, 1) i JOIN o ON true
		       WHERE o.key = 'wide/' || ((p.partition / 1000) * 2 + i)`)
		w.sql("VACUUM ANALYZE")
		b.StartTimer()
		for _, step := range []struct {
			name string
			do   func() int
			want int
		}{
			{"idle-raise", w.raise, 0},
			{"idle-remove", func() int { n, _ := w.remove(); return n }, 0},
			{"raise", func() int { w.old(2 * time.Hour); return w.raise() }, partitions},
			{"remove", func() int { n, _ := w.remove(); return n }, 2 * partitions},
		} {
			began := time.Now()
			if n := step.do(); n != step.want {
				b.Fatalf("%s: %d", step.name, n)
			}
			b.ReportMetric(time.Since(began).Seconds(), step.name+"-s")
		}
	}
}
