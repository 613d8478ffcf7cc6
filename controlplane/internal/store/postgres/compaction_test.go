package postgres_test

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/checksum"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

func newCompactionWorld(t testing.TB) *world {
	return newWorld(t, postgres.Config{Jobs: store.JobConfig{CompactionMinAge: time.Millisecond}})
}

// claim asks for a job of compaction; nil: there is none.
func (a *agent) claim() *controlplanev1.Job {
	a.t.Helper()
	for range 2 { // the first one of an agent group only begins to look
		response, err := a.ClaimJob(a.t.Context(), a.group, &controlplanev1.ClaimJobRequest{
			SessionId: a.session.String(), Kinds: []controlplanev1.JobKind{controlplanev1.JobKind_JOB_KIND_COMPACT},
		})
		a.must(err)
		if response.GetJob() != nil {
			return response.GetJob()
		}
	}
	return nil
}

// compactable is an agent with objects that hold a segment of ten records of each partition; the job has all of them.
func compactable(t *testing.T, objects int, partitions int32) (*agent, topic, *controlplanev1.Job) {
	t.Helper()
	w := newCompactionWorld(t)
	a, of := w.register("a"), w.topic("orders", partitions)
	for p := range partitions {
		a.lead(of, p)
	}
	for i := range objects {
		var segments []*controlplanev1.SegmentCommit
		for p := range partitions {
			segments = append(segments, segment(of, p, 1, int64(10*i), 10))
		}
		a.commit(a.object(segments...))
	}
	time.Sleep(20 * time.Millisecond) // beyond the patience, by the server's clock
	job := a.claim()
	if job.GetCompact() == nil {
		t.Fatalf("no job: %v", job)
	}
	return a, of, job
}

// output announces the job's next one.
func (a *agent) output(job *controlplanev1.Job, counter int) string {
	a.t.Helper()
	key := fmt.Sprintf("%s/0b/0-%s-%d", a.group, job.GetOutputId(), counter)
	_, err := a.AnnounceOutput(a.t.Context(), a.group, &controlplanev1.AnnounceOutputRequest{
		JobId: job.GetJobId(), Output: &controlplanev1.CompactionOutput{ObjectKey: key, SizeBytes: 1 << 20, Crc32C: 1},
	})
	a.must(err)
	return key
}

// copied is the segment that all segments of a partition from an offset on make together.
func (a *agent) copied(of topic, partition int32, from int64, position int64) *controlplanev1.CompactedSegment {
	a.t.Helper()
	s := &controlplanev1.CompactedSegment{TopicId: of[:], Partition: partition, Epoch: 1, BaseOffset: from, BytePosition: position}
	for _, row := range a.lookup(of, partition, from).GetSegments() {
		s.RecordCount += row.GetRecordCount()
		s.SizeBytes += row.GetSizeBytes()
		s.Crc32C = checksum.Combine(s.GetCrc32C(), row.GetCrc32C(), int64(row.GetSizeBytes()))
		s.MaxTimestampMs = max(s.GetMaxTimestampMs(), row.GetMaxTimestampMs())
	}
	return s
}

func (a *agent) commitCompaction(job *controlplanev1.Job, key string, segments ...*controlplanev1.CompactedSegment) (*controlplanev1.CommitCompactionResponse, error) {
	return a.CommitCompaction(a.t.Context(), a.group, &controlplanev1.CommitCompactionRequest{JobId: job.GetJobId(), ObjectKey: key, Segments: segments})
}

// objectRow is what the catalog keeps of an object.
type objectRow struct {
	Key            string
	ReferenceCount int32
	Unreferenced   bool
	Level          int16
	NewestCommitAt *time.Time
	CreatedAt      time.Time
}

func (w *world) objectRows() map[string]objectRow {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.url)
	w.must(err)
	defer conn.Close(w.t.Context())
	rows, err := conn.Query(w.t.Context(), `SELECT key, reference_count, unreferenced_at IS NOT NULL, compaction_level, newest_commit_at, created_at FROM object_keys`)
	w.must(err)
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[objectRow])
	w.must(err)
	by := map[string]objectRow{}
	for _, row := range found {
		by[row.Key] = row
	}
	return by
}

