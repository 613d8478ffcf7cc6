package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// kept is what a topic keeps.
type kept struct {
	ms, bytes           int64 // -1: no bound
	policy              controlplanev1.CleanupPolicy
	tombstonesMs, lagMs int64
}

// keptByDefault is a week of records, and a day of tombstones.
func keptByDefault() kept {
	return kept{
		ms: (7 * 24 * time.Hour).Milliseconds(), bytes: -1, policy: controlplanev1.CleanupPolicy_CLEANUP_POLICY_DELETE,
		tombstonesMs: (24 * time.Hour).Milliseconds(),
	}
}

// with is k with what is present in the configuration.
func (k kept) with(c *controlplanev1.TopicConfig) kept {
	if c == nil {
		return k
	}
	if c.RetentionMs != nil {
		k.ms = c.GetRetentionMs()
	}
	if c.RetentionBytes != nil {
		k.bytes = c.GetRetentionBytes()
	}
	if c.CleanupPolicy != nil {
		k.policy = c.GetCleanupPolicy()
	}
	if c.DeleteRetentionMs != nil {
		k.tombstonesMs = c.GetDeleteRetentionMs()
	}
	if c.MinCompactionLagMs != nil {
		k.lagMs = c.GetMinCompactionLagMs()
	}
	return k
}

// RaiseLogStarts moves every partition's beginning to where its topic would have it. There is one page.
func (s *Store) RaiseLogStarts(context.Context, store.RetentionCursor) (page store.RaisedPage, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuseUnserved() != nil {
		return page, nil
	}
	for _, t := range s.topics {
		if t.deleted || t.kept.policy == controlplanev1.CleanupPolicy_CLEANUP_POLICY_COMPACT {
			continue
		}
		for _, p := range t.partitions {
			if to := max(p.youngest(t.kept.ms), p.largest(t.kept.bytes)); to > p.logStart {
				p.logStart = to
				page.Partitions++
			}
		}
	}
	return page, nil
}

// youngest is the first offset of the first segment that is younger, or the end.
func (p *partition) youngest(ms int64) int64 {
	if ms < 0 {
		return 0
	}
	for _, g := range p.segments {
		if time.Since(g.committedAt) <= time.Duration(ms)*time.Millisecond {
			return g.entry.GetBaseOffset()
		}
	}
	return p.highWatermark
}

// largest is the last offset at which a segment begins with as many bytes in it and behind it; 0: there are fewer.
func (p *partition) largest(bytes int64) int64 {
	if bytes < 0 {
		return 0
	}
	for _, g := range slices.Backward(p.segments) {
		if bytes -= int64(g.entry.GetSizeBytes()); bytes <= 0 {
			return g.entry.GetBaseOffset()
		}
	}
	return 0
}

// RemoveBelowLogStarts forgets the segments of which no record can be read any more. There is one page.
func (s *Store) RemoveBelowLogStarts(context.Context, store.RetentionCursor) (page store.RemovedPage, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuseUnserved() != nil {
		return page, nil
	}
	for _, t := range s.topics {
		for _, p := range t.partitions {
			p.segments = slices.DeleteFunc(p.segments, func(g segment) bool {
				if g.end() > p.logStart {
					return false
				}
				s.unrefer(g.key)
				page.Segments++
				page.Bytes += int64(g.entry.GetSizeBytes())
				return true
			})
		}
	}
	return page, nil
}

// DeleteRecords moves the beginnings of partitions, of all or of none.
func (s *Store) DeleteRecords(_ context.Context, request *controlplanev1.DeleteRecordsRequest) (*controlplanev1.DeleteRecordsResponse, error) {
	asked := map[int32]int64{}
	for _, one := range request.GetPartitions() {
		if _, twice := asked[one.GetPartition()]; twice {
			return nil, invalid("partitions", "name a partition twice")
		}
		asked[one.GetPartition()] = one.GetBeforeOffset()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseUnserved(); err != nil {
		return nil, err
	}
	t, err := s.named(store.EveryAgentGroup, request.GetName())
	if err != nil {
		return nil, err
	}
	sorted := slices.SortedFunc(slices.Values(request.GetPartitions()), func(a, b *controlplanev1.RecordsBefore) int {
		return cmp.Compare(a.GetPartition(), b.GetPartition())
	})
	for _, one := range sorted {
		if err := t.partition(one.GetPartition()).refuseBefore(t, one); err != nil {
			return nil, err
		}
	}
	response := &controlplanev1.DeleteRecordsResponse{}
	for _, one := range sorted {
		p := t.partition(one.GetPartition())
		before := one.GetBeforeOffset()
		if before < 0 {
			before = p.highWatermark
		}
		p.logStart = max(p.logStart, before)
		response.Partitions = append(response.Partitions, &controlplanev1.LogStart{Partition: p.number, LogStartOffset: p.logStart})
	}
	return response, nil
}

func (p *partition) refuseBefore(t *topic, one *controlplanev1.RecordsBefore) error {
	number := one.GetPartition()
	var refused *store.Refused
	switch {
	case p == nil:
		refused = store.Refuse(refusalv1.Reason_REASON_UNKNOWN_PARTITION, "there is no such partition")
	case one.GetBeforeOffset() > p.highWatermark:
		refused = store.Refuse(refusalv1.Reason_REASON_OUT_OF_RANGE, "the partition ends before")
		refused.Refusal.Offsets = &refusalv1.Offsets{LogStartOffset: p.logStart, HighWatermark: p.highWatermark, NextOffset: p.highWatermark}
	default:
		return nil
	}
	refused.Refusal.Topic, refused.Refusal.Partition = t.name, &number
	return refused
}
