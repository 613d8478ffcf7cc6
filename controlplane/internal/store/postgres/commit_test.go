package postgres_test

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

const (
	committed  = controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED
	fenced     = controlplanev1.SegmentResult_SEGMENT_RESULT_FENCED
	mismatch   = controlplanev1.SegmentResult_SEGMENT_RESULT_OFFSET_MISMATCH
	noTopic    = controlplanev1.SegmentResult_SEGMENT_RESULT_UNKNOWN_TOPIC
	gap        = controlplanev1.SegmentResult_SEGMENT_RESULT_SEQUENCE_GAP
	oldEpoch   = controlplanev1.SegmentResult_SEGMENT_RESULT_PRODUCER_FENCED
	wrongGroup = controlplanev1.SegmentResult_SEGMENT_RESULT_WRONG_AGENT_GROUP
)

func wantOutcome(t testing.TB, got *controlplanev1.SegmentOutcome, result controlplanev1.SegmentResult, highWatermark int64, epoch int32) {
	t.Helper()
	if got.GetResult() != result || got.GetHighWatermark() != highWatermark || got.GetCurrentEpoch() != epoch {
		t.Fatalf("got %v, want %v, high watermark %d, epoch %d", got, result, highWatermark, epoch)
	}
}

func TestP1_CommittedRecordsAreFoundByEveryLookup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	other := w.replica(postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 2)
	a.lead(orders, 0)
	a.lead(orders, 1)
	o := a.object(segment(orders, 0, 1, 0, 3), segment(orders, 1, 1, 0, 5))
	sortSegments(o)
	a.commit(o)
	a.committed(segment(orders, 0, 1, 3, 4))
	reader := &agent{world: other, group: group}
	for offset := range int64(7) {
		segments := reader.lookup(orders, 0, offset).GetSegments()
		want := 2
		if offset >= 3 {
			want = 1
		}
		if len(segments) != want || segments[0].GetBaseOffset() > offset {
			t.Fatalf("offset %d: %v", offset, segments)
		}
	}
	end := reader.lookup(orders, 0, 7)
	if len(end.GetSegments()) != 0 || end.GetHighWatermark() != 7 {
		t.Fatalf("P4: at the end there is nothing: %v", end)
	}
	found := reader.lookup(orders, 1, 0).GetSegments()[0]
	if found.GetObjectKey() != o.GetKey() || found.GetRecordCount() != 5 || found.GetEpoch() != 1 || found.GetSizeBytes() != 500 ||
		found.GetBytePosition() != 300 || found.GetMaxTimestampMs() != 1004 || found.GetCrc32C() != 0xfedcba98 {
		t.Fatalf("segment %v", found)
	}
	w.checkCatalog(t)
}

// sortSegments keeps the order that the API wants when topics are compared by id; positions stay as they are.
func sortSegments(o *controlplanev1.ObjectCommit) {
	slices.SortFunc(o.Segments, func(a, b *controlplanev1.SegmentCommit) int {
		return cmp.Or(bytes.Compare(a.GetTopicId(), b.GetTopicId()), cmp.Compare(a.GetPartition(), b.GetPartition()))
	})
}

func TestP2_BaseOffsetMustBeTheHighWatermark(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	wantOutcome(t, a.committed(segment(orders, 0, 1, 1, 2)), mismatch, 0, 1)
	wantOutcome(t, a.committed(segment(orders, 0, 1, 0, 2)), committed, 2, 1)
	wantOutcome(t, a.committed(segment(orders, 0, 1, 0, 2)), mismatch, 2, 1)
	wantOutcome(t, a.committed(segment(orders, 0, 1, 3, 2)), mismatch, 2, 1)
	w.checkCatalog(t)
}

func TestP2_SeveralObjectsAreFoldedInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	outcomes := a.commit(
		a.object(segment(orders, 0, 1, 0, 2, batch(1, 0, 0, 2, 0))),
		a.object(segment(orders, 0, 1, 2, 3, batch(1, 0, 2, 3, 2))),
		a.object(segment(orders, 0, 1, 9, 3)), // fails, and changes nothing
		a.object(segment(orders, 0, 1, 5, 1, batch(1, 0, 5, 1, 5))),
	)
	for i, want := range []struct {
		result        controlplanev1.SegmentResult
		highWatermark int64
	}{{committed, 2}, {committed, 5}, {mismatch, 5}, {committed, 6}} {
		wantOutcome(t, outcomes[i].GetSegments()[0], want.result, want.highWatermark, 1)
	}
	if n := w.number("SELECT count(*) FROM object_keys WHERE unreferenced_at IS NOT NULL AND reference_count = 0"); n != 1 {
		t.Fatalf("P8: %d objects without a segment, want 1", n)
	}
	w.checkCatalog(t)
}