func TestP2_CompactionPutsOneSegmentInThePlaceOfMany(t *testing.T) {
	t.Parallel()
	a, of, job := compactable(t, 20, 3)
	if got := len(job.GetCompact().GetObjectKeys()); got != 20 {
		t.Fatalf("%d inputs", got)
	}
	key := a.output(job, 1)
	segments := []*controlplanev1.CompactedSegment{a.copied(of, 0, 0, 8), a.copied(of, 1, 0, 50), a.copied(of, 2, 0, 90)}
	for range 2 { // a repeat changes nothing
		response, err := a.commitCompaction(job, key, segments...)
		a.must(err)
		if response.GetAccepted() != 3 || response.GetLeftOut() != 0 {
			t.Fatalf("%v", response)
		}
	}
	for p := range int32(3) {
		found := a.lookup(of, p, 57).GetSegments()
		if len(found) != 1 || found[0].GetObjectKey() != key || found[0].GetBaseOffset() != 0 || found[0].GetRecordCount() != 200 {
			t.Fatalf("partition %d: %v", p, found)
		}
	}
	newest, rows := time.Time{}, a.objectRows()
	for _, input := range job.GetCompact().GetObjectKeys() {
		if row := rows[input]; row.ReferenceCount != 0 || !row.Unreferenced {
			t.Errorf("input %+v", row)
		}
		newest = slices.MaxFunc([]time.Time{newest, rows[input].CreatedAt}, time.Time.Compare)
	}
	if out := rows[key]; out.ReferenceCount != 3 || out.Unreferenced || out.Level != 1 || out.NewestCommitAt == nil || !out.NewestCommitAt.Equal(newest) {
		t.Errorf("output %+v, the newest input is of %s", out, newest)
	}
	// What is committed meanwhile goes on behind it.
	if got := a.committed(segment(of, 0, 1, 200, 10)); got.GetHighWatermark() != 210 {
		t.Errorf("%v", got)
	}
	a.finish(job)
	if again := a.claim(); again != nil {
		t.Errorf("planned again: %v", again)
	}
}

func (a *agent) finish(job *controlplanev1.Job) {
	a.t.Helper()
	_, err := a.FinishJob(a.t.Context(), a.group, &controlplanev1.FinishJobRequest{JobId: job.GetJobId()})
	a.must(err)
}

func TestP1_P2_CompactionLeavesOutWhatHasChanged(t *testing.T) {
	t.Parallel()
	a, of, job := compactable(t, 10, 6)
	segments := make([]*controlplanev1.CompactedSegment, 6)
	for p := range segments {
		segments[p] = a.copied(of, int32(p), 0, int64(100*p))
	}
	segments[1].Crc32C++          // other bytes
	segments[2].RecordCount += 10 // more than there is
	segments[3].Epoch = 2
	before := a.lookup(of, 5, 0).GetSegments()
	key := a.output(job, 1)
	a.deleteRecords(of, 0, 10) // retention comes first
	segments = append(segments[:5], a.half(segments[5]))
	response, err := a.commitCompaction(job, key, segments...)
	a.must(err)
	if response.GetAccepted() != 1 || response.GetLeftOut() != 5 || response.GetReplaced() != 10 { // only partition 4
		t.Fatalf("%v", response)
	}
	if after := a.lookup(of, 5, 0).GetSegments(); len(after) != len(before) {
		t.Errorf("%d segments, before %d", len(after), len(before))
	}
	if row := a.objectRows()[key]; row.ReferenceCount != 1 {
		t.Errorf("%+v", row)
	}
	a.finish(job)
	for key, row := range a.objectRows() {
		if row.Level != 1 {
			t.Errorf("%s is of level %d: it would be planned again", key, row.Level)
		}
	}
}

