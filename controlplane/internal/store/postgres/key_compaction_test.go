package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// keyed is an agent that leads partition 0 of a topic that is compacted by key.
func keyed(t *testing.T, config store.JobConfig) (*agent, topic) {
	t.Helper()
	if config.KeyCompactionInterval == 0 {
		config.KeyCompactionInterval = 10 * time.Millisecond
	}
	if config.KeyCompactionMinAge == 0 {
		config.KeyCompactionMinAge = time.Millisecond
	}
	w := newWorld(t, postgres.Config{Jobs: config})
	a := w.register("a")
	of := w.topicWith(&controlplanev1.CreateTopicRequest{Name: "orders", PartitionCount: 1, Config: &controlplanev1.TopicConfig{
		CleanupPolicy: new(controlplanev1.CleanupPolicy_CLEANUP_POLICY_COMPACT),
	}})
	a.lead(of, 0)
	return a, of
}

// claimKeyed asks for such a job until there is one, for a moment; nil: there is none.
func (a *agent) claimKeyed() *controlplanev1.Job {
	a.t.Helper()
	for range 10 {
		response, err := a.ClaimJob(a.t.Context(), a.group, &controlplanev1.ClaimJobRequest{
			SessionId: a.session.String(), Kinds: []controlplanev1.JobKind{controlplanev1.JobKind_JOB_KIND_KEY_COMPACT},
		})
		a.must(err)
		if response.GetJob() != nil {
			return response.GetJob()
		}
		time.Sleep(10 * time.Millisecond) // looks have a distance, by the server's clock
	}
	return nil
}

func (a *agent) wantWork(cleanEnd, end, drop int64) *controlplanev1.Job {
	a.t.Helper()
	job := a.claimKeyed()
	if work := job.GetKeyCompact(); work == nil || work.GetCleanEnd() != cleanEnd || work.GetEnd() != end || work.GetDropTombstonesBelow() != drop {
		a.t.Fatalf("job %v, want %d to %d, tombstones below %d", job, cleanEnd, end, drop)
	}
	return job
}

// inputsOf are the segments of the partition from an offset on, as they are read.
func (a *agent) inputsOf(of topic, from int64) (inputs []*controlplanev1.KeyCompactedInput) {
	a.t.Helper()
	for _, s := range a.lookup(of, 0, from).GetSegments() {
		inputs = append(inputs, &controlplanev1.KeyCompactedInput{
			BaseOffset: s.GetBaseOffset(), RecordCount: s.GetRecordCount(), Epoch: s.GetEpoch(), SizeBytes: s.GetSizeBytes(), Crc32C: s.GetCrc32C(),
		})
	}
	return inputs
}

func keyOf(job *controlplanev1.Job, n int) string {
	return fmt.Sprintf("%s/0b/0-%s-%d", group, job.GetOutputId(), n)
}

// less is a segment that was made of the inputs.
func less(inputs ...*controlplanev1.KeyCompactedInput) *controlplanev1.KeyCompactedSegment {
	return &controlplanev1.KeyCompactedSegment{BytePosition: 8, SizeBytes: 70, Crc32C: 0xf0000001, MaxTimestampMs: 5, Inputs: inputs}
}

func (a *agent) commitKeyed(job *controlplanev1.Job, key string, segments ...*controlplanev1.KeyCompactedSegment) (*controlplanev1.CommitKeyCompactionResponse, error) {
	return a.CommitKeyCompaction(a.t.Context(), a.group, &controlplanev1.CommitKeyCompactionRequest{
		JobId: job.GetJobId(), ObjectKey: key, SizeBytes: 500, Segments: segments,
	})
}

// whole ends a pass.
func (a *agent) whole(job *controlplanev1.Job, cleanEnd, bytes, tombstones int64) {
	a.t.Helper()
	_, err := a.FinishKeyCompaction(a.t.Context(), a.group, &controlplanev1.FinishKeyCompactionRequest{
		JobId: job.GetJobId(), CleanEnd: cleanEnd, CleanBytes: bytes, Tombstones: tombstones,
	})
	a.must(err)
	_, err = a.FinishJob(a.t.Context(), a.group, &controlplanev1.FinishJobRequest{JobId: job.GetJobId()})
	a.must(err)
}

