package controltest

import (
	"context"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// Commit decides by section 4 of the protocol; what was decided once is answered again.
func (c *Control) Commit(_ context.Context, req *controlplanev1.CommitRequest) (*controlplanev1.CommitResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sessions[req.GetSessionId()]; s != nil && s.revoked {
		_, err := c.live(s.id)
		return nil, err
	}
	res := &controlplanev1.CommitResponse{}
	for _, o := range req.GetObjects() {
		outcome := c.objects[o.GetKey()]
		if outcome == nil {
			outcome = &controlplanev1.ObjectOutcome{Key: o.GetKey()}
			if c.sessions[req.GetSessionId()] == nil {
				outcome.Refusal = refusal.New(refusalv1.Reason_REASON_SESSION_EXPIRED, "no such session")
			}
			for _, s := range o.GetSegments() {
				c.checkDescribed(object.UUID(s.GetTopicId()))
				outcome.Segments = append(outcome.Segments, c.decide(req.GetSessionId(), o.GetKey(), s))
			}
			c.objects[o.GetKey()] = outcome
			c.commits++
		}
		res.Objects = append(res.Objects, clone(outcome))
	}
	return res, nil
}

func (c *Control) decide(session, key string, s *controlplanev1.SegmentCommit) *controlplanev1.SegmentOutcome {
	p := c.partitions[partition.ID{Topic: object.UUID(s.GetTopicId()), Number: s.GetPartition()}]
	if p == nil {
		return &controlplanev1.SegmentOutcome{Result: controlplanev1.SegmentResult_SEGMENT_RESULT_UNKNOWN_TOPIC, HighWatermark: -1}
	}
	result := controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED
	switch {
	case p.session != session || p.epoch != s.GetEpoch():
		result = controlplanev1.SegmentResult_SEGMENT_RESULT_FENCED
	case p.high != s.GetBaseOffset():
		result = controlplanev1.SegmentResult_SEGMENT_RESULT_OFFSET_MISMATCH
	case !p.follows(s.GetProducerBatches()):
		result = controlplanev1.SegmentResult_SEGMENT_RESULT_SEQUENCE_GAP
	default:
		p.take(key, s)
	}
	return &controlplanev1.SegmentOutcome{Result: result, HighWatermark: p.high, CurrentEpoch: p.epoch}
}

// checkDescribed holds every commit to P9.
func (c *Control) checkDescribed(topic object.UUID) {
	if t := c.topics[topic]; t != nil && !t.placed.GetDescribed() && !t.placed.GetDeleted() && c.undescribed != nil {
		c.undescribed(topic)
	}
}

// follows tells whether every batch follows its producer's last one.
func (p *part) follows(batches []*controlplanev1.ProducerBatch) bool {
	next := map[int64]int32{}
	for id, state := range p.producers {
		last := state.GetBatches()[len(state.GetBatches())-1]
		next[id] = recordbatch.NextSequence(last.GetBaseSequence(), last.GetRecordCount())
	}
	for _, b := range batches {
		if b.GetBaseSequence() != next[b.GetProducerId()] {
			return false
		}
		next[b.GetProducerId()] = recordbatch.NextSequence(b.GetBaseSequence(), b.GetRecordCount())
	}
	return true
}

func (p *part) take(key string, s *controlplanev1.SegmentCommit) {
	p.segments = append(p.segments, &controlplanev1.Segment{
		ObjectKey: key, BytePosition: s.GetBytePosition(), SizeBytes: s.GetSizeBytes(), Crc32C: s.GetCrc32C(), BaseOffset: s.GetBaseOffset(),
		RecordCount: s.GetRecordCount(), Epoch: s.GetEpoch(), MaxTimestampMs: s.GetMaxTimestampMs(),
	})
	p.high += int64(s.GetRecordCount())
	for _, b := range s.GetProducerBatches() {
		state := p.producers[b.GetProducerId()]
		if state == nil {
			state = &controlplanev1.ProducerState{ProducerId: b.GetProducerId(), ProducerEpoch: b.GetProducerEpoch()}
			p.producers[b.GetProducerId()] = state
		}
		state.Batches = append(state.Batches, clone(b))
		state.Batches = state.Batches[max(0, len(state.Batches)-5):]
	}
}

// Lookup reads partitions.
func (c *Control) Lookup(_ context.Context, req *controlplanev1.LookupRequest) (*controlplanev1.LookupResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	res := &controlplanev1.LookupResponse{}
	for _, q := range req.GetPartitions() {
		out := &controlplanev1.LookupOutcome{TopicId: q.GetTopicId(), Partition: q.GetPartition()}
		res.Outcomes = append(res.Outcomes, out)
		p := c.partitions[partition.ID{Topic: object.UUID(q.GetTopicId()), Number: q.GetPartition()}]
		if p == nil {
			out.Refusal = refusal.New(refusalv1.Reason_REASON_UNKNOWN_TOPIC, "no such partition")
			continue
		}
		out.Epoch, out.LeaderSessionId, out.HighWatermark = p.epoch, p.session, p.high
		if at, ok := q.GetPosition().(*controlplanev1.LookupPartition_Offset); ok {
			for _, s := range p.segments {
				if s.GetBaseOffset()+int64(s.GetRecordCount()) > at.Offset && len(out.Segments) < 100 {
					out.Segments = append(out.Segments, clone(s))
				}
			}
		}
	}
	return res, nil
}

// LookupProducers reads producers.
func (c *Control) LookupProducers(_ context.Context, req *controlplanev1.LookupProducersRequest) (*controlplanev1.LookupProducersResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	res := &controlplanev1.LookupProducersResponse{}
	for _, q := range req.GetLookups() {
		out := &controlplanev1.ProducerLookupOutcome{}
		if p := c.partitions[partition.ID{Topic: object.UUID(q.GetTopicId()), Number: q.GetPartition()}]; p != nil {
			out.Epoch = p.epoch
			if state := p.producers[q.GetProducerId()]; state != nil {
				out.State = clone(state)
			}
		}
		res.Outcomes = append(res.Outcomes, out)
	}
	return res, nil
}

// AllocateProducerIds gives out ids.
func (c *Control) AllocateProducerIds(_ context.Context, req *controlplanev1.AllocateProducerIdsRequest) (*controlplanev1.AllocateProducerIdsResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.nextID
	c.nextID += int64(req.GetCount())
	return &controlplanev1.AllocateProducerIdsResponse{FirstProducerId: first}, nil
}

// Authenticate takes every key for a client's.
func (c *Control) Authenticate(context.Context, *controlplanev1.AuthenticateRequest) (*controlplanev1.AuthenticateResponse, error) {
	return &controlplanev1.AuthenticateResponse{KeyId: "key", Role: accessv1.Role_ROLE_CLIENT, AgentGroup: agentGroup}, nil
}