// half covers five records of the last segment less.
func (a *agent) half(s *controlplanev1.CompactedSegment) *controlplanev1.CompactedSegment {
	s.RecordCount -= 5
	return s
}

func (a *agent) deleteRecords(of topic, partition int32, before int64) {
	a.t.Helper()
	_, err := a.DeleteRecords(a.t.Context(), &controlplanev1.DeleteRecordsRequest{
		Name: "orders", Partitions: []*controlplanev1.RecordsBefore{{Partition: partition, BeforeOffset: before}},
	})
	a.must(err)
}

func TestP8_AnOutputThatNobodyRefersToIsFree(t *testing.T) {
	t.Parallel()
	a, of, job := compactable(t, 5, 1)
	wrong := a.copied(of, 0, 0, 8)
	wrong.SizeBytes++
	key := a.output(job, 1)
	response, err := a.commitCompaction(job, key, wrong)
	a.must(err)
	if response.GetAccepted() != 0 || response.GetLeftOut() != 1 {
		t.Fatalf("%v", response)
	}
	if row := a.objectRows()[key]; row.ReferenceCount != 0 || !row.Unreferenced {
		t.Errorf("%+v", row)
	}
}

func TestP8_ADeadOutputIsNotCommitted(t *testing.T) {
	t.Parallel()
	a, of, job := compactable(t, 5, 1)
	key := a.output(job, 1)
	dead, err := a.Tombstone(t.Context(), []string{key})
	a.must(err)
	if len(dead) != 1 {
		t.Fatalf("%v", dead)
	}
	_, err = a.commitCompaction(job, key, a.copied(of, 0, 0, 8))
	wantReason(t, err, refusalv1.Reason_REASON_OBJECT_TOMBSTONED)
	if got := len(a.lookup(of, 0, 0).GetSegments()); got != 5 {
		t.Errorf("%d segments", got)
	}
}

// Whoever has lost the job changes nothing; who has taken it over is told what was announced.
func TestP8_CompactionIsFenced(t *testing.T) {
	t.Parallel()
	a, of, job := compactable(t, 5, 1)
	key := a.output(job, 1)
	b := a.register("b")
	a.deregister()
	over := b.claim()
	if over.GetOutputId() != job.GetOutputId() || over.GetJobId() == job.GetJobId() || !over.GetTakenOver() {
		t.Fatalf("%v, before %v", over, job)
	}
	if work := over.GetCompact(); work.GetOutputs() != 1 || work.GetOutput().GetObjectKey() != key || len(work.GetObjectKeys()) != 5 {
		t.Fatalf("%v", work)
	}
	copied := b.copied(of, 0, 0, 8)
	_, err := a.commitCompaction(job, key, copied)
	wantReason(t, err, refusalv1.Reason_REASON_JOB_LOST)
	_, err = a.AnnounceOutput(t.Context(), a.group, &controlplanev1.AnnounceOutputRequest{JobId: job.GetJobId(), Output: &controlplanev1.CompactionOutput{ObjectKey: key}})
	wantReason(t, err, refusalv1.Reason_REASON_JOB_LOST)
	response, err := b.commitCompaction(over, key, copied)
	b.must(err)
	if response.GetAccepted() != 1 {
		t.Fatalf("%v", response)
	}
}

// A job that is given up keeps what it remembers, and waits for whoever asks next.
func TestCompactionThatIsGivenUpIsGoneOnWith(t *testing.T) {
	t.Parallel()
	a, of, job := compactable(t, 5, 1)
	key := a.output(job, 1)
	_, err := a.FinishJob(t.Context(), a.group, &controlplanev1.FinishJobRequest{JobId: job.GetJobId(), GivenUp: true})
	a.must(err)
	b := a.register("b")
	over := b.claim()
	if over.GetOutputId() != job.GetOutputId() || over.GetJobId() == job.GetJobId() || over.GetCompact().GetOutput().GetObjectKey() != key {
		t.Fatalf("%v, before %v", over, job)
	}
	_, err = a.commitCompaction(job, key, a.copied(of, 0, 0, 8))
	wantReason(t, err, refusalv1.Reason_REASON_JOB_LOST)
}

