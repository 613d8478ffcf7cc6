package agent_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/controltest"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

func TestMain(m *testing.M) {
	if settings := os.Getenv(producerEnv); settings != "" {
		if err := producer(settings); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// story runs a test on virtual time, in a cluster with one topic "orders".
type story struct {
	*controltest.Cluster
	t     *testing.T
	topic object.UUID
}

func tell(t *testing.T, partitions int32, f func(*story)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &story{Cluster: controltest.NewCluster(t), t: t}
		buffered := true
		size := int32(1 << 20)
		s.topic = s.Control.CreateTopic("orders", partitions, &controlplanev1.TopicConfig{AllowBufferedAcks: &buffered, MaxRecordBytes: &size})
		f(s)
	})
}

func (s *story) part(n int32) partition.ID { return partition.ID{Topic: s.topic, Number: n} }

// ctx ends with the test, or after d of virtual time.
func (s *story) ctx(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), d)
	s.t.Cleanup(cancel)
	return ctx
}

// batch builds a batch of one record. seq < 0: not idempotent.
func (s *story) batch(value string, producer int64, seq int32) []byte {
	s.t.Helper()
	b := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
	if err := b.Append(1, nil, []byte(value), nil); err != nil {
		s.t.Fatal(err)
	}
	who := recordbatch.NoProducer()
	if seq >= 0 {
		who = recordbatch.Producer{ID: producer, BaseSequence: seq}
	}
	out, err := b.AppendBatch(nil, who)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func request(n int32, batch []byte) *dataplanev1.ProduceRequest {
	return &dataplanev1.ProduceRequest{Entries: []*dataplanev1.ProduceEntry{{
		Topic:     &dataplanev1.ProduceEntry_TopicName{TopicName: "orders"},
		Partition: &n,
		Payload:   &dataplanev1.ProduceEntry_Batch{Batch: batch},
	}}}
}

// produce sends one record and returns its offset, or the refusal.
func (s *story) produce(ctx context.Context, n *controltest.Node, p int32, batch []byte) (int64, *refusalv1.Refusal) {
	s.t.Helper()
	res, err := n.Client.Produce(ctx, request(p, batch))
	return s.outcome(res, err)
}

func (s *story) outcome(res *dataplanev1.ProduceResponse, err error) (int64, *refusalv1.Refusal) {
	s.t.Helper()
	if err != nil {
		r, ok := refusal.Of(err)
		if !ok {
			s.t.Fatalf("an error without a refusal: %v (%v)", err, connect.CodeOf(err))
		}
		return -1, r
	}
	return res.GetOutcomes()[0].GetStored().GetBaseOffset(), nil
}

// store is produce that must succeed, at an offset.
func (s *story) store(n *controltest.Node, p int32, batch []byte, want int64) {
	s.t.Helper()
	got, r := s.produce(s.ctx(30*time.Second), n, p, batch)
	if r != nil || got != want {
		s.t.Fatalf("stored at %d, refusal %v; want offset %d", got, r, want)
	}
}

// read fetches all values of a partition, and checks that offsets are dense.
func (s *story) read(n *controltest.Node, p int32) []string {
	s.t.Helper()
	var values []string
	for {
		res, err := n.Client.Fetch(s.ctx(10*time.Second), &dataplanev1.FetchRequest{Decode: true, Partitions: []*dataplanev1.FetchPartition{{
			Topic: &dataplanev1.FetchPartition_TopicName{TopicName: "orders"}, Partition: p, Offset: int64(len(values)),
		}}})
		if err != nil {
			s.t.Fatal(err)
		}
		records := res.GetPartitions()[0].GetRecords()
		if len(records) == 0 {
			return values
		}
		for _, r := range records {
			if r.GetOffset() != int64(len(values)) {
				s.t.Fatalf("offset %d follows %d records", r.GetOffset(), len(values))
			}
			values = append(values, string(r.GetValue()))
		}
	}
}

// leads waits until an agent leads a partition, and returns the epoch.
func (s *story) leads(n *controltest.Node, p int32) int32 {
	s.t.Helper()
	for range 1200 {
		if id, epoch := s.Control.Leader(s.part(p)); id == n.ID {
			return epoch
		}
		time.Sleep(50 * time.Millisecond)
	}
	id, epoch := s.Control.Leader(s.part(p))
	s.t.Fatalf("partition %d is led by %q in epoch %d, want %q", p, id, epoch, n.ID)
	return 0
}