// sql runs a statement past the store.
func (w *world) exec(statement string, args ...any) {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.url)
	w.must(err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(w.t.Context(), statement, args...)
	w.must(err)
}

// referencesOf are the references of all objects, as counted and as they are.
func (w *world) referencesOf() (counted, actual map[string]int64) {
	w.t.Helper()
	conn, err := pgx.Connect(w.t.Context(), w.url)
	w.must(err)
	defer conn.Close(context.Background())
	rows, err := conn.Query(w.t.Context(), `SELECT o.key, o.reference_count::bigint, count(s.object_id), (o.unreferenced_at IS NOT NULL) <> (o.reference_count = 0)
		FROM object_keys o LEFT JOIN segments s ON s.object_id = o.object_id GROUP BY o.object_id, o.key, o.reference_count, o.unreferenced_at`)
	w.must(err)
	counted, actual = map[string]int64{}, map[string]int64{}
	var key string
	var c, n int64
	var wrong bool
	_, err = pgx.ForEachRow(rows, []any{&key, &c, &n, &wrong}, func() error {
		counted[key], actual[key] = c, n
		if wrong {
			w.t.Errorf("%s: %d references, and marked otherwise", key, c)
		}
		return nil
	})
	w.must(err)
	return counted, actual
}

func (a *agent) wantReferencesRight() {
	a.t.Helper()
	counted, actual := a.referencesOf()
	for key, n := range actual {
		if counted[key] != n {
			a.t.Errorf("%s: %d references counted, there are %d", key, counted[key], n)
		}
	}
}

func TestP2_KeyCompactionPutsLessInTheSamePlace(t *testing.T) {
	t.Parallel()
	a, of := keyed(t, store.JobConfig{})
	for i := range int64(4) {
		a.committed(segment(of, 0, 1, 10*i, 10, batch(7, 0, int32(10*i), 10, 10*i)))
	}
	job := a.wantWork(0, 40, 0)
	if got := job.GetKeyCompact().GetProducerBatches(); !slices.Equal(got, []int64{0, 10, 20, 30}) {
		t.Errorf("batches of producers %v", got)
	}
	in := a.inputsOf(of, 0)
	for range 2 { // a repeat changes nothing, and is answered the same
		response, err := a.commitKeyed(job, keyOf(job, 1), less(in[0], in[1]), less(in[2]))
		a.must(err)
		if response.GetAccepted() != 2 || response.GetLeftOut() != 0 {
			t.Fatalf("%v", response)
		}
	}
	found := a.lookup(of, 0, 15)
	if s := found.GetSegments(); len(s) != 3 || s[0].GetBaseOffset() != 0 || s[0].GetRecordCount() != 20 || s[0].GetSizeBytes() != 70 ||
		s[0].GetObjectKey() != keyOf(job, 1) || s[1].GetRecordCount() != 10 || s[2].GetBaseOffset() != 30 || found.GetHighWatermark() != 40 {
		t.Fatalf("%v", found)
	}
	a.wantReferencesRight()
	// What was replaced is not there to be replaced again: the whole segment is left out, and an object of which nothing is taken is free at once.
	response, err := a.commitKeyed(job, keyOf(job, 2), less(in[2], in[3]))
	a.must(err)
	if response.GetAccepted() != 0 || response.GetLeftOut() != 1 {
		t.Fatalf("%v", response)
	}
	a.wantReferencesRight()
	if got := a.lookup(of, 0, 0).GetSegments(); len(got) != 3 {
		t.Errorf("%v", got)
	}
	a.whole(job, 40, 240, 0)
	if job := a.claimKeyed(); job != nil {
		t.Errorf("clean, and still work: %v", job)
	}
	// Commits go on behind it, and the next pass begins where this one ended.
	a.committed(segment(of, 0, 1, 40, 10))
	a.wantWork(40, 50, 0)
}

