package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

const (
	readyStep = controlplanev1.RecoveryStep_RECOVERY_STEP_READY
	replayAll = 0
)

// bucket is what a bucket would have, as footers say it, with what each segment's batch headers say.
type bucket struct {
	objects []*controlplanev1.StoredObject
	batches map[string][]*controlplanev1.ProducerBatch // by key and position
	topics  []*controlplanev1.RecoveredTopic
	marks   []*controlplanev1.RecoveredPartition
}

func (b *bucket) put(o *controlplanev1.ObjectCommit) *controlplanev1.ObjectCommit {
	if b.batches == nil {
		b.batches = map[string][]*controlplanev1.ProducerBatch{}
	}
	stored := &controlplanev1.StoredObject{Key: o.GetKey(), SizeBytes: o.GetSizeBytes(), ModifiedAt: timestamppb.New(time.Now().Add(-time.Hour))}
	for _, s := range o.GetSegments() {
		stored.Segments = append(stored.Segments, &controlplanev1.StoredSegment{
			TopicId: s.GetTopicId(), Partition: s.GetPartition(), Epoch: s.GetEpoch(), BaseOffset: s.GetBaseOffset(), RecordCount: s.GetRecordCount(),
			BytePosition: s.GetBytePosition(), SizeBytes: s.GetSizeBytes(), Crc32C: s.GetCrc32C(), MaxTimestampMs: s.GetMaxTimestampMs(),
			TenureFirstOffset: s.GetTenureFirstOffset(),
		})
		b.batches[fmt.Sprint(o.GetKey(), s.GetBytePosition())] = s.GetProducerBatches()
	}
	b.objects = append(b.objects, stored)
	return o
}

func (b *bucket) describe(t topic, name string, partitions int32) {
	b.topics = append(b.topics, &controlplanev1.RecoveredTopic{Topic: &controlplanev1.Topic{
		TopicId: uuid.UUID(t).String(), Name: name, AgentGroup: string(group), PartitionCount: partitions, CreatedAt: timestamppb.Now(),
		Config: &controlplanev1.TopicConfig{MaxRecordBytes: new(int32(4096)), AllowBufferedAcks: new(true), RetentionMs: new(int64(3600_000))},
	}})
}

// recovery tells a catalog what the bucket has, every step twice, since each may be repeated.
type recovery struct {
	*world
	*bucket
	id string
}

func (w *world) recovers(b *bucket, kind controlplanev1.RecoveryKind) *recovery {
	w.t.Helper()
	r := &recovery{world: w, bucket: b}
	for range 2 {
		begun, err := w.BeginRecovery(w.t.Context(), &controlplanev1.BeginRecoveryRequest{Kind: kind, Incarnation: w.status().GetIncarnation()})
		w.must(err)
		if r.id != "" && r.id != begun.GetRecoveryId() {
			w.t.Fatal("a second recovery began beside the first")
		}
		r.id = begun.GetRecoveryId()
	}
	return r
}

func (r *recovery) inventory() {
	r.t.Helper()
	for range 2 {
		_, err := r.AddTopics(r.t.Context(), &controlplanev1.AddTopicsRequest{
			RecoveryId: r.id, AgentGroup: string(group), Checkpoint: len(r.marks) > 0, Topics: r.topics, Partitions: r.marks,
		})
		r.must(err)
		for objects := range slices.Chunk(r.objects, 7) {
			_, err := r.AddObjects(r.t.Context(), &controlplanev1.AddObjectsRequest{RecoveryId: r.id, Objects: objects})
			r.must(err)
		}
	}
	_, err := r.BuildLogs(r.t.Context(), &controlplanev1.BuildLogsRequest{RecoveryId: r.id})
	wantReason(r.t, err, refusalv1.Reason_REASON_INVALID) // the shards
	for shard := range int32(256) {
		_, err := r.AddObjects(r.t.Context(), &controlplanev1.AddObjectsRequest{RecoveryId: r.id, Done: &controlplanev1.RecoveryShard{AgentGroup: string(group), Shard: shard}})
		r.must(err)
	}
}

