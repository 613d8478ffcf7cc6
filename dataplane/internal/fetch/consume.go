package fetch

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// Consume streams a topic's records as they become readable; see record.proto.
func (s *Service) Consume(ctx context.Context, req *dataplanev1.ConsumeRequest, stream dataplanev1connect.RecordServiceConsumeServerStream) error {
	return s.consume(ctx, req, stream.Send)
}

// consume is Consume; send is called by this goroutine alone, and blocks while the caller is slow.
func (s *Service) consume(ctx context.Context, req *dataplanev1.ConsumeRequest, send func(*dataplanev1.ConsumeResponse) error) error {
	if err := s.authorize(ctx); err != nil {
		return err
	}
	topic, err := s.routes.ResolveTopic(ctx, req.GetTopicName(), req.GetTopicId())
	if err != nil {
		return err
	}
	wanted, err := positions(topic, req.GetPartitions())
	if err != nil {
		return err
	}
	ids := make([]partition.ID, len(wanted))
	for i, w := range wanted {
		ids[i] = w.target.id
	}
	sub := s.index.Subscribe(ids...) // before the positions are looked up: nothing is missed in between
	defer sub.Close()
	if err := s.list(ctx, wanted); err != nil {
		return err
	}
	r := newStream(s, sub, req.GetDecode())
	if len(req.GetPartitions()) == 0 {
		r.growing = &topic
	}
	for _, w := range wanted {
		if w.listed.GetRefusal() != nil {
			return refusal.Error(w.listed.GetRefusal())
		}
		w.target.offset = w.listed.GetOffset()
		r.add(w.target)
	}
	return s.pump(ctx, r, send)
}

// positions says where each partition is read from; without a choice, all of them from the end.
func positions(topic route.Topic, chosen []*dataplanev1.ConsumePartition) ([]*wanted, error) {
	if len(chosen) == 0 {
		end := &dataplanev1.OffsetPosition{Position: &dataplanev1.OffsetPosition_Edge{Edge: dataplanev1.OffsetEdge_OFFSET_EDGE_LATEST}}
		for n := range topic.PartitionCount {
			chosen = append(chosen, &dataplanev1.ConsumePartition{Partition: n, Position: end})
		}
	}
	seen := make(map[int32]struct{}, len(chosen))
	all := make([]*wanted, len(chosen))
	for i, c := range chosen {
		if _, twice := seen[c.GetPartition()]; twice {
			return nil, refusal.Invalid(fmt.Sprintf("partitions[%d].partition", i), "partition %d is named twice", c.GetPartition())
		}
		if c.GetPosition().GetOffset() < 0 {
			return nil, refusal.Invalid(fmt.Sprintf("partitions[%d].position.offset", i), "offset %d is negative", c.GetPosition().GetOffset())
		}
		seen[c.GetPartition()] = struct{}{}
		all[i] = newWanted(target{topic: topic, id: topic.Partition(c.GetPartition())}, c.GetPosition())
	}
	return all, nil
}

// pump sends what the reader reads, and signs of life, until one of them ends or this agent stops.
func (s *Service) pump(ctx context.Context, r *stream, send func(*dataplanev1.ConsumeResponse) error) error {
	ctx, cancel := context.WithCancel(ctx)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.run(ctx) })
	g.Go(func() error { return r.prefetch(ctx) })
	err := s.forward(ctx, r.out, send)
	cancel()
	_ = g.Wait() // if that was the cause, forward returned it
	return err
}

func (s *Service) forward(ctx context.Context, out <-chan *dataplanev1.FetchedPartition, send func(*dataplanev1.ConsumeResponse) error) error {
	idle := time.NewTimer(0) // the first sign says that the positions are found
	defer idle.Stop()
	for {
		res := &dataplanev1.ConsumeResponse{}
		select {
		case <-ctx.Done():
			return context.Cause(ctx) // the reader's refusal, or the caller has left
		case <-s.leaving:
			return s.moved()
		case <-s.stopping:
			return refusal.Stopping()
		case res.Fetched = <-out:
		case <-idle.C:
		}
		if err := send(res); err != nil {
			return err
		}
		idle.Reset(s.config.SignOfLife)
	}
}
