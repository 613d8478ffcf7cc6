package peers_test

import (
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/workload"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// The catalog commits "first", its answer is lost, "second" and "third" arrive meanwhile. Who takes the silence for a failure appends "first" again, or gives
// its offset to "second" and has every later commit refused. Here the same commit is repeated until it is answered: no gap, no double.
func TestP1_P2_AppendAfterALostCommitAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, proxied(30*time.Second), client.TopicConfig{})
	leader, _, other := r.leader()
	r.wantStored("zero", r.produce(leader, durable, plain("zero")), 0)
	leader.Control[0].LoseAnswers(t)
	answers := make([]chan told, 3)
	for i, value := range []string{"first", "second", "third"} {
		answers[i] = make(chan told, 1)
		go func() { answers[i] <- r.produce(leader, durable, plain(value)) }()
		if i == 0 { // another agent sees it: the commit has happened, and only its answer is missing
			r.eventually("first is committed", func() bool {
				ends, err := r.at(other).Ends(r.ctx, topic, 1)
				return err == nil && ends[0] == 2
			})
		} else {
			time.Sleep(100 * time.Millisecond) // the order in which they arrive
		}
	}
	select {
	case early := <-answers[0]:
		t.Fatalf("first was answered before the leader heard of its commit: %v", early)
	default:
	}
	leader.Control[0].Restore(r.ctx)
	for i, answer := range answers {
		r.wantStored([]string{"first", "second", "third"}[i], <-answer, int64(i+1))
	}
	r.wantLog("zero", "first", "second", "third")
}

// A leader has uploaded an object, and is stopped before it hears so. Its session ends, another leads and writes at the same offset. Then it wakes up, finds the
// object in the bucket and commits it. Who checked a lease before the upload has two records at one offset now. Here the commit is refused, the bytes stay dead.
func TestP2_P3_PausedLeadersUploadIsNeverVisible(t *testing.T) {
	t.Parallel()
	pausedUpload(t, true)
}

// The same, but the successor has written nothing when the old leader wakes up: its offset would fit, and the epoch alone is in the way.
func TestP3_PausedLeadersUploadIsNeverVisibleWhereItWouldFit(t *testing.T) {
	t.Parallel()
	pausedUpload(t, false)
}

// pausedUpload has the successor write while the old leader is stopped, or after that one's commit was refused.
func pausedUpload(t *testing.T, meanwhile bool) {
	t.Helper()
	r := newRig(t, proxied(3*time.Second), client.TopicConfig{})
	leader, _, _ := r.leader()
	log := []string{"zero"}
	r.wantStored("zero", r.produce(leader, durable, plain("zero")), 0)
	leader.Bucket.LoseAnswers(t)
	stale := make(chan told, 1)
	go func() { stale <- r.produce(leader, durable, r.numbered(-1, -1, -1, "stale-record")) }()
	r.eventually("the stale record is in the bucket", func() bool { return r.copies("stale-record") > 0 })
	r.must(leader.Pause())
	successor := r.awaitSuccessor(leader)
	fresh := func() {
		r.wantStored("fresh", r.produce(successor, durable, plain("fresh")), int64(len(log)))
		log = append(log, "fresh")
	}
	if meanwhile {
		fresh()
	}
	leader.Bucket.Restore(r.ctx)
	r.must(leader.Resume())
	r.deposed(<-stale, &log)
	r.awaitLive(leader.ID)
	if !meanwhile {
		fresh()
	}
	r.wantLog(log...)
}

// deposed judges what the stale record's producer was told. Mostly that it was surely not written. But a leader that hears of the new placement before it hears
// that its session is over takes this for a hand-over, and brings such a record to its successor, as a new one: then that one's own object holds it, too.
func (r *rig) deposed(answer told, log *[]string) {
	r.Helper()
	copies := r.copies("stale-record")
	switch {
	case answer.stored != nil && answer.stored.GetBaseOffset() == int64(len(*log)) && copies > 1:
		r.Logf("forwarded: %v", answer)
		*log = append(*log, "stale-record")
	case answer.refusal == nil || !workload.SurelyNot(answer.refusal):
		r.Errorf("the deposed leader's producer was told: %v, with %d objects that have the record", answer, copies)
	case copies == 0:
		r.Error("the stale object is not in the bucket: this test has shown nothing")
	}
}

