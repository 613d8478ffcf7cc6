package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/client/recordbatch"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"

	"github.com/streamhouse/streamhouse/cli/internal/histogram"
)

// Delivery is how long records take to a consumer, from when they were meant to be sent.
type Delivery struct {
	// Agent that the consumer asked; it leads none of the partitions that it was asked for.
	Agent string `json:"agent"`
	histogram.Distribution
}

// delivery consumes from an agent that does not lead, and times what comes.
type delivery struct {
	agent      client.AgentMetadata
	topic      string
	partitions []int32
	load       *load
	tally      *tally
	latency    histogram.Histogram
	stop       context.CancelFunc
	running    sync.WaitGroup
	err        error
}

// errLeadsAll says that there is nothing to be measured.
var errLeadsAll = errors.New("delivery was not measured: it needs an agent that does not lead the partition")

// watchDelivery starts to consume from the agent that leads the fewest partitions, those that it does not lead.
func watchDelivery(ctx context.Context, target Target, sdk *client.Client, topic string, l *load, t *tally) (*delivery, error) {
	m, err := sdk.Metadata(ctx, topic)
	if err != nil {
		return nil, err
	}
	d := &delivery{topic: topic, load: l, tally: t}
	for _, a := range m.Agents {
		var others []int32
		for p, leader := range m.Topics[0].Leaders {
			if leader.AgentID != a.ID {
				others = append(others, int32(p))
			}
		}
		if len(others) > len(d.partitions) {
			d.agent, d.partitions = a, others
		}
	}
	if len(d.partitions) == 0 {
		return nil, errLeadsAll
	}
	ctx, d.stop = context.WithCancel(ctx)
	d.running.Go(func() { d.err = d.consume(ctx, target.APIKey) })
	return d, nil
}

func (d *delivery) consume(ctx context.Context, apiKey string) error {
	caller := httpClient()
	defer caller.CloseIdleConnections()
	request := &dataplanev1.ConsumeRequest{Topic: &dataplanev1.ConsumeRequest_TopicName{TopicName: d.topic}}
	for _, p := range d.partitions {
		request.Partitions = append(request.Partitions, &dataplanev1.ConsumePartition{
			Partition: p,
			Position:  &dataplanev1.OffsetPosition{Position: &dataplanev1.OffsetPosition_Edge{Edge: dataplanev1.OffsetEdge_OFFSET_EDGE_EARLIEST}},
		})
	}
	stream, err := agentClient(caller, apiKey, d.agent.Address).Consume(ctx, request)
	if err != nil {
		return d.unlessStopped(ctx, err)
	}
	defer stream.Close()
	scratch := recordbatch.AcquireScratch()
	defer scratch.Release()
	for {
		answer, err := stream.Receive()
		if err != nil {
			return d.unlessStopped(ctx, err)
		}
		if err := d.take(answer.GetFetched().GetBatches(), scratch); err != nil {
			return err
		}
	}
}

func (d *delivery) unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return fmt.Errorf("consume from %s: %w", d.agent.ID, err)
	}
	return nil
}

// take times every record of the batches.
func (d *delivery) take(batches []byte, scratch *recordbatch.Scratch) error {
	now := time.Now()
	for batch, err := range recordbatch.Split(batches) {
		if err != nil {
			return err
		}
		info, err := recordbatch.Open(batch, recordbatch.Limits{}, scratch)
		if err != nil {
			return err
		}
		var v recordbatch.View
		reader := recordbatch.NewReader(info)
		for reader.Next(&v) {
			if _, n, err := d.load.payload.readStamp(v.Value); err == nil {
				d.arrived(n, now)
			}
		}
		if err := reader.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (d *delivery) arrived(n int64, now time.Time) {
	plan := d.load.plan.Load()
	if plan == nil || n < plan.from {
		return
	}
	if due := plan.due(n - plan.from); d.tally.counted.Load().holds(due) {
		d.latency.Add(now.Sub(due))
	}
}

// await waits until so many have arrived, for a while, and ends the stream.
func (d *delivery) await(ctx context.Context, count int64) (*Delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, deliveryGrace)
	defer cancel()
	for d.latency.Count() < count && pause(ctx, pollEvery) {
		continue
	}
	d.stop()
	d.running.Wait()
	if d.err != nil {
		return nil, d.err
	}
	return &Delivery{Agent: d.agent.ID, Distribution: d.latency.Distribution()}, nil
}

// deliveryGrace is how long the last records may take.
const deliveryGrace = 10 * time.Second