func TestP1_KeyCompactionLeavesOutWhatHasChanged(t *testing.T) {
	t.Parallel()
	a, of := keyed(t, store.JobConfig{})
	for i := range int64(6) {
		a.committed(segment(of, 0, 1, 10*i, 10))
	}
	job := a.wantWork(0, 60, 0)
	in := a.inputsOf(of, 0)
	damaged := func(change func(*controlplanev1.KeyCompactedInput)) *controlplanev1.KeyCompactedInput {
		other := &controlplanev1.KeyCompactedInput{
			BaseOffset: in[1].GetBaseOffset(), RecordCount: in[1].GetRecordCount(), Epoch: in[1].GetEpoch(), SizeBytes: in[1].GetSizeBytes(), Crc32C: in[1].GetCrc32C(),
		}
		change(other)
		return other
	}
	for i, wrong := range []*controlplanev1.KeyCompactedInput{
		damaged(func(in *controlplanev1.KeyCompactedInput) { in.Crc32C++ }),
		damaged(func(in *controlplanev1.KeyCompactedInput) { in.SizeBytes++ }),
		damaged(func(in *controlplanev1.KeyCompactedInput) { in.Epoch++ }),
		damaged(func(in *controlplanev1.KeyCompactedInput) { in.BaseOffset, in.RecordCount = 11, 9 }),
		damaged(func(in *controlplanev1.KeyCompactedInput) { in.RecordCount-- }),
	} {
		response, err := a.commitKeyed(job, keyOf(job, 10+i), less(wrong), less(in[3]))
		a.must(err)
		if want := int32(1); response.GetLeftOut() < want || response.GetAccepted() > want {
			t.Fatalf("change %d: %v", i, response)
		}
		in[3] = a.inputsOf(of, 30)[0] // the other segment was taken: it is another one now
	}
	// Retention went further meanwhile.
	a.exec(`DELETE FROM segments WHERE base_offset = 0`)
	response, err := a.commitKeyed(job, keyOf(job, 20), less(in[0], in[1]), less(in[4], in[5]))
	a.must(err)
	if response.GetAccepted() != 1 || response.GetLeftOut() != 1 {
		t.Fatalf("%v", response)
	}
	if got := a.lookup(of, 0, 40).GetSegments(); len(got) != 1 || got[0].GetObjectKey() != keyOf(job, 20) {
		t.Errorf("%v", got)
	}
}

func TestKeyCompactionRefuses(t *testing.T) {
	t.Parallel()
	a, of := keyed(t, store.JobConfig{})
	a.committed(segment(of, 0, 1, 0, 10))
	a.committed(segment(of, 0, 1, 10, 10))
	job := a.wantWork(0, 20, 0)
	in := a.inputsOf(of, 0)
	invalid := refusalv1.Reason_REASON_INVALID
	for name, commit := range map[string]func() error{
		"another group's key": func() error {
			_, err := a.commitKeyed(job, "blue/0b/0-"+job.GetOutputId()+"-1", less(in[0]))
			return err
		},
		"another job's key": func() error {
			_, err := a.commitKeyed(job, fmt.Sprintf("%s/0b/0-%s-1", group, a.session), less(in[0]))
			return err
		},
		"a gap": func() error {
			_, err := a.commitKeyed(job, keyOf(job, 1), less(in[0], &controlplanev1.KeyCompactedInput{BaseOffset: 15, RecordCount: 5, Epoch: 1, SizeBytes: 1}))
			return err
		},
		"out of order": func() error { _, err := a.commitKeyed(job, keyOf(job, 1), less(in[1]), less(in[0])); return err },
		"two epochs": func() error {
			_, err := a.commitKeyed(job, keyOf(job, 1), less(in[0], &controlplanev1.KeyCompactedInput{BaseOffset: 10, RecordCount: 5, Epoch: 2, SizeBytes: 1}))
			return err
		},
		"beyond its end": func() error {
			_, err := a.FinishKeyCompaction(t.Context(), group, &controlplanev1.FinishKeyCompactionRequest{JobId: job.GetJobId(), CleanEnd: 21})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { wantReason(t, commit(), invalid) })
	}
	a.exec(`INSERT INTO object_keys (key, tombstoned_at) VALUES ($1, clock_timestamp())`, keyOf(job, 3))
	_, err := a.commitKeyed(job, keyOf(job, 3), less(in[0]))
	wantReason(t, err, refusalv1.Reason_REASON_OBJECT_TOMBSTONED)
	_, err = a.CommitKeyCompaction(t.Context(), "blue", &controlplanev1.CommitKeyCompactionRequest{
		JobId: job.GetJobId(), ObjectKey: "blue/0b/0-" + job.GetJobId() + "-1", SizeBytes: 500, Segments: []*controlplanev1.KeyCompactedSegment{less(in[0])},
	})
	wantReason(t, err, refusalv1.Reason_REASON_JOB_LOST)
	a.whole(job, 20, 100, 0)
	_, err = a.commitKeyed(job, keyOf(job, 1), less(in[0]))
	wantReason(t, err, refusalv1.Reason_REASON_JOB_LOST)
	if got := a.lookup(of, 0, 0).GetSegments(); len(got) != 2 {
		t.Errorf("%v", got)
	}
}

