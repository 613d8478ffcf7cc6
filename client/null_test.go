package client

import (
	"context"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// nullLeader leads every partition and stores nothing: it answers as fast as a server can, so that what is measured is the SDK.
type nullLeader struct {
	dataplanev1connect.UnimplementedRecordServiceHandler

	url        string
	partitions int32
	requests   atomic.Int64
	batches    atomic.Int64
	bytes      atomic.Int64
	ids        atomic.Int64
	fetched    []byte // what a Fetch answers for each partition, with base offsets to be written in
	each       int64  // its records
	offsets    []atomic.Int64
}

const nullTopic = "00000000-0000-4000-8000-000000000001"

func newNullLeader(url string, partitions int32) *nullLeader {
	return &nullLeader{url: url, partitions: partitions, offsets: make([]atomic.Int64, partitions)}
}

func (n *nullLeader) server() *connect.Server {
	s := connect.NewServer()
	dataplanev1connect.RegisterRecordServiceHandler(s, n)
	return s
}

func (n *nullLeader) leader() *refusalv1.Leader {
	return &refusalv1.Leader{AgentId: "null", Address: n.url, Epoch: 1}
}

func (n *nullLeader) GetMetadata(_ context.Context, r *dataplanev1.GetMetadataRequest) (*dataplanev1.GetMetadataResponse, error) {
	answer := &dataplanev1.GetMetadataResponse{Agents: []*dataplanev1.AgentMetadata{{AgentId: "null", Address: n.url}}}
	for _, name := range r.GetTopics() {
		t := &dataplanev1.TopicMetadata{Name: name, TopicId: nullTopic, MaxRecordBytes: 1 << 20, AllowBufferedAcks: true}
		for p := range n.partitions {
			t.Partitions = append(t.Partitions, &dataplanev1.PartitionMetadata{Partition: p, Leader: n.leader()})
		}
		answer.Topics = append(answer.Topics, t)
	}
	return answer, nil
}

func (n *nullLeader) AllocateProducerId(
	context.Context, *dataplanev1.AllocateProducerIdRequest,
) (*dataplanev1.AllocateProducerIdResponse, error) {
	return &dataplanev1.AllocateProducerIdResponse{ProducerId: n.ids.Add(1)}, nil
}

func (n *nullLeader) Produce(_ context.Context, r *dataplanev1.ProduceRequest) (*dataplanev1.ProduceResponse, error) {
	n.requests.Add(1)
	n.batches.Add(int64(len(r.GetEntries())))
	answer := &dataplanev1.ProduceResponse{}
	for _, e := range r.GetEntries() {
		n.bytes.Add(int64(len(e.GetBatch())))
		count := int64(binary.BigEndian.Uint32(e.GetBatch()[57:61]))
		base := n.offsets[e.GetPartition()].Add(count) - count
		answer.Outcomes = append(answer.Outcomes, &dataplanev1.ProduceOutcome{
			TopicId: nullTopic, Partition: e.GetPartition(), Leader: n.leader(),
			Outcome: &dataplanev1.ProduceOutcome_Stored{Stored: &dataplanev1.Stored{BaseOffset: base}},
		})
	}
	return answer, nil
}

// stock fills what Fetch answers: a batch of values for each partition.
func (n *nullLeader) stock(b testing.TB, codec recordbatch.Codec, values [][]byte) {
	b.Helper()
	builder := recordbatch.NewBuilder(codec, recordbatch.Limits{})
	for _, v := range values {
		if err := builder.Append(1_700_000_000_000, nil, v, nil); err != nil {
			b.Fatal(err)
		}
	}
	encoded, err := builder.Build(recordbatch.NoProducer())
	if err != nil {
		b.Fatal(err)
	}
	n.fetched, n.each = slices.Clone(encoded), int64(len(values))
}

func (n *nullLeader) ListOffsets(_ context.Context, r *dataplanev1.ListOffsetsRequest) (*dataplanev1.ListOffsetsResponse, error) {
	answer := &dataplanev1.ListOffsetsResponse{}
	for _, q := range r.GetPartitions() {
		answer.Offsets = append(answer.Offsets, &dataplanev1.ListedOffset{TopicId: nullTopic, Partition: q.GetPartition()})
	}
	return answer, nil
}

// Fetch answers the same batch again and again, at the offset that was asked for.
func (n *nullLeader) Fetch(_ context.Context, r *dataplanev1.FetchRequest) (*dataplanev1.FetchResponse, error) {
	n.requests.Add(1)
	answer := &dataplanev1.FetchResponse{}
	budget := int(r.GetMaxBytes())
	for _, q := range r.GetPartitions() {
		f := &dataplanev1.FetchedPartition{TopicId: nullTopic, Partition: q.GetPartition(), NextOffset: q.GetOffset()}
		for most := budget / len(r.GetPartitions()); most > 0 || len(f.Batches) == 0; most -= len(n.fetched) {
			at := len(f.GetBatches())
			f.Batches = append(f.Batches, n.fetched...)
			if err := recordbatch.Stamp(f.Batches[at:], f.NextOffset, 1); err != nil {
				return nil, err
			}
			f.NextOffset += n.each
		}
		n.bytes.Add(int64(len(f.GetBatches())))
		answer.Partitions = append(answer.Partitions, f)
	}
	return answer, nil
}