func (r *recovery) build() {
	r.t.Helper()
	for range 3 { // the last two find nothing to do
		built, err := r.BuildLogs(r.t.Context(), &controlplanev1.BuildLogsRequest{RecoveryId: r.id})
		r.must(err)
		if built.GetBuiltCount() != built.GetPartitionCount() || built.GetStep() == controlplanev1.RecoveryStep_RECOVERY_STEP_LOGS {
			r.t.Fatalf("not built: %v", built)
		}
	}
}

func (r *recovery) replay() {
	r.t.Helper()
	request := &controlplanev1.ReplayProducersRequest{RecoveryId: r.id, WindowMs: replayAll}
	for {
		page, err := r.ReplayProducers(r.t.Context(), request)
		r.must(err)
		if _, err = r.ReplayProducers(r.t.Context(), request); err != nil { // again
			r.t.Fatal(err)
		}
		if len(page.GetSegments()) == 0 {
			return
		}
		request.PageToken, request.Segments = page.GetPageToken(), nil
		for _, s := range page.GetSegments() {
			request.Segments = append(request.Segments, &controlplanev1.SegmentProducers{
				PartitionId: s.GetPartitionId(), Batches: r.batches[fmt.Sprint(s.GetObjectKey(), s.GetBytePosition())],
			})
		}
	}
}

func (r *recovery) finish(acceptLoss bool) *controlplanev1.FinishRecoveryResponse {
	r.t.Helper()
	state, err := r.GetRecovery(r.t.Context(), &controlplanev1.GetRecoveryRequest{RecoveryId: r.id})
	r.must(err)
	if state.GetStep() != readyStep {
		r.t.Fatalf("it is %v", state)
	}
	ended, err := r.FinishRecovery(r.t.Context(), &controlplanev1.FinishRecoveryRequest{RecoveryId: r.id, AcceptLoss: acceptLoss})
	r.must(err)
	return ended
}