func TestTombstonesWaitForTheirTime(t *testing.T) {
	t.Parallel()
	a, of := keyed(t, store.JobConfig{})
	a.committed(segment(of, 0, 1, 0, 10))
	job := a.wantWork(0, 10, 0)
	a.whole(job, 10, 1000, 2)
	if job := a.claimKeyed(); job != nil {
		t.Fatalf("they are young: %v", job)
	}
	age := func(d time.Duration) {
		a.exec(`UPDATE key_compactions SET horizon_at = horizon_at - make_interval(secs => $1)`, d.Seconds())
	}
	// A pass meanwhile does not make them younger.
	a.committed(segment(of, 0, 1, 10, 20))
	age(23 * time.Hour)
	a.whole(a.wantWork(10, 30, 0), 30, 3000, 3)
	age(2 * time.Hour)
	job = a.wantWork(30, 30, 10) // those that came with the second pass are not a day old
	a.whole(job, 30, 2900, 1)
	age(23 * time.Hour)
	if job := a.claimKeyed(); job != nil {
		t.Fatalf("the others are young: %v", job)
	}
	age(2 * time.Hour)
	a.whole(a.wantWork(30, 30, 30), 30, 2900, 0)
	age(48 * time.Hour)
	if job := a.claimKeyed(); job != nil {
		t.Fatalf("nothing is left to go: %v", job)
	}
}

func TestKeyCompactionIsOfWhatIsNeitherYoungNorOthers(t *testing.T) {
	t.Parallel()
	a, of := keyed(t, store.JobConfig{KeyCompactionMinAge: time.Hour})
	for i := range int64(3) {
		a.committed(segment(of, 0, 1, 10*i, 10))
	}
	if job := a.claimKeyed(); job != nil {
		t.Fatalf("all is young: %v", job)
	}
	a.exec(`UPDATE object_keys SET created_at = created_at - interval '2 hours' WHERE key LIKE '%-1' OR key LIKE '%-3'`)
	a.exec(`UPDATE topics SET min_compaction_lag_ms = 3 * 3600 * 1000`)
	if job := a.claimKeyed(); job != nil {
		t.Fatalf("the topic wants three hours: %v", job)
	}
	a.exec(`UPDATE topics SET min_compaction_lag_ms = 3600 * 1000`)
	a.exec(`UPDATE upkeep SET key_compaction_due_at = clock_timestamp()`)
	job := a.wantWork(0, 10, 0) // the second one is young, and the third behind it
	a.exec(`UPDATE topics SET cleanup_policy = 1`)
	if again := a.claimKeyed(); again != nil {
		t.Errorf("the topic is not compacted any more: %v", again)
	}
	_, err := a.commitKeyed(job, keyOf(job, 1), less(a.inputsOf(of, 0)[0]))
	wantReason(t, err, refusalv1.Reason_REASON_JOB_LOST)
}