func TestCompactionRefusals(t *testing.T) {
	t.Parallel()
	a, of, job := compactable(t, 5, 2)
	key, one := a.output(job, 1), a.copied(of, 0, 0, 8)
	other := a.copied(of, 1, 0, 8)
	for name, call := range map[string]func() error{
		"not announced":     func() error { _, err := a.commitCompaction(job, key+"0", one); return err },
		"out of order":      func() error { _, err := a.commitCompaction(job, key, other, one); return err },
		"twice":             func() error { _, err := a.commitCompaction(job, key, one, one); return err },
		"no topic id":       func() error { _, err := a.commitCompaction(job, key, &controlplanev1.CompactedSegment{}); return err },
		"another's key":     func() error { return a.announce(job, "elsewhere/0b/0-"+job.GetOutputId()+"-1") },
		"a session's key":   func() error { return a.announce(job, "default/0b/0-"+a.session.String()+"-1") },
		"a job id, no UUID": func() error { return a.announce(&controlplanev1.Job{JobId: "x"}, key) },
	} {
		if got := reasonOf(call()); got != refusalv1.Reason_REASON_INVALID {
			t.Errorf("%s: %v", name, got)
		}
	}
	err := a.announce(&controlplanev1.Job{JobId: uuid.NewString()}, key)
	wantReason(t, err, refusalv1.Reason_REASON_JOB_LOST)
}

func (a *agent) announce(job *controlplanev1.Job, key string) error {
	_, err := a.AnnounceOutput(a.t.Context(), a.group, &controlplanev1.AnnounceOutputRequest{
		JobId: job.GetJobId(), Output: &controlplanev1.CompactionOutput{ObjectKey: key, SizeBytes: 1},
	})
	return err
}

// Jobs have disjoint inputs, whoever has them, and the young ones are in none.
func TestCompactionJobsDoNotShareInputs(t *testing.T) {
	t.Parallel()
	a, of, first := compactable(t, 300, 1)
	b := a.register("b")
	second := b.claim()
	seen := map[string]bool{}
	for _, key := range slices.Concat(first.GetCompact().GetObjectKeys(), second.GetCompact().GetObjectKeys()) {
		if seen[key] {
			t.Fatalf("%s is in two jobs", key)
		}
		seen[key] = true
	}
	if len(seen) != 300 || len(first.GetCompact().GetObjectKeys()) != 256 {
		t.Errorf("%d inputs, %d in the first job", len(seen), len(first.GetCompact().GetObjectKeys()))
	}
	if again := a.claim(); again.GetJobId() != first.GetJobId() {
		t.Errorf("another job: %v", again)
	}
	_ = of
}

// Long segments are left as they are, and not looked at again.
func TestCompactionLeavesLongSegments(t *testing.T) {
	t.Parallel()
	w := newCompactionWorld(t)
	a, of := w.register("a"), w.topic("orders", 1)
	a.lead(of, 0)
	for i := range 3 {
		s := segment(of, 0, 1, int64(10*i), 10)
		s.SizeBytes = 4 << 20
		a.commit(a.object(s))
	}
	time.Sleep(20 * time.Millisecond)
	if job := a.claim(); job != nil {
		t.Fatalf("%v", job)
	}
	for _, row := range a.objectRows() {
		if row.Level != 100 {
			t.Errorf("%+v", row)
		}
	}
}