// dump is all of a catalog that a rebuild brings back, in one form: topics, ends, segments and where they lie, producers.
func (w *world) dump() string {
	w.t.Helper()
	var lines []string
	connection, err := pgx.Connect(w.t.Context(), w.url)
	w.must(err)
	defer func() { _ = connection.Close(context.WithoutCancel(w.t.Context())) }()
	for _, query := range []string{
		`SELECT concat_ws(' ', 'topic', topic_id, name, agent_group, partition_count, max_record_bytes, allow_buffered_acks, retention_ms) FROM topics WHERE deleted_at IS NULL`,
		`SELECT concat_ws(' ', 'partition', topic_id, partition, log_start_offset, high_watermark) FROM partitions`,
		`SELECT concat_ws(' ', 'segment', topic_id, partition, base_offset, s.record_count, s.epoch, s.byte_position, s.size_bytes, s.crc32c, s.max_timestamp_ms, o.key, o.size_bytes, o.reference_count)
		 FROM segments s JOIN partitions p USING (partition_id) JOIN object_keys o USING (object_id)`,
		`SELECT concat_ws(' ', 'producer', topic_id, partition, producer_id, producer_epoch, encode(batches, 'hex')) FROM producers JOIN partitions USING (partition_id)`,
	} {
		rows, err := connection.Query(w.t.Context(), query)
		w.must(err)
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		w.must(err)
		lines = append(lines, found...)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// history commits random objects of some agents that take over from each other, and keeps what the bucket has: also what was refused.
func history(t *testing.T, w *world, b *bucket, rounds int) topic {
	t.Helper()
	random := rand.New(rand.NewPCG(7, 7))
	t.Logf("seed 7, %d rounds", rounds)
	orders := w.topicWith(&controlplanev1.CreateTopicRequest{Name: "orders", PartitionCount: 3, Config: &controlplanev1.TopicConfig{
		MaxRecordBytes: new(int32(4096)), AllowBufferedAcks: new(true), RetentionMs: new(int64(3600_000)),
	}})
	b.describe(orders, "orders", 3)
	ends, sequences := [3]int64{}, [3]int32{}
	var old *agent
	var epochs, firsts [3]int64
	for round := range rounds {
		if old != nil {
			old.deregister()
		}
		a := w.register(fmt.Sprintf("agent-%d", round))
		before, firstBefore := epochs, firsts[0]
		for p := range int32(3) {
			grant := a.lead(orders, p)
			epochs[p], firsts[p] = int64(grant.GetEpoch()), grant.GetHighWatermark()
		}
		if old != nil { // a late upload of who led before
			s := segment(orders, 0, int32(before[0]), ends[0], 5)
			s.TenureFirstOffset = firstBefore
			b.put(old.object(s))
		}
		for range 1 + random.IntN(4) {
			var segments []*controlplanev1.SegmentCommit
			for p := range int32(3) {
				if p > 0 && random.IntN(3) == 0 { // the first has a segment of each tenure, so that every late upload is known to be one
					continue
				}
				n := int32(1 + random.IntN(5))
				s := segment(orders, p, int32(epochs[p]), ends[p], n, batch(int64(1+p), 0, sequences[p], n, ends[p]))
				s.TenureFirstOffset = firsts[p]
				ends[p], sequences[p] = ends[p]+int64(n), sequences[p]+n
				segments = append(segments, s)
			}
			if len(segments) == 0 {
				continue
			}
			for _, outcome := range a.commit(b.put(a.object(segments...)))[0].GetSegments() {
				if outcome.GetResult() != controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED {
					t.Fatalf("round %d: %v", round, outcome)
				}
			}
		}
		old = a
	}
	old.deregister()
	return orders
}

// P9: a catalog that is made from footers, descriptions and batch headers alone is the one that was lost.
func TestP9_RebuiltIsTheSame(t *testing.T) {
	t.Parallel()
	b := &bucket{}
	lost := newWorld(t, postgres.Config{})
	orders := history(t, lost, b, 12)
	// Nobody knows this topic any more: it was deleted, and its bytes share an object with a live one.
	b.objects[0].Segments = append(b.objects[0].Segments, &controlplanev1.StoredSegment{
		TopicId: make([]byte, 16), Epoch: 1, RecordCount: 1, SizeBytes: 1, BytePosition: b.objects[0].GetSizeBytes() - 1,
	})
	want := lost.dump()

	made := newWorld(t, postgres.Config{})
	agent := made.register("agent-new")
	r := made.recovers(b, controlplanev1.RecoveryKind_RECOVERY_KIND_REBUILD)
	if made.status().GetState() != halted {
		t.Fatal("it serves while it is being made")
	}
	if _, err := made.CreateTopic(t.Context(), &controlplanev1.CreateTopicRequest{Name: "orders", PartitionCount: 1}); reasonOf(err) != refusalv1.Reason_REASON_CATALOG_HALTED {
		t.Errorf("a topic was made meanwhile: %v", err)
	}
	_, err := made.AdoptCatalog(t.Context(), &controlplanev1.AdoptCatalogRequest{})
	wantReason(t, err, refusalv1.Reason_REASON_INVALID)
	r.inventory()
	r.build()
	r.replay()
	ended := r.finish(false)
	if got := made.dump(); got != want {
		t.Errorf("rebuilt:\n%s", difference(got, want))
	}
	made.checkCatalog(t)
	if status := made.status(); status.GetState() != serving || status.GetIncarnation() != 1 || ended.GetIncarnation() != 1 {
		t.Errorf("%v, %v", status, ended)
	}
	if n := made.number("SELECT count(*) FROM recovery_segments"); n != 0 {
		t.Errorf("%d segments are still kept", n)
	}
	if agent.heartbeat() == nil {
		t.Error("a session has outlived the recovery")
	}
	goesOn(t, made, orders, b)
}

// goesOn: epochs are above all before, offsets and producers continue, repeats of old commits are answered.
func goesOn(t *testing.T, w *world, orders topic, b *bucket) {
	t.Helper()
	a := w.register("agent-after")
	grant := a.lead(orders, 0)
	if grant.GetEpoch() <= 1<<23 {
		t.Errorf("epoch %d", grant.GetEpoch())
	}
	end := grant.GetHighWatermark()
	known := grant.GetProducers()
	if len(known) != 1 {
		t.Fatalf("producers %v", known)
	}
	last := known[0].GetBatches()[len(known[0].GetBatches())-1]
	next := segment(orders, 0, grant.GetEpoch(), end, 1, batch(1, 0, last.GetBaseSequence()+last.GetRecordCount(), 1, end))
	if got := a.committed(next).GetResult(); got != controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED {
		t.Errorf("P5: the next batch of a producer: %v", got)
	}
	first := b.objects[0]
	session := uuid.MustParse(strings.SplitN(first.GetKey()[strings.LastIndex(first.GetKey(), "/")+1:], "-", 2)[1][:36])
	repeat := &controlplanev1.ObjectCommit{Key: first.GetKey(), SizeBytes: first.GetSizeBytes()}
	for _, s := range first.GetSegments() {
		if s.GetSizeBytes() > 1 {
			repeat.Segments = append(repeat.Segments, &controlplanev1.SegmentCommit{
				TopicId: s.GetTopicId(), Partition: s.GetPartition(), Epoch: s.GetEpoch(), BaseOffset: s.GetBaseOffset(), RecordCount: s.GetRecordCount(),
				BytePosition: s.GetBytePosition(), SizeBytes: s.GetSizeBytes(),
			})
		}
	}
	response, err := w.Commit(t.Context(), group, &controlplanev1.CommitRequest{SessionId: session.String(), Objects: []*controlplanev1.ObjectCommit{repeat}})
	w.must(err)
	for i, outcome := range response.GetObjects()[0].GetSegments()[:len(repeat.GetSegments())] {
		if outcome.GetResult() != controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED {
			t.Errorf("P6: a repeat of what was committed before the loss, segment %d: %v", i, outcome)
		}
	}
}

func TestRebuild_WantsAnEmptyCatalog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	w.topic("orders", 1)
	_, err := w.BeginRecovery(t.Context(), &controlplanev1.BeginRecoveryRequest{Kind: controlplanev1.RecoveryKind_RECOVERY_KIND_REBUILD})
	wantReason(t, err, refusalv1.Reason_REASON_CATALOG_NOT_EMPTY)
	_, err = w.BeginRecovery(t.Context(), &controlplanev1.BeginRecoveryRequest{Kind: controlplanev1.RecoveryKind_RECOVERY_KIND_ROLL_FORWARD})
	wantReason(t, err, refusalv1.Reason_REASON_CATALOG_NOT_HALTED)
	if w.status().GetState() != serving {
		t.Error("it was halted all the same")
	}
}

// A checkpoint knows of records that the bucket does not have: nothing serves before somebody accepts that.
func TestP9_LossIsReportedAndMustBeAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	id := topic(uuid.New())
	b := &bucket{marks: []*controlplanev1.RecoveredPartition{{TopicId: id[:], Partition: 0, LogStartOffset: 2, HighWatermark: 30, Epoch: 3}}}
	b.describe(id, "orders", 1)
	b.put(&controlplanev1.ObjectCommit{Key: "default/0a/0-" + uuid.NewString() + "-1", SizeBytes: 5000, Segments: []*controlplanev1.SegmentCommit{segment(id, 0, 3, 0, 10)}})
	r := w.recovers(b, controlplanev1.RecoveryKind_RECOVERY_KIND_REBUILD)
	r.inventory()
	r.build()
	r.replay()
	_, err := w.FinishRecovery(t.Context(), &controlplanev1.FinishRecoveryRequest{RecoveryId: r.id})
	wantReason(t, err, refusalv1.Reason_REASON_RECORDS_LOST)
	if w.status().GetState() != halted {
		t.Fatal("it serves")
	}
	report := r.finish(true).GetReport()
	if report.GetLostRecordCount() != 20 || len(report.GetLost()) != 1 || report.GetLost()[0].GetHighWatermark() != 10 || report.GetLost()[0].GetKnownHighWatermark() != 30 {
		t.Errorf("%v", report)
	}
	if start := w.number("SELECT log_start_offset FROM partitions"); start != 2 {
		t.Errorf("log start %d", start)
	}
}