func TestP3_StaleEpochCannotCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	b := w.register("b")
	a.deregister()
	// Nobody has replaced it: an ended session still commits what it holds (fencing decides).
	wantOutcome(t, a.committed(segment(orders, 0, 1, 0, 2)), committed, 2, 1)
	b.lead(orders, 0)
	wantOutcome(t, a.committed(segment(orders, 0, 1, 2, 2)), fenced, 2, 2)
	wantOutcome(t, a.committed(segment(orders, 0, 2, 2, 2)), fenced, 2, 2) // the right epoch of the wrong session
	wantOutcome(t, b.committed(segment(orders, 0, 1, 2, 2)), fenced, 2, 2) // the right session, an old epoch
	wantOutcome(t, b.committed(segment(orders, 0, 2, 2, 2)), committed, 4, 2)
	w.checkCatalog(t)
}

// A commit that waits for the row while another session takes the partition over sees the new epoch.
func TestP3_CommitThatWaitedForTheTakeoverIsFenced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	b := w.register("b")
	tx, err := w.connection().Begin(t.Context())
	w.must(err)
	_, err = tx.Exec(t.Context(), "UPDATE partitions SET epoch = 2, leader_session_id = $1", b.session)
	w.must(err)
	outcome := make(chan *controlplanev1.SegmentOutcome, 1)
	go func() { outcome <- a.committed(segment(orders, 0, 1, 0, 1)) }()
	eventually(t, "the commit waits", func() bool { return w.waiting() > 0 })
	w.must(tx.Commit(t.Context()))
	wantOutcome(t, <-outcome, fenced, 0, 2)
}

func TestP5_SequencesMustFollow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 2)
	a.lead(orders, 0)
	a.lead(orders, 1)
	next := int64(0)
	try := func(name string, want controlplanev1.SegmentResult, batches ...*controlplanev1.ProducerBatch) {
		t.Helper()
		count := int32(0)
		for _, b := range batches {
			b.BaseOffset = next + int64(count)
			count += b.GetRecordCount()
		}
		out := a.committed(segment(orders, 0, 1, next, count, batches...))
		if out.GetResult() != want {
			t.Fatalf("%s: got %v, want %v", name, out, want)
		}
		if want == committed {
			next += int64(count)
		}
	}
	try("an unknown producer starts at 0", gap, batch(1, 0, 5, 2, 0))
	try("the first", committed, batch(1, 0, 0, 2, 0))
	try("a repeat", gap, batch(1, 0, 0, 2, 0))
	try("a gap", gap, batch(1, 0, 3, 1, 0))
	try("two that follow", committed, batch(1, 0, 2, 3, 0), batch(1, 0, 5, 1, 0))
	try("the second leaves a gap: neither is stored", gap, batch(1, 0, 6, 1, 0), batch(1, 0, 8, 1, 0))
	try("after that the first alone", committed, batch(1, 0, 6, 1, 0))
	try("a newer epoch starts at 0", gap, batch(1, 1, 7, 1, 0))
	try("a newer epoch", committed, batch(1, 1, 0, 1, 0))
	try("an old epoch", oldEpoch, batch(1, 0, 7, 1, 0))
	try("several producers", committed, batch(2, 0, 0, 1, 0), batch(1, 1, 1, 1, 0), batch(2, 0, 1, 1, 0))
	// Another partition knows nothing of it.
	wantOutcome(t, a.committed(segment(orders, 1, 1, 0, 1, batch(1, 1, 2, 1, 0))), gap, 0, 1)
	w.checkCatalog(t)
}

