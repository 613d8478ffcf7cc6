package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/streamhouse/streamhouse/dataplane/internal/cache"
	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

const (
	// maxPlanBytes bounds the segments that one round loads; more than one of the largest.
	maxPlanBytes = 16 << 20
	// maxPlanSegments bounds them for one partition.
	maxPlanSegments = 64
)

// reading is a located target and what has been loaded of it.
type reading struct {
	target   target
	place    place
	segments []lookup.Segment // the first ones of place, planned
	loaded   []cache.Result
	fetched  *dataplanev1.FetchedPartition
	size     int // bytes of what was fetched
}

func newReading(t target, p place) *reading {
	r := &reading{target: t, fetched: &dataplanev1.FetchedPartition{
		TopicId: t.id.Topic.String(), Partition: t.id.Number, NextOffset: t.offset,
	}}
	r.found(p)
	return r
}

// found sets the place; nothing is loaded yet.
func (r *reading) found(p place) {
	r.place, r.segments, r.loaded = p, nil, nil
	r.fetched.Refusal = p.refusal
	r.fetched.LogStartOffset, r.fetched.HighWatermark = p.state.LogStart, p.state.HighWatermark
}

// settled tells whether there is something to say: records or a refusal.
func (r *reading) settled() bool {
	return r.fetched.Refusal != nil || r.fetched.GetNextOffset() > r.target.offset
}

// read fills the readings, in this order, with about budget bytes in all. The error is the context's.
func (s *Service) read(ctx context.Context, readings []*reading, budget int, decoded bool) error {
	planned := plan(readings, budget)
	if err := s.load(ctx, planned); err != nil {
		return err
	}
	if err := s.relocate(ctx, planned); err != nil {
		return err
	}
	for i, r := range planned {
		if budget <= 0 {
			return nil
		}
		share := max(1, budget/(len(planned)-i))
		if err := r.take(share, decoded); err != nil {
			r.fetched.Refusal = s.refusalOf(ctx, r.target, err)
		}
		budget -= r.size
	}
	return nil
}

// plan chooses the segments to load: about each reading's share of the budget, whole segments, within
// maxPlanBytes for all. Readings that do not fit have to wait for their turn.
func plan(readings []*reading, budget int) []*reading {
	var ready []*reading
	for _, r := range readings {
		if len(r.place.segments) > 0 {
			ready = append(ready, r)
		}
	}
	total := int64(0)
	for i, r := range ready {
		if total >= maxPlanBytes {
			return ready[:i]
		}
		share := int64(max(1, budget/len(ready)))
		size := int64(0)
		for j, segment := range r.place.segments {
			if j > 0 && (size >= share || j == maxPlanSegments || total+size+int64(segment.SizeBytes) > maxPlanBytes) {
				break
			}
			size += int64(segment.SizeBytes)
			r.segments = r.place.segments[:j+1]
		}
		total += size
	}
	return ready
}

// load reads all planned segments with one Load, so that neighbours in an object cost one GET.
func (s *Service) load(ctx context.Context, planned []*reading) error {
	var all []lookup.Segment
	for _, r := range planned {
		all = append(all, r.segments...)
	}
	results := s.cache.Load(ctx, all)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, r := range planned {
		n := len(r.segments)
		r.loaded, results = results[:n], results[n:]
	}
	return nil
}

// relocate asks the catalog again, past the index, for those whose first object is missing: it may have been
// compacted or expired.
func (s *Service) relocate(ctx context.Context, planned []*reading) error {
	var lost []*reading
	var targets []target
	var which []int
	for _, r := range planned {
		if !errors.Is(r.loaded[0].Err, cache.ErrMissing) {
			continue
		}
		s.log.WarnContext(ctx, "object is missing, asking the catalog again",
			slog.String("object_key", r.segments[0].ObjectKey), slog.String("partition", r.target.id.String()))
		s.index.Forget(r.target.id)
		which = append(which, len(lost))
		lost, targets = append(lost, r), append(targets, r.target)
	}
	places := make([]place, len(lost))
	if err := s.ask(ctx, targets, which, places); err != nil {
		return err
	}
	var again []*reading
	for i, r := range lost {
		r.found(places[i])
		again = append(again, plan([]*reading{r}, 1)...)
	}
	return s.load(ctx, again)
}

// take moves batches or records from what is loaded into the answer, about limit bytes but at least one.
func (r *reading) take(limit int, decoded bool) error {
	var slices [][]byte
	for i, segment := range r.segments {
		part, err := r.next(i, limit)
		if err != nil {
			return err
		}
		if len(part.batches) == 0 {
			break
		}
		if decoded {
			if part.next, err = r.decode(part.batches, limit); err != nil {
				return err
			}
		} else {
			slices = append(slices, part.batches)
			r.size += len(part.batches)
		}
		r.fetched.NextOffset = part.next
		if part.next < segment.End() {
			break
		}
	}
	r.fetched.Batches = join(slices)
	return nil
}

// part is what one segment contributes; no batches: nothing any more.
type part struct {
	batches []byte
	next    int64
}

func (r *reading) next(i, limit int) (part, error) {
	if r.size >= limit {
		return part{}, nil
	}
	if err := r.loaded[i].Err; err != nil {
		if r.size > 0 {
			return part{}, nil // what comes before the fault is good
		}
		return part{}, err
	}
	offset, first := r.fetched.GetNextOffset(), r.size == 0
	batches, next, err := cut(r.loaded[i].Bytes, r.segments[i], offset, r.place.state.HighWatermark, limit-r.size, first)
	if err == nil && first && len(batches) == 0 {
		err = fmt.Errorf("segment %q at %d holds no batch for offset %d", r.segments[i].ObjectKey, r.segments[i].Position, offset)
	}
	return part{batches: batches, next: next}, err
}

func (r *reading) decode(batches []byte, limit int) (next int64, err error) {
	records, size, next, err := decode(r.fetched.GetRecords(), batches, r.fetched.GetNextOffset(), limit-r.size)
	r.fetched.Records = records
	r.size += size
	return next, err
}

func join(slices [][]byte) []byte {
	if len(slices) == 1 {
		return slices[0]
	}
	return bytes.Join(slices, nil)
}

// goOn begins the next answer where this one ended, and lets go of segments that are done.
func (r *reading) goOn() {
	r.target.offset = r.fetched.GetNextOffset()
	for len(r.segments) > 0 && r.segments[0].End() <= r.target.offset {
		r.segments, r.loaded[0] = r.segments[1:], cache.Result{}
		r.loaded = r.loaded[1:]
	}
	r.size = 0
	r.fetched = newReading(r.target, r.place).fetched
}
