package peers_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/workload"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// A topic is deleted and created again under its name, with producers and readers that know the old one. Who keys anything by name lets the new one begin with the
// old one's records in a cache, its producers' sequences, or its offsets. Here everything is the id's.
func TestP2_RecreatedTopicSharesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, cluster.Options{}, client.TopicConfig{})
	leader, _, _ := r.leader()
	admin := r.cluster.Admin(t)
	id := r.producerID(leader)
	var log []string
	for sequence := range int32(3) {
		log = append(log, fmt.Sprint("old ", sequence))
		r.wantStored(log[sequence], r.produce(leader, durable, r.numbered(id, 0, sequence, log[sequence])), int64(sequence))
	}
	r.wantLog(log...) // it is in every agent's cache now
	running, err := r.cluster.Client(t).NewProducer(client.WithDeliveryTimeout(20 * time.Second))
	r.must(err)
	defer func() { _ = running.Close(r.ctx) }()
	r.produceBySDK(running, "old 3", 3)

	old, err := admin.DeleteTopic(r.ctx, topic)
	r.must(err)
	r.createTopic(client.TopicConfig{})
	leader, _, _ = r.leader()
	toOld := plain("late")
	toOld.Topic = &dataplanev1.ProduceEntry_TopicId{TopicId: old}
	r.wantRefused("a write to the old id", r.produce(leader, durable, toOld), refusalv1.Reason_REASON_UNKNOWN_TOPIC)
	r.eventually("every agent has heard of the new topic", func() bool { return r.everyAgentSays(0) })
	r.wantLog()
	r.wantRefused("the old producer's next batch", r.produce(leader, durable, r.numbered(id, 0, 3, "next")), refusalv1.Reason_REASON_PRODUCER_UNKNOWN)
	r.wantStored("the old producer's id from the start", r.produce(leader, durable, r.numbered(id, 0, 0, "new 0")), 0)
	_, err = r.fetch(leader, 3, 0)
	if connect.CodeOf(err) != connect.CodeOutOfRange || workload.Refusal(err).GetReason() != refusalv1.Reason_REASON_OUT_OF_RANGE {
		t.Errorf("a fetch at an old offset: %v", err)
	}
	r.goOn(running)
}

// everyAgentSays tells whether the topic ends there at each agent.
func (r *rig) everyAgentSays(end int64) bool {
	return !slices.ContainsFunc(r.cluster.Agents, func(agent *cluster.Agent) bool {
		ends, err := r.at(agent).Ends(r.ctx, topic, 1)
		return err != nil || ends[0] != end
	})
}

// goOn lets a producer that has written to the old topic write on. It may be told that its topic is gone, or write to the new one; what it was told is what is so.
func (r *rig) goOn(running *client.Producer) {
	r.Helper()
	want := []string{"new 0"}
	for i := range 5 {
		record := &client.Record{Topic: topic, Value: []byte(fmt.Sprint("running ", i))}
		done := make(chan error, 1)
		running.Produce(r.ctx, record, func(_ *client.Record, err error) { done <- err })
		err := <-done
		switch {
		case err == nil && record.Offset != int64(len(want)):
			r.Errorf("running %d: stored at %d after %d records", i, record.Offset, len(want))
		case err == nil:
			want = append(want, string(record.Value))
		case client.WrittenBy(err) != client.SurelyNotWritten:
			r.Errorf("running %d: %v", i, err)
		}
	}
	r.wantLog(want...)
}
