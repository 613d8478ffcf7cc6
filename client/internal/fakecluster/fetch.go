package fakecluster

import (
	"context"
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

func (s *records) Fetch(ctx context.Context, r *dataplanev1.FetchRequest) (*dataplanev1.FetchResponse, error) {
	timer := time.NewTimer(time.Duration(r.GetMaxWaitMs()) * time.Millisecond)
	defer timer.Stop()
	for late := false; ; {
		s.cluster.mu.Lock()
		changed := s.cluster.changed
		answer, something := s.cluster.fetch(r)
		leaving := s.agent.leaving
		s.cluster.mu.Unlock()
		if leaving {
			return nil, Error(Refusal(refusalv1.Reason_REASON_MOVED, 0, "this agent leaves"))
		}
		if something || late {
			if refused := answer.GetPartitions()[0].GetRefusal(); refused != nil && len(answer.GetPartitions()) == 1 {
				return nil, Error(refused)
			}
			return answer, nil
		}
		select {
		case <-changed:
		case <-timer.C:
			late = true
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// fetch reads what there is, and reports whether that is worth an answer. Requires mu held.
func (c *Cluster) fetch(r *dataplanev1.FetchRequest) (*dataplanev1.FetchResponse, bool) {
	answer := &dataplanev1.FetchResponse{}
	budget, something := int(r.GetMaxBytes()), false
	for _, q := range r.GetPartitions() {
		f := &dataplanev1.FetchedPartition{TopicId: q.GetTopicId(), Partition: q.GetPartition(), NextOffset: q.GetOffset()}
		answer.Partitions = append(answer.Partitions, f)
		t := c.find(q.GetTopicId(), q.GetTopicName())
		p, refused := t.at(q.GetPartition())
		if refused == nil {
			f.LogStartOffset, f.HighWatermark = p.start, p.next
			refused = p.inRange(q.GetOffset())
		}
		if refused != nil {
			f.Refusal, something = refused, true
			continue
		}
		p.read(f, &budget)
		something = something || f.GetNextOffset() > q.GetOffset()
	}
	return answer, something
}

func (t *topic) at(partition int32) (*partition, *refusalv1.Refusal) {
	switch {
	case t == nil:
		return nil, Refusal(refusalv1.Reason_REASON_UNKNOWN_TOPIC, 0, "no such topic")
	case int(partition) >= len(t.partitions):
		return nil, Refusal(refusalv1.Reason_REASON_UNKNOWN_PARTITION, 0, "no such partition")
	}
	return t.partitions[partition], nil
}

func (p *partition) inRange(offset int64) *refusalv1.Refusal {
	if offset >= p.start && offset <= p.next {
		return nil
	}
	r := Refusal(refusalv1.Reason_REASON_OUT_OF_RANGE, 0, "offsets %d to %d", p.start, p.next)
	r.Offsets = &refusalv1.Offsets{LogStartOffset: p.start, HighWatermark: p.next}
	return r
}

// read appends whole batches from the wanted offset on until the budget is used up. Requires mu held.
func (p *partition) read(f *dataplanev1.FetchedPartition, budget *int) {
	for _, s := range p.log {
		if s.next <= f.GetNextOffset() {
			continue
		}
		if *budget <= 0 {
			return
		}
		f.SkippedOffsets += max(0, s.base-f.GetNextOffset())
		f.Batches = append(f.Batches, s.batch...)
		f.NextOffset = s.next
		*budget -= len(s.batch)
	}
	f.SkippedOffsets += p.next - f.GetNextOffset()
	f.NextOffset = p.next
}

func (s *records) ListOffsets(_ context.Context, r *dataplanev1.ListOffsetsRequest) (*dataplanev1.ListOffsetsResponse, error) {
	s.cluster.mu.Lock()
	defer s.cluster.mu.Unlock()
	answer := &dataplanev1.ListOffsetsResponse{}
	for _, q := range r.GetPartitions() {
		o := &dataplanev1.ListedOffset{TopicId: q.GetTopicId(), Partition: q.GetPartition()}
		p, refused := s.cluster.find(q.GetTopicId(), q.GetTopicName()).at(q.GetPartition())
		if refused == nil {
			refused = p.list(q.GetPosition(), o)
		}
		o.Refusal = refused
		answer.Offsets = append(answer.Offsets, o)
	}
	return answer, nil
}

// list requires mu held.
func (p *partition) list(at *dataplanev1.OffsetPosition, o *dataplanev1.ListedOffset) *refusalv1.Refusal {
	o.LogStartOffset, o.HighWatermark = p.start, p.next
	switch at := at.GetPosition().(type) {
	case *dataplanev1.OffsetPosition_Offset:
		o.Offset = at.Offset
		return p.inRange(at.Offset)
	case *dataplanev1.OffsetPosition_Edge:
		o.Offset = p.start
		if at.Edge == dataplanev1.OffsetEdge_OFFSET_EDGE_LATEST {
			o.Offset = p.next
		}
	case *dataplanev1.OffsetPosition_TimestampMs:
		o.Offset = p.next
		for _, s := range p.log {
			if p.firstAt(s.batch, at.TimestampMs, o) {
				return nil
			}
		}
	}
	return nil
}

func (p *partition) firstAt(batch []byte, ms int64, o *dataplanev1.ListedOffset) bool {
	info, err := recordbatch.Open(batch, recordbatch.Limits{MaxRecordBytes: 3 << 20}, new(recordbatch.Scratch))
	if err != nil {
		panic(err) // it was verified before it was stored
	}
	var v recordbatch.View
	for r := recordbatch.NewReader(info); r.Next(&v); {
		if v.Timestamp >= ms && v.Offset >= p.start {
			o.Offset, o.TimestampMs = v.Offset, &v.Timestamp
			return true
		}
	}
	return false
}