func TestP5_ANewLeaderLearnsTheLastFiveBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	for i := range int64(7) {
		wantOutcome(t, a.committed(segment(orders, 0, 1, 2*i, 2, batch(9, 3, int32(2*i), 2, 2*i))), committed, 2*i+2, 1)
	}
	a.deregister()
	b := w.register("b")
	grant := b.lead(orders, 0)
	if !grant.GetProducersComplete() || len(grant.GetProducers()) != 1 {
		t.Fatalf("grant %v", grant)
	}
	want := &controlplanev1.ProducerState{ProducerId: 9, ProducerEpoch: 3}
	for i := int64(2); i < 7; i++ {
		want.Batches = append(want.Batches, batch(9, 3, int32(2*i), 2, 2*i))
	}
	if !proto.Equal(grant.GetProducers()[0], want) {
		t.Fatalf("got %v, want %v", grant.GetProducers()[0], want)
	}
	response, err := w.LookupProducers(t.Context(), group, &controlplanev1.LookupProducersRequest{Lookups: []*controlplanev1.ProducerLookup{
		{TopicId: orders[:], ProducerId: 9}, {TopicId: orders[:], ProducerId: 10}, {TopicId: orders[:], Partition: 5, ProducerId: 9},
	}})
	w.must(err)
	out := response.GetOutcomes()
	if !proto.Equal(out[0].GetState(), want) || out[0].GetEpoch() != 2 || out[1].GetState() != nil || out[1].GetEpoch() != 2 || out[2].GetEpoch() != 0 {
		t.Fatalf("lookup %v", out)
	}
	// The retry across the failover: the new leader's own commit of it would be refused, it answers it from this state.
	wantOutcome(t, b.committed(segment(orders, 0, 2, 14, 2, batch(9, 3, 12, 2, 14))), gap, 14, 2)
	wantOutcome(t, b.committed(segment(orders, 0, 2, 14, 2, batch(9, 3, 14, 2, 14))), committed, 16, 2)
}

func TestP5_SequencesWrap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	a.committed(segment(orders, 0, 1, 0, 2, batch(1, 0, 0, 2, 0)))
	w.sql("UPDATE producers SET batches = decode('7ffffffe' || '00000002' || '0000000000000000', 'hex')") // ends at 2^31 - 1
	wantOutcome(t, a.committed(segment(orders, 0, 1, 2, 2, batch(1, 0, 0, 2, 2))), committed, 4, 1)
}

func TestP6_RepeatIsAnsweredWithTheFirstOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 2)
	a.lead(orders, 0)
	success, failure := a.object(segment(orders, 0, 1, 0, 2, batch(1, 0, 0, 2, 0))), a.object(segment(orders, 1, 1, 0, 2))
	first := a.commit(success, failure)
	wantOutcome(t, first[0].GetSegments()[0], committed, 2, 1)
	wantOutcome(t, first[1].GetSegments()[0], fenced, 0, 0)
	a.committed(segment(orders, 0, 1, 2, 1))
	a.lead(orders, 1) // now it would succeed, and must not: "surely not" was said
	third := a.object(segment(orders, 0, 1, 3, 1))
	again := a.commit(failure, success, third) // repeats and a new one, in any order
	if !proto.Equal(again[0], first[1]) || !proto.Equal(again[1], first[0]) {
		t.Fatalf("got %v, want %v", again, first)
	}
	wantOutcome(t, again[2].GetSegments()[0], committed, 4, 1)
	w.checkCatalog(t)
}

func TestP6_DoubledRequestsGetOneOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	other := w.replica(postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	for i := range int64(10) {
		o := a.object(segment(orders, 0, 1, i, 1, batch(1, 0, int32(i), 1, i)))
		var wg sync.WaitGroup
		for j := range 4 {
			through := a.world
			if j%2 == 1 {
				through = other
			}
			wg.Go(func() {
				response, err := through.Commit(t.Context(), group, &controlplanev1.CommitRequest{
					SessionId: a.session.String(), Objects: []*controlplanev1.ObjectCommit{o},
				})
				if err != nil {
					t.Error(err)
					return
				}
				if out := response.GetObjects()[0].GetSegments()[0]; out.GetResult() != committed || out.GetHighWatermark() != i+1 {
					t.Errorf("outcome %v", out)
				}
			})
		}
		wg.Wait()
	}
	w.checkCatalog(t)
}

