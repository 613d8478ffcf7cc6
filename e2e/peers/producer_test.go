package peers_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// A producer has five batches stored and an answer to none of them; the leader dies. Its retries go to the next leader, which has never seen the producer. Who
// keeps sequences in the leader's memory stores them again. Here they come with the lease, out of the transaction that stored the batches.
func TestP5_ProducerRetryAcrossAFailover(t *testing.T) {
	t.Parallel()
	r := newRig(t, proxied(3*time.Second), client.TopicConfig{})
	leader, _, _ := r.leader()
	id := r.producerID(leader)
	var log []string
	store := func(sequence int32) {
		value := fmt.Sprint("batch ", sequence)
		r.wantStored(value, r.produce(leader, durable, r.numbered(id, 0, sequence, value)), int64(sequence))
		log = append(log, value)
	}
	for sequence := range int32(6) {
		store(sequence)
	}
	leader.Kill()
	leader = r.awaitSuccessor(leader)
	again := func(epoch int16, sequence int32) told {
		return r.produce(leader, durable, r.numbered(id, epoch, sequence, fmt.Sprint("batch ", sequence)))
	}
	for sequence := int32(1); sequence < 6; sequence++ { // the window: the last five
		r.wantRepeat(fmt.Sprint("batch ", sequence), again(0, sequence), int64(sequence))
	}
	r.wantRefused("a repeat older than the window", again(0, 0), refusalv1.Reason_REASON_DUPLICATE_TOO_OLD)
	gap := again(0, 8)
	r.wantRefused("a gap", gap, refusalv1.Reason_REASON_SEQUENCE_GAP)
	if next := gap.refusal.GetSequence().GetExpectedSequence(); next != 6 {
		t.Errorf("a gap names %d as the next sequence, not 6", next)
	}
	r.wantRefused("a producer that nobody knows", r.produce(leader, durable, r.numbered(id+1000, 0, 5, "x")), refusalv1.Reason_REASON_PRODUCER_UNKNOWN)
	store(6)
	newer := r.produce(leader, durable, r.numbered(id, 1, 0, "of the newer epoch"))
	r.wantStored("a newer producer epoch", newer, 7)
	r.wantRefused("the older producer epoch", again(0, 7), refusalv1.Reason_REASON_PRODUCER_FENCED)
	r.wantLog(append(log, "of the newer epoch")...)
}

// A batch is committed, the answer is lost, and the leader dies before it hears: its producer knows nothing, nor does any agent. The retry at the next leader must
// find the one copy.
func TestP5_RetryOfABatchWhoseFateNobodyKnows(t *testing.T) {
	t.Parallel()
	r := newRig(t, proxied(3*time.Second), client.TopicConfig{})
	leader, _, other := r.leader()
	id := r.producerID(leader)
	r.wantStored("zero", r.produce(leader, durable, r.numbered(id, 0, 0, "zero")), 0)
	leader.Control[0].LoseAnswers(t)
	lost := make(chan told, 1)
	go func() { lost <- r.produce(leader, durable, r.numbered(id, 0, 1, "one")) }()
	r.eventually("one is committed", func() bool {
		select {
		case early := <-lost:
			t.Fatalf("one was answered before: %v", early)
		default:
		}
		ends, err := r.at(other).Ends(r.ctx, topic, 1)
		return err == nil && ends[0] == 2
	})
	leader.Kill()
	if answer := <-lost; answer.err == nil || answer.refusal != nil {
		t.Fatalf("a dead leader answered: %v", answer)
	}
	leader = r.awaitSuccessor(leader)
	r.wantRepeat("one", r.produce(leader, durable, r.numbered(id, 0, 1, "one")), 1)
	r.wantStored("two", r.produce(leader, durable, r.numbered(id, 0, 2, "two")), 2)
	r.wantLog("zero", "one", "two")
}

// A producer sleeps for so long that it is forgotten, and comes back at a leader that has never seen it. Who takes any sequence from a stranger cannot tell a
// retry from news. Here it is refused, and the SDK, which has nothing unresolved, goes on under a new producer id: its user sees nothing.
func TestP5_ForgottenProducer(t *testing.T) {
	t.Parallel()
	r := newRig(t, proxied(3*time.Second), client.TopicConfig{})
	leader, _, _ := r.leader()
	id := r.producerID(leader)
	r.wantStored("raw", r.produce(leader, durable, r.numbered(id, 0, 0, "raw")), 0)
	producer, err := r.cluster.Client(t).NewProducer()
	r.must(err)
	defer func() { _ = producer.Close(context.WithoutCancel(r.ctx)) }()
	r.produceBySDK(producer, "before", 1)

	r.cluster.Postgres.SQL(r.ctx, t, "UPDATE producers SET updated_at = clock_timestamp() - interval '169 hours'")
	control := r.cluster.ControlPlanes[0] // it looks for idle producers when it starts
	r.must(control.Stop(r.ctx))
	control.Start(r.ctx, t)
	r.eventually("both are forgotten", func() bool { return r.cluster.Postgres.SQL(r.ctx, t, "SELECT count(*) FROM producers") == "0" })
	leader.Kill()
	leader = r.awaitSuccessor(leader)

	r.wantRefused("raw", r.produce(leader, durable, r.numbered(id, 0, 1, "raw again")), refusalv1.Reason_REASON_PRODUCER_UNKNOWN)
	r.produceBySDK(producer, "after", 2)
	r.wantLog("raw", "before", "after")
}

func (r *rig) produceBySDK(producer *client.Producer, value string, offset int64) {
	r.Helper()
	done := make(chan error, 1)
	record := &client.Record{Topic: topic, Value: []byte(value)}
	producer.Produce(r.ctx, record, func(_ *client.Record, err error) { done <- err })
	if err := <-done; err != nil || record.Offset != offset {
		r.Fatalf("%s: offset %d, %v; want %d", value, record.Offset, err, offset)
	}
}