// Retention by time counts from the newest commit of what was compacted together: never too early.
func TestRetentionCountsFromTheNewestCompactedCommit(t *testing.T) {
	t.Parallel()
	a, of, job := compactable(t, 5, 1)
	response, err := a.commitCompaction(job, a.output(job, 1), a.copied(of, 0, 0, 8))
	a.must(err)
	if response.GetAccepted() != 1 {
		t.Fatal(response)
	}
	conn, err := pgx.Connect(t.Context(), a.url)
	a.must(err)
	defer conn.Close(t.Context())
	// The output was made two days ago of what was committed an hour ago: a clock that jumped, or a row that was written late.
	_, err = conn.Exec(t.Context(), `UPDATE object_keys SET created_at = clock_timestamp() - interval '2 days', newest_commit_at = clock_timestamp() - interval '1 hour'`)
	a.must(err)
	_, err = conn.Exec(t.Context(), `UPDATE topics SET retention_ms = 86400000`)
	a.must(err)
	_, err = a.RaiseLogStarts(t.Context(), store.RetentionCursor{})
	a.must(err)
	if got := a.lookup(of, 0, 0); got.GetLogStartOffset() != 0 {
		t.Fatalf("log start %d", got.GetLogStartOffset())
	}
	_, err = conn.Exec(t.Context(), `UPDATE object_keys SET newest_commit_at = clock_timestamp() - interval '25 hours'`)
	a.must(err)
	_, err = a.RaiseLogStarts(t.Context(), store.RetentionCursor{})
	a.must(err)
	if got := a.lookup(of, 0, 0); got.GetLogStartOffset() != 50 {
		t.Fatalf("log start %d", got.GetLogStartOffset())
	}
}

// Compaction, retention and the deletion of a topic meet in the same objects: nothing waits in a ring, no reference is lost, none is counted twice, and
// the chains stay whole.
func TestP8_CompactionMeetsRetentionAndDeletion(t *testing.T) {
	t.Parallel()
	const objects, each = 200, 10
	w := newCompactionWorld(t)
	a, kept, doomed := w.register("a"), w.topic("orders", 4), w.topic("doomed", 2)
	for p := range int32(4) {
		a.lead(kept, p)
	}
	a.lead(doomed, 0)
	a.lead(doomed, 1)
	for i := range objects {
		segments := []*controlplanev1.SegmentCommit{}
		for p := range int32(4) {
			segments = append(segments, segment(kept, p, 1, int64(each*i), each))
		}
		segments = append(segments, segment(doomed, 0, 1, int64(each*i), each), segment(doomed, 1, 1, int64(each*i), each))
		slices.SortFunc(segments, func(a, b *controlplanev1.SegmentCommit) int {
			return cmp.Or(slices.Compare(a.GetTopicId(), b.GetTopicId()), cmp.Compare(a.GetPartition(), b.GetPartition()))
		})
		a.commit(a.object(segments...))
	}
	time.Sleep(20 * time.Millisecond)
	job := a.claim()
	var busy sync.WaitGroup
	busy.Go(func() { // compaction, run by run
		for n := range 40 {
			key := a.output(job, n+1)
			p := int32(n % 4)
			from := int64(n/4) * each * objects / 10
			run := a.copied(kept, p, from, 8)
			_, err := a.commitCompaction(job, key, a.clip(kept, run, from+each*objects/10))
			a.must(err)
		}
	})
	busy.Go(func() { // retention
		for n := range 20 {
			a.deleteRecords(kept, int32(n%2), int64(each*5*n))
			_, err := a.RemoveBelowLogStarts(t.Context(), store.RetentionCursor{})
			a.must(err)
		}
	})
	busy.Go(func() { // deletion
		_, err := a.DeleteTopic(t.Context(), &controlplanev1.DeleteTopicRequest{Name: "doomed"})
		a.must(err)
		for more := true; more; {
			_, more, err = a.PurgeDeleted(t.Context())
			a.must(err)
		}
	})
	busy.Wait()
	conn, err := pgx.Connect(t.Context(), a.url)
	a.must(err)
	defer conn.Close(t.Context())
	var miscounted, unmarked, gaps int
	a.must(conn.QueryRow(t.Context(), `SELECT count(*) FROM object_keys o WHERE o.reference_count <> (SELECT count(*) FROM segments s WHERE s.object_id = o.object_id)`).Scan(&miscounted))
	a.must(conn.QueryRow(t.Context(), `SELECT count(*) FROM object_keys o WHERE (o.reference_count = 0) <> (o.unreferenced_at IS NOT NULL)`).Scan(&unmarked))
	a.must(conn.QueryRow(t.Context(), `SELECT count(*) FROM (SELECT base_offset, lag(base_offset + record_count) OVER (PARTITION BY partition_id ORDER BY base_offset) AS before FROM segments) AS s
		WHERE s.before <> s.base_offset`).Scan(&gaps))
	if miscounted != 0 || unmarked != 0 || gaps != 0 {
		t.Errorf("%d objects are miscounted, %d are not marked, %d gaps", miscounted, unmarked, gaps)
	}
	for p := range int32(4) {
		if got := a.lookup(kept, p, each*objects-1).GetSegments(); len(got) != 1 || got[0].GetBaseOffset()+int64(got[0].GetRecordCount()) != each*objects {
			t.Errorf("partition %d ends in %v", p, got)
		}
	}
}