func TestKeyCompactionIsForgottenWithThePartition(t *testing.T) {
	t.Parallel()
	a, of := keyed(t, store.JobConfig{})
	a.committed(segment(of, 0, 1, 0, 10))
	a.whole(a.wantWork(0, 10, 0), 10, 1000, 0)
	_, err := a.DeleteTopic(t.Context(), &controlplanev1.DeleteTopicRequest{Name: "orders"})
	a.must(err)
	for more := true; more; {
		_, more, err = a.PurgeDeleted(t.Context())
		a.must(err)
	}
	a.exec(`DO $$ BEGIN IF EXISTS (SELECT FROM key_compactions) THEN RAISE EXCEPTION 'rows are left'; END IF; END $$`)
}

// Both compactions have read the same segments: whoever comes second finds what it has read, in whatever object, or leaves it as it is.
func TestP1_BothCompactionsKnowWhatTheOtherHasReplaced(t *testing.T) {
	t.Parallel()
	a, of := keyed(t, store.JobConfig{CompactionMinAge: time.Millisecond})
	for i := range int64(6) {
		a.committed(segment(of, 0, 1, 10*i, 10))
	}
	byKey := a.wantWork(0, 60, 0)
	time.Sleep(20 * time.Millisecond) // beyond the patience, by the server's clock
	job := a.claim()
	if len(job.GetCompact().GetObjectKeys()) != 6 {
		t.Fatalf("%v", job)
	}
	in, before := a.inputsOf(of, 0), a.copied(of, 0, 0, 8)
	last := a.copied(of, 0, 50, 8)
	want := func(accepted, leftOut int32, response interface {
		GetAccepted() int32
		GetLeftOut() int32
	}, err error,
	) {
		t.Helper()
		a.must(err)
		if response.GetAccepted() != accepted || response.GetLeftOut() != leftOut {
			t.Fatalf("%v, want %d accepted, %d left out", response, accepted, leftOut)
		}
		a.wantReferencesRight()
	}
	moved, err := a.commitCompaction(job, a.output(job, 1), last) // the same bytes in another object
	want(1, 0, moved, err)
	kept, err := a.commitKeyed(byKey, keyOf(byKey, 1), less(in[4], in[5]))
	want(1, 0, kept, err)
	joined, err := a.commitCompaction(job, a.output(job, 2), before) // two of them have other bytes by now
	want(0, 1, joined, err)
	joined, err = a.commitCompaction(job, a.output(job, 3), a.copied(of, 0, 0, 8))
	want(1, 0, joined, err)
	kept, err = a.commitKeyed(byKey, keyOf(byKey, 2), less(in[0], in[1]), less(in[2], in[3]))
	want(0, 2, kept, err)
	kept, err = a.commitKeyed(byKey, keyOf(byKey, 3), less(a.inputsOf(of, 0)...))
	want(1, 0, kept, err)
	if found := a.lookup(of, 0, 0).GetSegments(); len(found) != 1 || found[0].GetRecordCount() != 60 || found[0].GetObjectKey() != keyOf(byKey, 3) {
		t.Errorf("%v", found)
	}
}

// Nothing of a topic that is only compacted goes because it is old or because there is much.
func TestRetentionLeavesTopicsThatAreOnlyCompacted(t *testing.T) {
	t.Parallel()
	a, of := keyed(t, store.JobConfig{})
	for i := range int64(3) {
		a.committed(segment(of, 0, 1, 10*i, 10))
	}
	a.exec(`UPDATE topics SET retention_ms = 1, retention_bytes = 1`)
	time.Sleep(10 * time.Millisecond)
	raise := func() int {
		response, err := a.RaiseLogStarts(t.Context(), store.RetentionCursor{})
		a.must(err)
		return response.Partitions
	}
	if n := raise(); n != 0 {
		t.Errorf("%d log starts were raised", n)
	}
	a.exec(`UPDATE topics SET cleanup_policy = 3`)
	if n := raise(); n != 1 {
		t.Errorf("%d log starts were raised of a topic that has both policies", n)
	}
}