func TestP8_TombstonedObjectCannotBeCommitted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	orphan, alive := a.object(segment(orders, 0, 1, 0, 1)), a.object(segment(orders, 0, 1, 0, 1))
	a.commit(alive)
	dead, err := w.Tombstone(t.Context(), []string{orphan.GetKey(), alive.GetKey()})
	w.must(err)
	if len(dead) != 1 || dead[0] != orphan.GetKey() {
		t.Fatalf("dead: %v; a committed key must stay", dead)
	}
	outcome := a.commit(orphan)[0]
	wantRefusal(t, outcome.GetRefusal(), refusalv1.Reason_REASON_OBJECT_TOMBSTONED)
	if outcome.GetRefusal().GetWritten() != refusalv1.Written_WRITTEN_SURELY_NOT || len(outcome.GetSegments()) != 0 {
		t.Fatalf("outcome %v", outcome)
	}
	dead, err = w.Tombstone(t.Context(), []string{orphan.GetKey()}) // idempotent
	w.must(err)
	if len(dead) != 1 {
		t.Fatalf("dead: %v", dead)
	}
	w.checkCatalog(t)
}

func TestP6_UnknownSessionIsPossibly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	orders := w.topic("orders", 1)
	ghost := &agent{world: w, group: group, session: uuid.New()}
	o := ghost.object(segment(orders, 0, 1, 0, 1))
	for range 2 {
		refusal := ghost.commit(o)[0].GetRefusal()
		wantRefusal(t, refusal, refusalv1.Reason_REASON_SESSION_EXPIRED)
		if refusal.GetWritten() != refusalv1.Written_WRITTEN_POSSIBLY {
			t.Fatalf("refusal %v", refusal)
		}
	}
	if w.number("SELECT count(*) FROM object_keys") != 0 {
		t.Fatal("a key was kept for a session that is not known")
	}
}

func TestP7_CommitStaysInItsAgentGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	w.must(w.EnsureAgentGroup(t.Context(), "blue"))
	a, b := w.register("a"), w.registerIn("blue", "b", "zone-a")
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	wantOutcome(t, b.committed(segment(orders, 0, 1, 0, 1)), wrongGroup, -1, 0)
	// A session of another agent group than the key's.
	stranger := &agent{world: w, group: "blue", session: a.session}
	_, err := w.Commit(t.Context(), "blue", &controlplanev1.CommitRequest{
		SessionId: a.session.String(), Objects: []*controlplanev1.ObjectCommit{stranger.object(segment(orders, 0, 1, 0, 1))},
	})
	wantReason(t, err, refusalv1.Reason_REASON_WRONG_AGENT_GROUP)
	lookup := b.lookup(orders, 0, 0)
	wantRefusal(t, lookup.GetRefusal(), refusalv1.Reason_REASON_WRONG_AGENT_GROUP)
	if lookup.GetHighWatermark() != 0 || lookup.GetEpoch() != 0 {
		t.Fatalf("lookup %v", lookup)
	}
}

func TestCommit_RefusesMalformedRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 3)
	a.lead(orders, 0)
	good := func() *controlplanev1.ObjectCommit {
		return a.object(segment(orders, 0, 1, 0, 2), segment(orders, 1, 1, 0, 2))
	}
	twice := good()
	cases := map[string][]*controlplanev1.ObjectCommit{
		"objects[0].key":                       {changed(good(), func(o *controlplanev1.ObjectCommit) { o.Key = "blue" + o.GetKey()[len("default"):] })},
		"objects[1].key":                       {twice, twice},
		"objects[0].segments[1]":               {changed(good(), func(o *controlplanev1.ObjectCommit) { o.Segments[1].Partition = 0 })},
		"objects[0].segments[1].byte_position": {changed(good(), func(o *controlplanev1.ObjectCommit) { o.Segments[1].BytePosition = o.GetSizeBytes() - 1 })},
		"objects[0].segments[0].base_offset":   {changed(good(), func(o *controlplanev1.ObjectCommit) { o.Segments[0].BaseOffset = 1<<63 - 2 })},
		"objects[0].segments[0].producer_batches[0].base_offset": {changed(good(), func(o *controlplanev1.ObjectCommit) {
			o.Segments[0].ProducerBatches = []*controlplanev1.ProducerBatch{batch(1, 0, 0, 3, 0)}
		})},
		"objects[0].segments[0].producer_batches[1].base_offset": {changed(good(), func(o *controlplanev1.ObjectCommit) {
			o.Segments[0].ProducerBatches = []*controlplanev1.ProducerBatch{batch(1, 0, 0, 2, 0), batch(1, 0, 2, 1, 1)}
		})},
	}
	for field, objects := range cases {
		_, err := w.Commit(t.Context(), group, &controlplanev1.CommitRequest{SessionId: a.session.String(), Objects: objects})
		wantReason(t, err, refusalv1.Reason_REASON_INVALID)
		if got := refusalOf(err).GetField(); got != field {
			t.Errorf("field %q, want %q", got, field)
		}
	}
	// Keys that name another session, or no incarnation, or more than a path.
	for _, key := range []string{
		fmt.Sprintf("default/0a/0-%s-1", uuid.New()), fmt.Sprintf("default/0a/256-%s-1", a.session), fmt.Sprintf("default/0a/x/0-%s-1", a.session),
		fmt.Sprintf("default/zz/0-%s-1", a.session), fmt.Sprintf("default/0a/0-%s-", a.session), fmt.Sprintf("default-2/0a/0-%s-1", a.session),
	} {
		o := good()
		o.Key = key
		_, err := w.Commit(t.Context(), group, &controlplanev1.CommitRequest{SessionId: a.session.String(), Objects: []*controlplanev1.ObjectCommit{o}})
		wantReason(t, err, refusalv1.Reason_REASON_INVALID)
	}
	if w.number("SELECT count(*) FROM object_keys") != 0 {
		t.Fatal("something was stored")
	}
}