// P1: a catalog that went back in time is rolled forward by what the bucket has, and then is the one that was lost.
func TestP9_RolledForwardIsTheSame(t *testing.T) {
	t.Parallel()
	b := &bucket{}
	w := newWorld(t, postgres.Config{})
	orders := history(t, w, b, 8)
	want := w.dump()
	a := w.register("agent-last")
	// The restored backup knows the log up to half of it.
	w.sql(`CREATE TEMP TABLE forgotten AS SELECT o.object_id FROM object_keys o ORDER BY o.object_id OFFSET (SELECT count(*) / 2 FROM object_keys);
	       DELETE FROM segments WHERE object_id IN (SELECT object_id FROM forgotten);
	       DELETE FROM object_keys WHERE object_id IN (SELECT object_id FROM forgotten);
	       UPDATE partitions p SET high_watermark = COALESCE((SELECT max(s.base_offset + s.record_count) FROM segments s WHERE s.partition_id = p.partition_id), 0),
	                               epoch = COALESCE((SELECT max(s.epoch) FROM segments s WHERE s.partition_id = p.partition_id), 0), leader_session_id = NULL;
	       DELETE FROM producers`)
	if w.dump() == want {
		t.Fatal("nothing was forgotten")
	}
	a.loses(orders, 0, 0)
	w.sql(`UPDATE topics SET recorded_revision = revision; UPDATE upkeep SET checkpoint_begun = 5, checkpoint_finished = 5, finished_at = clock_timestamp()`)
	r := w.recovers(b, controlplanev1.RecoveryKind_RECOVERY_KIND_ROLL_FORWARD)
	unknown, err := w.FindUnknownKeys(t.Context(), &controlplanev1.FindUnknownKeysRequest{RecoveryId: r.id, Keys: []string{b.objects[0].GetKey(), "default/00/none"}})
	if err != nil || !slices.Equal(unknown.GetKeys(), []string{"default/00/none"}) {
		t.Errorf("unknown: %v, %v", unknown, err)
	}
	r.inventory()
	r.build()
	r.replay()
	r.finish(false)
	if got := w.dump(); got != want {
		t.Errorf("rolled forward:\n%s", difference(got, want))
	}
	w.checkCatalog(t)
	if status := w.status(); status.GetState() != serving || status.GetIncarnation() < 1 {
		t.Errorf("%v", status)
	}
	beginsAnew(t, w, true)
}

