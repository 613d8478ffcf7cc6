package produce

import (
	"context"
	"log/slog"

	"google.golang.org/protobuf/proto"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/peer"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// forward hands entries of one partition to its leader, once. Entries that surely were not written, because the leader was not reached or is
// not the leader any more, are left without an outcome; reached is false if there was no way to it.
func (s *Service) forward(ctx context.Context, leader route.Leader, entries []*entry) (reached bool) {
	s.countForward(leader, entries)
	res, err := s.Peers.ForwardProduce(ctx, leader.Address, &dataplanev1.ForwardProduceRequest{
		Produce: s.forwarded(entries), Epoch: leader.Epoch,
	})
	switch {
	case err != nil:
		s.forwardFailed(ctx, leader, entries, err)
	case len(res.GetOutcomes()) != len(entries):
		for _, e := range entries {
			e.outcome = s.unanswered(e)
		}
	default:
		for i, e := range entries {
			e.outcome = s.passOn(e, leader, res.GetOutcomes()[i])
		}
	}
	return err == nil || !peer.NeverSent(err)
}

func (s *Service) countForward(leader route.Leader, entries []*entry) {
	s.forwards.Add(1)
	size := 0
	for _, e := range entries {
		size += len(e.batch.Bytes)
	}
	s.Traffic.Forwarded(leader.Zone, s.Desk.Lately(entries[0].partition), size)
}

func (s *Service) forwarded(entries []*entry) *dataplanev1.ProduceRequest {
	req := &dataplanev1.ProduceRequest{Acks: dataplanev1.Acks_ACKS_DURABLE, NoForward: true}
	for _, e := range entries {
		if e.buffered {
			req.Acks = dataplanev1.Acks_ACKS_BUFFERED
		}
		out := &dataplanev1.ProduceEntry{
			Topic:     &dataplanev1.ProduceEntry_TopicId{TopicId: e.topic.ID.String()},
			Partition: new(e.partition.Number),
		}
		if records := plainRecords(e.batch); records != nil {
			out.Payload = &dataplanev1.ProduceEntry_Records{Records: &dataplanev1.PlainRecords{Records: records}}
		} else {
			out.Payload = &dataplanev1.ProduceEntry_Batch{Batch: e.batch.Bytes}
		}
		if e.batch.ExpectedOffset != ingest.Anywhere {
			out.ExpectedOffset = new(e.batch.ExpectedOffset)
		}
		req.Entries = append(req.Entries, out)
	}
	return req
}

// plainRecords lists the records of a batch that its leader may join with those of other calls, with the time that they have here; nil: it
// is to be forwarded as it is.
func plainRecords(b *ingest.Batch) []*dataplanev1.Record {
	if !b.Plain {
		return nil
	}
	info, err := recordbatch.Open(b.Bytes, recordbatch.Limits{}, nil)
	if err != nil {
		return nil // cannot be: it was built here
	}
	all, err := recordbatch.AppendRecords(nil, info)
	if err != nil {
		return nil
	}
	out := make([]*dataplanev1.Record, len(all))
	for i, r := range all {
		out[i] = &dataplanev1.Record{Key: r.Key, Value: r.Value, TimestampMs: new(r.Timestamp)}
		for _, h := range r.Headers {
			out[i].Headers = append(out[i].Headers, &dataplanev1.Header{Key: h.Key, Value: h.Value})
		}
	}
	return out
}

// forwardFailed: only proof says surely not: no connection was had, or the peer itself says so.
func (s *Service) forwardFailed(ctx context.Context, leader route.Leader, entries []*entry, err error) {
	s.Log.DebugContext(ctx, "forward came to nothing", slog.String("leader", leader.ID), slog.Any("error", err))
	r, verdict := refusal.FromError(err)
	for _, e := range entries {
		switch {
		case peer.NeverSent(err):
		case !verdict || r.GetWritten() != refusalv1.Written_WRITTEN_SURELY_NOT:
			e.outcome = s.unanswered(e)
		case r.GetReason() != refusalv1.Reason_REASON_NO_LEADER:
			e.outcome = s.refused(e, proto.CloneOf(r))
		}
	}
}

// passOn takes the leader's outcome for ours, unless it says that it does not lead: then the entry goes on waiting, or to whom it names.
func (s *Service) passOn(e *entry, asked route.Leader, out *dataplanev1.ProduceOutcome) *dataplanev1.ProduceOutcome {
	r := out.GetRefusal()
	if r.GetWritten() == refusalv1.Written_WRITTEN_SURELY_NOT {
		if reason := r.GetReason(); reason == refusalv1.Reason_REASON_NOT_LEADER || reason == refusalv1.Reason_REASON_NO_LEADER {
			s.sentOn(e, asked, r.GetLeader())
			return nil
		}
	}
	if out.GetOutcome() == nil {
		return s.unanswered(e)
	}
	return out
}

// sentOn takes word of a younger leader from the one that was asked.
func (s *Service) sentOn(e *entry, asked route.Leader, named *refusalv1.Leader) {
	if named.GetAgentId() == "" || named.GetAddress() == "" || named.GetEpoch() <= asked.Epoch {
		return
	}
	s.Table.Hear(route.Heard{Partition: e.partition, Leader: route.Leader{
		Agent: route.Agent{ID: named.GetAgentId(), Zone: named.GetZone(), Address: named.GetAddress()}, Epoch: named.GetEpoch(),
	}})
}