func changed(o *controlplanev1.ObjectCommit, change func(*controlplanev1.ObjectCommit)) *controlplanev1.ObjectCommit {
	change(o)
	return o
}

// Commits of several sessions over many partitions, each request in its own order, with takeovers meanwhile: no deadlock surfaces,
// every outcome is definite, and the offsets stay dense.
func TestP2_ConcurrentCommitsAndTakeoversStayDense(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	const agents, partitions, rounds = 4, 12, 25
	orders := w.topic("orders", partitions)
	var wg sync.WaitGroup
	for i := range agents {
		a := w.register(string(rune('a' + i)))
		wg.Go(func() { a.writeAndResign(orders, partitions, rounds) })
	}
	wg.Wait()
	w.checkCatalog(t)
	if n := w.number("SELECT sum(high_watermark) FROM partitions"); n == 0 {
		t.Fatal("nothing was committed")
	}
}

// writeAndResign acquires what it can, commits to all of it, and releases some.
func (a *agent) writeAndResign(orders topic, partitions int32, rounds int) {
	for round := range rounds {
		request := &controlplanev1.AcquireRequest{SessionId: a.session.String()}
		for p := range partitions {
			request.Partitions = append(request.Partitions, &controlplanev1.AcquirePartition{TopicId: orders[:], Partition: p})
		}
		// In the order of locks: a plain UPDATE takes them as it meets the rows, and deadlocks with what is tested.
		a.sql(`UPDATE partitions SET assigned_agent_id = NULL FROM (
			SELECT partition_id FROM partitions WHERE leader_session_id IS NULL ORDER BY topic_id, partition FOR NO KEY UPDATE) AS free
			WHERE partitions.partition_id = free.partition_id`)
		response, err := a.Acquire(a.t.Context(), group, request)
		if err != nil {
			a.t.Error(err)
			return
		}
		var segments []*controlplanev1.SegmentCommit
		release := &controlplanev1.ReleaseRequest{SessionId: a.session.String()}
		for _, o := range response.GetOutcomes() {
			if g := o.GetGrant(); g != nil {
				segments = append(segments, segment(orders, o.GetPartition(), g.GetEpoch(), g.GetHighWatermark(), 3))
				release.Partitions = append(release.Partitions, &controlplanev1.ReleasePartition{TopicId: orders[:], Partition: o.GetPartition(), Epoch: g.GetEpoch()})
			}
		}
		if len(segments) == 0 {
			continue
		}
		for _, out := range a.commit(a.object(segments...))[0].GetSegments() {
			if out.GetResult() != committed {
				a.t.Errorf("round %d: %v", round, out)
			}
		}
		if _, err := a.Release(a.t.Context(), group, release); err != nil {
			a.t.Error(err)
			return
		}
	}
}

// Rows that commits change are not indexed by what changes.
func TestCommit_IsAHotUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	before := w.number("SELECT n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'partitions'")
	for i := range int64(30) {
		a.committed(segment(orders, 0, 1, i, 1))
	}
	w.Close()
	eventually(t, "statistics", func() bool {
		return w.number("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'partitions'") >= 30
	})
	// The grant itself is no HOT update: it changes leader and revision, which are indexed.
	if cold := w.number("SELECT n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'partitions'"); cold-before > 1 {
		t.Fatalf("%d updates were not HOT", cold-before)
	}
}