// beginsAnew: what the bucket says of topics counts no more, a checkpoint is due first, and nothing is swept where the catalog does not know all
// that the bucket has.
func beginsAnew(t *testing.T, w *world, sweeps bool) {
	t.Helper()
	a := w.register("agent-jobs")
	if n := w.number("SELECT count(*) FROM topics WHERE recorded_revision > 0"); n != 0 {
		t.Errorf("P9: %d topics need no description", n)
	}
	claim := func(kind controlplanev1.JobKind) *controlplanev1.Job {
		t.Helper()
		for {
			response, err := w.ClaimJob(t.Context(), group, &controlplanev1.ClaimJobRequest{SessionId: a.session.String(), Kinds: []controlplanev1.JobKind{kind}})
			w.must(err)
			if response.GetRetryAfterMs() == 0 {
				return response.GetJob()
			}
		}
	}
	if claim(controlplanev1.JobKind_JOB_KIND_CHECKPOINT) == nil {
		t.Error("no checkpoint is due")
	}
	if job := claim(controlplanev1.JobKind_JOB_KIND_SWEEP); (job != nil) != sweeps {
		t.Errorf("P1: a sweep: %v", job)
	} else if sweeps && (len(job.GetSweep().GetCatalogId()) != 16 || job.GetSweep().GetIncarnation() < 1 || job.GetSweep().GetNewestCheckpoint() < 1) {
		t.Errorf("the sweep does not say whose it is: %v", job)
	}
}

