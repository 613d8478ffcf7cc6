package memory

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// defaultSegments are answered where a lookup does not say how many.
const defaultSegments = 100

// Lookup answers partitions and their segments.
func (s *Store) Lookup(_ context.Context, name store.AgentGroup, request *controlplanev1.LookupRequest) (*controlplanev1.LookupResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseUnserved(); err != nil {
		return nil, err
	}
	response := &controlplanev1.LookupResponse{}
	for i, l := range request.GetPartitions() {
		if _, err := uuid.FromBytes(l.GetTopicId()); err != nil {
			return nil, invalid(fmt.Sprintf("partitions[%d].topic_id", i), "must be 16 bytes")
		}
		outcome := &controlplanev1.LookupOutcome{TopicId: l.GetTopicId(), Partition: l.GetPartition()}
		t, p := s.find(l.GetTopicId(), l.GetPartition())
		switch {
		case t != nil && t.group.name != name:
			outcome.Refusal = refuseOtherGroup(t, l) // P7
		case p == nil:
			outcome.Refusal = refuseUnknown(t, l)
		default:
			p.describe(l, outcome)
			s.measure(outcome.GetSegments())
		}
		response.Outcomes = append(response.Outcomes, outcome)
	}
	return response, nil
}

// measure adds how large the objects are.
func (s *Store) measure(segments []*controlplanev1.Segment) {
	for _, g := range segments {
		g.ObjectSizeBytes = s.objects[g.GetObjectKey()].sizeBytes
	}
}

func (p *partition) describe(l *controlplanev1.LookupPartition, outcome *controlplanev1.LookupOutcome) {
	outcome.Epoch, outcome.LogStartOffset, outcome.HighWatermark = p.epoch, p.logStart, p.highWatermark
	if p.leader != nil {
		outcome.LeaderSessionId = p.leader.id.String()
	}
	most := int(l.GetMaxSegments())
	if most == 0 {
		most = defaultSegments
	}
	begun := false
	for _, g := range p.segments {
		if begun = begun || g.isFirst(l, p.logStart); begun && len(outcome.Segments) < most {
			outcome.Segments = append(outcome.Segments, g.message())
		}
	}
}

// isFirst: it holds the offset; or a record of it that can be read, and of none before, may be as young as the time.
func (g segment) isFirst(l *controlplanev1.LookupPartition, logStart int64) bool {
	switch at := l.GetPosition().(type) {
	case *controlplanev1.LookupPartition_Offset:
		return at.Offset < g.end()
	case *controlplanev1.LookupPartition_TimestampMs:
		return at.TimestampMs <= g.entry.GetMaxTimestampMs() && g.end() > logStart
	default:
		return false
	}
}

func (g segment) message() *controlplanev1.Segment {
	return &controlplanev1.Segment{
		ObjectKey: g.key, BytePosition: g.entry.GetBytePosition(), SizeBytes: g.entry.GetSizeBytes(), Crc32C: g.entry.GetCrc32C(),
		BaseOffset: g.entry.GetBaseOffset(), RecordCount: g.entry.GetRecordCount(), Epoch: g.entry.GetEpoch(),
		MaxTimestampMs: g.entry.GetMaxTimestampMs(),
	}
}

// LookupProducers answers what is known of producers. Of another agent group's partitions nothing is.
func (s *Store) LookupProducers(_ context.Context, name store.AgentGroup, request *controlplanev1.LookupProducersRequest) (
	*controlplanev1.LookupProducersResponse, error,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseUnserved(); err != nil {
		return nil, err
	}
	response := &controlplanev1.LookupProducersResponse{}
	for i, l := range request.GetLookups() {
		if _, err := uuid.FromBytes(l.GetTopicId()); err != nil {
			return nil, invalid(fmt.Sprintf("partitions[%d].topic_id", i), "must be 16 bytes")
		}
		outcome := &controlplanev1.ProducerLookupOutcome{}
		if t, p := s.find(l.GetTopicId(), l.GetPartition()); p != nil && t.group.name == name {
			outcome.Epoch = p.epoch
			if state, known := p.producers[l.GetProducerId()]; known {
				outcome.State = state.message(l.GetProducerId())
			}
		}
		response.Outcomes = append(response.Outcomes, outcome)
	}
	return response, nil
}

// AllocateProducerIds takes a range that is never given out again.
func (s *Store) AllocateProducerIds(_ context.Context, request *controlplanev1.AllocateProducerIdsRequest) (
	*controlplanev1.AllocateProducerIdsResponse, error,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseUnserved(); err != nil {
		return nil, err
	}
	first := s.producerID
	s.producerID += int64(request.GetCount())
	return &controlplanev1.AllocateProducerIdsResponse{FirstProducerId: first}, nil
}
