package workload

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"

	"github.com/streamhouse/streamhouse/e2e/history"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Agent asks one agent, and no other, by raw RPCs.
type Agent struct {
	dataplanev1connect.RecordServiceClient
}

// NewAgent asks the agent at url with an API key.
func NewAgent(url, key string) *Agent { return newAgent(http.DefaultTransport, url, key) }

func newAgent(over http.RoundTripper, url, key string) *Agent {
	transport := connecthttp.NewTransport(&http.Client{Transport: keyed{key, over}}, url,
		connecthttp.WithReadMaxBytes(16<<20), connecthttp.WithCompressors())
	return &Agent{dataplanev1connect.NewRecordServiceClient(connect.NewClient(transport))}
}

// keyed sends an API key with every request.
type keyed struct {
	key  string
	next http.RoundTripper
}

func (k keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+k.key)
	return k.next.RoundTrip(r)
}

// Ends asks where each of the first n partitions of a topic ends.
func (a *Agent) Ends(ctx context.Context, topic string, n int32) ([]int64, error) {
	request := &dataplanev1.ListOffsetsRequest{}
	for p := range n {
		request.Partitions = append(request.Partitions, &dataplanev1.ListOffsetsPartition{
			Topic:     &dataplanev1.ListOffsetsPartition_TopicName{TopicName: topic},
			Partition: p,
			Position:  &dataplanev1.OffsetPosition{Position: &dataplanev1.OffsetPosition_Edge{Edge: dataplanev1.OffsetEdge_OFFSET_EDGE_LATEST}},
		})
	}
	response, err := a.ListOffsets(ctx, request)
	if err != nil {
		return nil, err
	}
	ends := make([]int64, 0, n)
	for _, o := range response.GetOffsets() {
		if o.GetRefusal() != nil {
			ends = append(ends, -1)
			continue
		}
		ends = append(ends, o.GetOffset())
	}
	return ends, nil
}

// ProduceHere stores one record durably through this agent or not at all: it is told not to forward.
func (a *Agent) ProduceHere(ctx context.Context, topic string, partition int32, value string) (int64, error) {
	return a.produce(ctx, topic, partition, value, true)
}

// ProduceAnywhere stores one record durably, wherever this agent forwards it to.
func (a *Agent) ProduceAnywhere(ctx context.Context, topic string, partition int32, value string) (int64, error) {
	return a.produce(ctx, topic, partition, value, false)
}

func (a *Agent) produce(ctx context.Context, topic string, partition int32, value string, here bool) (int64, error) {
	response, err := a.Produce(ctx, &dataplanev1.ProduceRequest{NoForward: here, Entries: []*dataplanev1.ProduceEntry{{
		Topic:     &dataplanev1.ProduceEntry_TopicName{TopicName: topic},
		Partition: &partition,
		Payload:   &dataplanev1.ProduceEntry_Records{Records: &dataplanev1.PlainRecords{Records: []*dataplanev1.Record{{Value: []byte(value)}}}},
	}}})
	if err != nil {
		return -1, err
	}
	return response.GetOutcomes()[0].GetStored().GetBaseOffset(), nil
}

// Refusal is the typed detail of an error that a server gave; nil: it gave none.
func Refusal(err error) *refusalv1.Refusal {
	verdict, ok := errors.AsType[*connect.Error](err)
	if !ok || !verdict.IsRemote() {
		return nil
	}
	for _, detail := range verdict.Details() {
		if message, err := connectproto.UnmarshalErrorDetail(detail); err == nil {
			if refusal, ok := message.(*refusalv1.Refusal); ok {
				return refusal
			}
		}
	}
	return nil
}

// SurelyNot says whether a refusal promises that nothing was written.
func SurelyNot(r *refusalv1.Refusal) bool {
	return r.GetWritten() == refusalv1.Written_WRITTEN_SURELY_NOT
}

// ReadLog reads a topic from its beginning until each partition has nothing more. All partitions are read at once: an agent that does not lead them asks
// the catalog once a second, for everybody who waits, before it says that there is no more.
func (a *Agent) ReadLog(ctx context.Context, t testing.TB, topic string) []history.Read {
	t.Helper()
	metadata, err := a.GetMetadata(ctx, &dataplanev1.GetMetadataRequest{Topics: []string{topic}})
	if err != nil {
		t.Fatalf("metadata: %v", err)
	}
	partitions := metadata.GetTopics()[0].GetPartitions()
	logs, errs := make([][]history.Read, len(partitions)), make([]error, len(partitions))
	var reading sync.WaitGroup
	for i, p := range partitions {
		reading.Go(func() { logs[i], errs[i] = a.readPartition(ctx, topic, p.GetPartition()) })
	}
	reading.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return slices.Concat(logs...)
}

func (a *Agent) readPartition(ctx context.Context, topic string, partition int32) ([]history.Read, error) {
	var log []history.Read
	for offset := int64(0); ; {
		response, err := a.Fetch(ctx, &dataplanev1.FetchRequest{Decode: true, Partitions: []*dataplanev1.FetchPartition{{
			Topic: &dataplanev1.FetchPartition_TopicName{TopicName: topic}, Partition: partition, Offset: offset,
		}}})
		if err != nil {
			return nil, fmt.Errorf("fetch %s/%d from %d: %w", topic, partition, offset, err)
		}
		fetched := response.GetPartitions()[0]
		for _, r := range fetched.GetRecords() {
			log = append(log, history.Read{Partition: partition, Offset: r.GetOffset(), ID: string(r.GetValue())})
		}
		if len(fetched.GetRecords()) == 0 {
			return log, nil
		}
		offset = fetched.GetNextOffset()
	}
}

// startProbes asks every agent ten times a second where the partitions end, until ctx ends. Agents that do not answer are not probed.
func (w *Workload) startProbes(ctx context.Context, t testing.TB) {
	t.Helper()
	metadata, err := w.cluster.Client(t).Metadata(ctx, w.options.Topic)
	if err != nil {
		t.Fatalf("metadata: %v", err)
	}
	partitions := int32(len(metadata.Topics[0].Leaders))
	for _, agent := range w.cluster.Agents {
		raw := newAgent(w.cluster.HTTP(), agent.URL, w.cluster.ClientKey)
		w.reading.Go(func() {
			for ctx.Err() == nil {
				w.probe(ctx, raw, agent.ID, partitions)
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
}

func (w *Workload) probe(ctx context.Context, agent *Agent, id string, partitions int32) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	began := w.record.Now()
	ends, err := agent.Ends(ctx, w.options.Topic, partitions)
	if err != nil {
		return // an agent that cannot know says so, or is down: it has told nothing wrong
	}
	for partition, end := range ends {
		if end >= 0 {
			w.record.Probed(history.Probe{Agent: id, Began: began, Partition: int32(partition), End: end})
		}
	}
}
