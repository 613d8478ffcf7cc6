package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"

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

// enoughBytes of one partition are answered although more would fit: a further segment would have all of it copied into one piece, which
// costs more than the next call.
const enoughBytes = 512 << 10

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

// read fills the readings, in this order, with at most budget bytes in all, or one larger batch or record.
// The error is the context's.
func (s *Service) read(ctx context.Context, readings []*reading, budget int, decoded bool) error {
	planned := plan(readings, budget, decoded)
	if err := s.load(ctx, planned); err != nil {
		return err
	}
	if err := s.relocate(ctx, planned); err != nil {
		return err
	}
	first := math.MaxInt // nothing is in the answer yet
	for i, r := range planned {
		if err := r.take(budget/(len(planned)-i), first, decoded); err != nil {
			r.fetched.Refusal = s.refusalOf(ctx, r.target, err)
		}
		if r.size > 0 {
			budget = max(0, budget-r.size)
			first = budget
		}
	}
	return nil
}

// plan chooses the segments to load: about each reading's share of the budget, whole segments, within
// maxPlanBytes for all. Readings that do not fit have to wait for their turn.
func plan(readings []*reading, budget int, decoded bool) []*reading {
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
		if !decoded {
			share = min(share, enoughBytes)
		}
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
	sharing := s.sharing()
	var all []cache.Want
	for _, r := range planned {
		all = r.want(all, r.segments, sharing)
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

// newSegments is how near to the end a segment counts as new: others read it, too.
const newSegments = 4

// sharing is how new segments are shared: where readers wait for several partitions, they want all of an object.
func (s *Service) sharing() cache.Sharing {
	if s.index.Waiting() > 1 {
		return cache.Whole
	}
	return cache.Shared
}

// want appends segments of the reading's place; shared is for those that are new.
func (r *reading) want(to []cache.Want, segments []lookup.Segment, shared cache.Sharing) []cache.Want {
	known := r.place.segments
	atEnd := len(known) > 0 && known[len(known)-1].End() >= r.place.state.HighWatermark
	for _, segment := range segments {
		w := cache.Want{Segment: segment, Sharing: cache.Alone}
		if atEnd && segment.BaseOffset >= known[max(0, len(known)-newSegments)].BaseOffset {
			w.Sharing = shared
		}
		to = append(to, w)
	}
	return to
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
		again = append(again, plan([]*reading{r}, 1, false)...)
	}
	return s.load(ctx, again)
}

// take moves batches or records from what is loaded into the answer, about limit bytes; the first of them may
// be larger, up to first bytes.
func (r *reading) take(limit, first int, decoded bool) error {
	var slices [][]byte
	for i, segment := range r.segments {
		var next int64
		var err error
		if decoded {
			next, err = r.takeRecords(i, limit, first)
		} else {
			next, err = r.takeBatches(&slices, i, limit, first)
		}
		if err != nil {
			return err
		}
		r.fetched.NextOffset = next
		if next < segment.End() || (!decoded && r.size >= enoughBytes) {
			break
		}
	}
	r.fetched.Batches = join(slices)
	return nil
}

// room is what may still be taken: limit and first, less what was taken.
func (r *reading) room(limit, first int) (int, int) {
	if r.size == 0 {
		return limit, first
	}
	return limit - r.size, limit - r.size
}

func (r *reading) takeBatches(slices *[][]byte, i, limit, first int) (next int64, err error) {
	limit, first = r.room(limit, first)
	p, err := r.cut(i, limit, first)
	if len(p.batches) > 0 {
		*slices = append(*slices, p.batches)
		r.size += len(p.batches)
	}
	r.fetched.SkippedOffsets += p.skipped
	return p.next, err
}

func (r *reading) takeRecords(i, limit, first int) (next int64, err error) {
	limit, first = r.room(limit, first)
	if first <= 0 {
		return r.fetched.GetNextOffset(), nil
	}
	p, err := r.cut(i, limit, math.MaxInt) // one batch at least: records of it may fit
	if err != nil {
		return r.fetched.GetNextOffset(), err
	}
	records, size, next, err := decode(r.fetched.GetRecords(), p, r.fetched.GetNextOffset(), limit, first)
	r.fetched.Records = records
	r.size += size
	return next, err
}

// cut cuts batches from segment i, from where the answer has got to.
func (r *reading) cut(i, limit, first int) (piece, error) {
	offset := r.fetched.GetNextOffset()
	if err := r.loaded[i].Err; err != nil {
		if r.size > 0 {
			err = nil // what comes before the fault is good
		}
		return piece{next: offset}, err
	}
	p, err := cut(r.loaded[i].Bytes, r.segments[i], offset, r.place.state.HighWatermark, limit, first)
	if err == nil && p.next == offset && first == math.MaxInt {
		err = fmt.Errorf("segment %q at %d holds no batch for offset %d", r.segments[i].ObjectKey, r.segments[i].Position, offset)
	}
	return p, err
}

func join(slices [][]byte) []byte {
	if len(slices) == 1 {
		return slices[0]
	}
	return bytes.Join(slices, nil)
}

// letGo gives back what is loaded; it can be loaded again.
func (r *reading) letGo() { r.segments, r.loaded = nil, nil }

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