// clip is the run up to an offset. What retention has removed is at its beginning: it is no more than was asked for.
func (a *agent) clip(of topic, run *controlplanev1.CompactedSegment, end int64) *controlplanev1.CompactedSegment {
	clipped := &controlplanev1.CompactedSegment{TopicId: of[:], Partition: run.GetPartition(), Epoch: 1, BaseOffset: run.GetBaseOffset(), BytePosition: 8, RecordCount: 1, SizeBytes: 1}
	first := true
	for _, row := range a.lookup(of, run.GetPartition(), run.GetBaseOffset()).GetSegments() {
		if row.GetBaseOffset()+int64(row.GetRecordCount()) > end {
			break
		}
		if first {
			clipped.BaseOffset, clipped.RecordCount, clipped.SizeBytes, first = row.GetBaseOffset(), 0, 0, false
		}
		clipped.RecordCount += row.GetRecordCount()
		clipped.SizeBytes += row.GetSizeBytes()
		clipped.Crc32C = checksum.Combine(clipped.GetCrc32C(), row.GetCrc32C(), int64(row.GetSizeBytes()))
		clipped.MaxTimestampMs = max(clipped.GetMaxTimestampMs(), row.GetMaxTimestampMs())
	}
	return clipped
}

// Race: retention holds the lock of an input's key and removes a segment; compaction waits for it, and sees that the run is another one.
func TestP1_CompactionReadsSegmentsUnderTheLocksOfTheirObjects(t *testing.T) {
	t.Parallel()
	a, of, job := compactable(t, 5, 2)
	key, gone, whole := a.output(job, 1), a.copied(of, 0, 0, 8), a.copied(of, 1, 0, 500)
	conn, err := pgx.Connect(t.Context(), a.url)
	a.must(err)
	defer conn.Close(t.Context())
	retention, err := conn.Begin(t.Context())
	a.must(err)
	_, err = retention.Exec(t.Context(), `SELECT FROM object_keys WHERE key = $1 FOR NO KEY UPDATE`, job.GetCompact().GetObjectKeys()[0])
	a.must(err)
	_, err = retention.Exec(t.Context(), `DELETE FROM segments s USING partitions p WHERE p.partition_id = s.partition_id AND p.partition = 0 AND s.base_offset = 0`)
	a.must(err)
	_, err = retention.Exec(t.Context(), `UPDATE object_keys SET reference_count = reference_count - 1 WHERE key = $1`, job.GetCompact().GetObjectKeys()[0])
	a.must(err)
	answer := make(chan *controlplanev1.CommitCompactionResponse)
	go func() {
		response, err := a.commitCompaction(job, key, gone, whole)
		if err != nil {
			t.Error(err)
		}
		answer <- response
	}()
	watch, err := pgx.Connect(t.Context(), a.url)
	a.must(err)
	defer watch.Close(t.Context())
	eventually(t, "compaction waits for the lock", func() bool {
		var waiting int
		a.must(watch.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting))
		return waiting == 1
	})
	a.must(retention.Commit(t.Context()))
	if got := <-answer; got.GetAccepted() != 1 || got.GetLeftOut() != 1 || got.GetReplaced() != 5 {
		t.Fatalf("%v", got)
	}
}