func TestP1_ACatalogAdoptedWithoutTheBucketSweepsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	orders := history(t, w, &bucket{}, 2)
	w.register("agent-last").loses(orders, 0, 0)
	_, err := w.AdoptCatalog(t.Context(), &controlplanev1.AdoptCatalogRequest{})
	w.must(err)
	beginsAnew(t, w, false)
}

// Records of which nothing says to which topics they belong are no log: somebody has to look.
func TestP9_RecordsWithoutAnyTopicAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	id := topic(uuid.New())
	b := &bucket{}
	b.put(&controlplanev1.ObjectCommit{Key: "default/0a/0-" + uuid.NewString() + "-1", SizeBytes: 5000, Segments: []*controlplanev1.SegmentCommit{segment(id, 0, 3, 0, 10)}})
	r := w.recovers(b, controlplanev1.RecoveryKind_RECOVERY_KIND_REBUILD)
	r.inventory()
	_, err := w.BuildLogs(t.Context(), &controlplanev1.BuildLogsRequest{RecoveryId: r.id})
	wantReason(t, err, refusalv1.Reason_REASON_RECORDS_LOST)
	built, err := w.BuildLogs(t.Context(), &controlplanev1.BuildLogsRequest{RecoveryId: r.id, AcceptLoss: true})
	if err != nil || built.GetPartitionCount() != 0 {
		t.Fatalf("%v, %v", built, err)
	}
	r.replay()
	report := r.finish(false).GetReport()
	if report.GetTopicCount() != 0 || len(report.GetNotes()) != 1 || !strings.HasPrefix(report.GetNotes()[0], "1 topics with records") {
		t.Errorf("%v", report)
	}
}

// difference has the lines that only one of two dumps has.
func difference(got, want string) string {
	have, wanted := strings.Split(got, "\n"), strings.Split(want, "\n")
	var lines []string
	for _, line := range have {
		if !slices.Contains(wanted, line) {
			lines = append(lines, "+ "+line)
		}
	}
	for _, line := range wanted {
		if !slices.Contains(have, line) {
			lines = append(lines, "- "+line)
		}
	}
	return strings.Join(lines, "\n")
}