// An agent is cut off from the control plane for longer than its session lasts. By its own clock it is nobody's leader then, though nobody can tell it so. Who
// acknowledges from memory now acknowledges what the next leader will never see. Here a buffered ack is given before the deadline, and none after it.
func TestP10_NoBufferedAckPastTheAgentsOwnDeadline(t *testing.T) {
	t.Parallel()
	const session = 4 * time.Second
	options := proxied(session)
	options.AgentArgs = []string{"--produce-timeout", "2s"}
	r := newRig(t, options, client.TopicConfig{AllowBufferedAcks: new(true)})
	leader, _, _ := r.leader()
	buffered := func(value string) told { return r.produce(leader, dataplanev1.Acks_ACKS_BUFFERED, plain(value)) }
	if got := buffered("before"); !got.buffered {
		t.Fatalf("before: %v", got)
	}
	leader.Control[0].Silence(t)
	cut := time.Now()
	if got := buffered("within"); !got.buffered && time.Since(cut) < session/2 {
		t.Errorf("within the session: %v", got)
	}
	time.Sleep(time.Until(cut.Add(session + 500*time.Millisecond)))
	got := buffered("beyond")
	if got.err == nil {
		t.Fatalf("beyond the session: %v", got)
	}
	if got.refusal == nil || !workload.SurelyNot(got.refusal) {
		t.Errorf("beyond the session: %v", got)
	}
	successor := r.awaitSuccessor(leader)
	leader.Control[0].Restore(r.ctx)
	r.awaitLive(leader.ID)
	for _, read := range r.at(successor).ReadLog(r.ctx, t, topic) {
		if read.ID == "beyond" {
			t.Error("what was surely not written is in the log")
		}
	}
}

// A leader is cut off, replaced, and reached again, and for a second hears nothing of its successor. Its memory of offsets and sequences is old now. Who answers
// from it says "gap" or "mismatch" of a batch that the true leader would take. Here such a refusal waits for a lookup that shows the epoch still current.
func TestP6_RefusalFromADeposedLeadersMemory(t *testing.T) {
	t.Parallel()
	options := proxied(30 * time.Second)
	options.SuspectAfter = 2 * time.Second
	r := newRig(t, options, client.TopicConfig{})
	leader, _, other := r.leader()
	id := r.producerID(leader)
	r.wantStored("zero", r.produce(leader, durable, r.numbered(id, 0, 0, "zero")), 0)
	// Its memory does say no while it leads: these are the refusals that must not come from a deposed one.
	r.wantRefused("a gap at the leader", r.produce(leader, durable, r.numbered(id, 0, 2, "two")), refusalv1.Reason_REASON_SEQUENCE_GAP)
	r.wantRefused("a wrong offset at the leader", r.produce(leader, durable, expecting(plain("two"), 2)), refusalv1.Reason_REASON_EXPECTED_OFFSET)
	r.wantRefused("at another", r.produce(other, durable, plain("x")), refusalv1.Reason_REASON_NOT_LEADER)

	leader.Control[0].Silence(t)
	successor := r.awaitSuccessor(leader)
	r.wantStored("one", r.produce(successor, durable, r.numbered(id, 0, 1, "one")), 1)
	leader.Control[0].Restore(r.ctx)
	leader.Control[0].Delay(t, time.Second)
	gap, mismatch := make(chan told, 1), make(chan told, 1)
	go func() { gap <- r.insist(leader, durable, r.numbered(id, 0, 2, "two")) }()
	go func() { mismatch <- r.insist(leader, durable, expecting(plain("two"), 2)) }()
	r.wantRefused("sequence 2 at the deposed leader", <-gap, refusalv1.Reason_REASON_NOT_LEADER)
	r.wantRefused("offset 2 at the deposed leader", <-mismatch, refusalv1.Reason_REASON_NOT_LEADER)
	leader.Control[0].Restore(r.ctx)
	r.wantStored("two", r.produce(successor, durable, r.numbered(id, 0, 2, "two")), 2)
	r.wantLog("zero", "one", "two")
}

func expecting(entry *dataplanev1.ProduceEntry, offset int64) *dataplanev1.ProduceEntry {
	entry.ExpectedOffset = &offset
	return entry
}
