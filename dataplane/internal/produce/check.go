package produce

import (
	"context"
	"fmt"
	"math/rand/v2"

	"connectrpc.com/connect/v2"

	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// entry is one entry of a request on its way. One goroutine at a time uses it.
type entry struct {
	topic     route.Topic
	partition partition.ID
	batch     *ingest.Batch
	buffered  bool // ACKS_BUFFERED

	slow     bool // its partition could not take everything at once: place sees to it
	appended bool // the batch's bytes have been with a ledger: they are not written to again
	pending  *ingest.Pending
	repeat   bool            // pending is an earlier copy's
	epoch    partition.Epoch // of the tenure that took it
	outcome  *dataplanev1.ProduceOutcome
}

// check refuses the whole call, before anything is appended, for input that can never be stored.
func (s *Service) check(ctx context.Context, req *dataplanev1.ProduceRequest) ([]*entry, error) {
	topics, plain := map[string]route.Topic{}, joinable(req.GetEntries())
	entries := make([]*entry, len(req.GetEntries()))
	for i, in := range req.GetEntries() {
		e, err := s.checkEntry(ctx, req.GetAcks(), in, topics, plain)
		if err != nil {
			return nil, atEntry(err, i, len(entries) > 1)
		}
		entries[i] = e
	}
	return entries, nil
}

func (s *Service) checkEntry(
	ctx context.Context, acks dataplanev1.Acks, in *dataplanev1.ProduceEntry, topics map[string]route.Topic, plain bool,
) (*entry, error) {
	topic, err := s.topic(ctx, in, topics)
	if err != nil {
		return nil, err
	}
	e := &entry{topic: topic, buffered: acks == dataplanev1.Acks_ACKS_BUFFERED}
	if e.buffered && !topic.AllowBufferedAcks {
		r := refusal.New(refusalv1.Reason_REASON_BUFFERED_ACKS_NOT_ALLOWED, "topic %q does not allow buffered acks: ask for durable ones", topic.Name)
		r.Topic = topic.Name
		return nil, refusal.Error(r)
	}
	if in.Partition != nil && !topic.Has(in.GetPartition()) {
		return nil, route.UnknownPartition(topic, in.GetPartition())
	}
	batch, key, err := s.readBatch(ctx, in, topic, plain)
	if err != nil {
		return nil, inTopic(err, topic, in.Partition)
	}
	e.batch, e.partition = batch, topic.Partition(s.choose(in, topic, key))
	return e, nil
}

// topic resolves each topic once a request.
func (s *Service) topic(ctx context.Context, in *dataplanev1.ProduceEntry, topics map[string]route.Topic) (route.Topic, error) {
	label := in.GetTopicName() + "/" + in.GetTopicId() // names have no slash
	if topic, ok := topics[label]; ok {
		return topic, nil
	}
	topic, err := s.Table.ResolveTopic(ctx, in.GetTopicName(), in.GetTopicId())
	if err == nil {
		topics[label] = topic
	}
	return topic, err
}

// choose finds the partition of an entry that names none: by its first record's key, or one that this agent leads.
func (s *Service) choose(in *dataplanev1.ProduceEntry, topic route.Topic, key []byte) int32 {
	if in.Partition != nil {
		return in.GetPartition()
	}
	if key != nil {
		return partitionOf(key, topic.PartitionCount)
	}
	start := rand.Int32N(topic.PartitionCount)
	for i := range min(topic.PartitionCount, 256) {
		n := (start + i) % topic.PartitionCount
		if _, leads := s.Desk.Leads(topic.Partition(n)); leads {
			return n
		}
	}
	return start
}

// atEntry says which entry of the request is at fault, and that nothing was written.
func atEntry(err error, index int, several bool) error {
	r, ok := refusal.Of(err)
	if !ok {
		return err
	}
	if several {
		at := int32(index)
		r.Entry = &at
	}
	if r.GetField() != "" {
		r.Field = fmt.Sprintf("entries[%d].%s", index, r.GetField())
	}
	return surelyNot(r)
}

func inTopic(err error, topic route.Topic, number *int32) error {
	r, ok := refusal.Of(err)
	if !ok {
		return err
	}
	r.Topic, r.Partition = topic.Name, number
	return refusal.Error(r)
}

// surelyNot is the error of a refused call that wrote nothing.
func surelyNot(r *refusal.Refusal) *connect.Error {
	r.Written = refusalv1.Written_WRITTEN_SURELY_NOT
	return refusal.Error(r)
}