// Every kind of damage is found, and a sound catalog has none.
func TestAudit(t *testing.T) {
	t.Parallel()
	b := &bucket{}
	w := newWorld(t, postgres.Config{})
	history(t, w, b, 4)
	audit := func(o *controlplanev1.StoredObject) *controlplanev1.AuditedObject {
		t.Helper()
		response, err := w.AuditObjects(t.Context(), &controlplanev1.AuditObjectsRequest{Objects: []*controlplanev1.StoredObject{o}})
		w.must(err)
		return response.GetObjects()[0]
	}
	logs := func() []string {
		t.Helper()
		response, err := w.AuditPartitions(t.Context(), &controlplanev1.AuditPartitionsRequest{})
		w.must(err)
		if response.GetPartitionCount() != 3 || response.GetSegmentCount() == 0 {
			t.Errorf("%v", response)
		}
		return response.GetProblems()
	}
	unknown := 0
	for _, o := range b.objects {
		switch a := audit(o); {
		case a.GetFate() == controlplanev1.ObjectFate_OBJECT_FATE_UNKNOWN:
			unknown++ // what nobody committed
		case a.GetFate() != controlplanev1.ObjectFate_OBJECT_FATE_REFERENCED || len(a.GetProblems()) > 0 || len(a.GetReferenced()) != len(o.GetSegments()):
			t.Errorf("%s: %v", o.GetKey(), a)
		}
	}
	if unknown != 3 || len(logs()) > 0 {
		t.Errorf("%d objects nobody knows, logs %q", unknown, logs())
	}
	listed, err := w.ListReferencedObjects(t.Context(), &controlplanev1.ListReferencedObjectsRequest{})
	if err != nil || len(listed.GetObjects()) != len(b.objects)-unknown {
		t.Errorf("%d of %d objects listed, %v", len(listed.GetObjects()), len(b.objects), err)
	}
	changed := func(change func(o *controlplanev1.StoredObject)) []string {
		o := b.objects[0]
		before := o.GetSizeBytes()
		first := o.GetSegments()[0].GetCrc32C()
		change(o)
		problems := audit(o).GetProblems()
		o.SizeBytes, o.Segments[0].Crc32C, o.Fault = before, first, ""
		return problems
	}
	for what, change := range map[string]func(*controlplanev1.StoredObject){
		"bytes, the catalog says": func(o *controlplanev1.StoredObject) { o.SizeBytes++ },
		"its checksum is":         func(o *controlplanev1.StoredObject) { o.Segments[0].Crc32C++ },
		"cannot be read":          func(o *controlplanev1.StoredObject) { o.Fault = "torn" },
	} {
		if got := changed(change); len(got) != 1 || !strings.Contains(got[0], what) {
			t.Errorf("%s: %q", what, got)
		}
	}
	w.sql("UPDATE object_keys SET reference_count = reference_count + 1")
	if got := audit(b.objects[0]).GetProblems(); len(got) != 1 || !strings.Contains(got[0], "counts") {
		t.Errorf("miscounted: %q", got)
	}
	for _, damage := range []struct{ sql, says string }{
		{"UPDATE partitions SET high_watermark = high_watermark + 1 WHERE partition = 0", "below its high watermark"},
		{"DELETE FROM segments s USING partitions p WHERE p.partition_id = s.partition_id AND p.partition = 1 AND s.base_offset = 0", "its log begins at offset 0"},
		{"UPDATE segments s SET record_count = record_count + 1 FROM partitions p WHERE p.partition_id = s.partition_id AND p.partition = 2 AND s.base_offset = 0", "gap or overlap"},
	} {
		w.sql(damage.sql)
		if got := logs(); !slices.ContainsFunc(got, func(p string) bool { return strings.Contains(p, damage.says) }) {
			t.Errorf("%s: %q", damage.says, got)
		}
	}
}

var _ store.Recovery = (*postgres.Store)(nil)

// P9: a database that is new may stand before the bucket of one that was lost. Until it has a topic, nobody sweeps that bucket, or writes a
// checkpoint that knows of nothing.
func TestP9_AnEmptyCatalogHasNoJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("agent-1")
	claim := func() *controlplanev1.Job {
		t.Helper()
		response, err := w.ClaimJob(t.Context(), group, &controlplanev1.ClaimJobRequest{SessionId: a.session.String(), Kinds: []controlplanev1.JobKind{
			controlplanev1.JobKind_JOB_KIND_CHECKPOINT, controlplanev1.JobKind_JOB_KIND_DELETE, controlplanev1.JobKind_JOB_KIND_SWEEP,
		}})
		w.must(err)
		return response.GetJob()
	}
	for range 5 {
		if job := claim(); job != nil {
			t.Fatalf("there is a job: %v", job)
		}
	}
	w.topic("orders", 1)
	eventually(t, "a job", func() bool { return claim() != nil })
}
