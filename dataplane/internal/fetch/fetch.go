package fetch

import (
	"context"
	"fmt"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// defaultMaxBytes is what a Fetch answers that does not say.
const defaultMaxBytes = 1 << 20

// Fetch reads from several partitions, fairly, or waits for the first record; see record.proto.
func (s *Service) Fetch(ctx context.Context, req *dataplanev1.FetchRequest) (*dataplanev1.FetchResponse, error) {
	if err := s.authorize(ctx); err != nil {
		return nil, err
	}
	f := &fetching{service: s, budget: int(req.GetMaxBytes()), decoded: req.GetDecode()}
	if f.budget == 0 {
		f.budget = defaultMaxBytes
	}
	if err := f.resolve(ctx, req.GetPartitions()); err != nil {
		return nil, err
	}
	if err := f.advance(ctx, f.open()); err != nil {
		return nil, err
	}
	if req.GetMaxWaitMs() > 0 && !f.settled() {
		if err := f.wait(ctx, time.Duration(req.GetMaxWaitMs())*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return f.answer()
}

// fetching is one Fetch.
type fetching struct {
	service  *Service
	budget   int // bytes
	decoded  bool
	readings []*reading // as asked for, in the same order
}

// resolve finds the topics. A refusal stays with its entry.
func (f *fetching) resolve(ctx context.Context, entries []*dataplanev1.FetchPartition) error {
	topics := f.service.resolver()
	for i, e := range entries {
		if e.GetOffset() < 0 {
			return refusal.Invalid(fmt.Sprintf("partitions[%d].offset", i), "offset %d is negative", e.GetOffset())
		}
		t, err := topics.target(ctx, e)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		t.offset = e.GetOffset()
		r := newReading(t, place{})
		if err != nil {
			r.fetched.Refusal = f.service.refusalOf(ctx, t, err)
			r.fetched.TopicId = e.GetTopicId()
		}
		f.readings = append(f.readings, r)
	}
	return nil
}

// open are those that have neither records nor a refusal.
func (f *fetching) open() []*reading {
	var open []*reading
	for _, r := range f.readings {
		if !r.settled() {
			open = append(open, r)
		}
	}
	return open
}

// settled tells whether anything is to be answered.
func (f *fetching) settled() bool { return len(f.open()) < len(f.readings) }

// advance locates and reads, beginning with another reading each time, so that a busy partition does not
// starve the others.
func (f *fetching) advance(ctx context.Context, readings []*reading) error {
	if len(readings) == 0 {
		return nil
	}
	first := int(f.service.turn.Add(1) % uint64(len(readings)))
	rotated := append(append(make([]*reading, 0, len(readings)), readings[first:]...), readings[:first]...)
	targets := make([]target, len(rotated))
	for i, r := range rotated {
		targets[i] = r.target
	}
	places, err := f.service.locate(ctx, targets)
	if err != nil {
		return err
	}
	for i, r := range rotated {
		r.found(places[i])
	}
	return f.service.read(ctx, rotated, f.budget, f.decoded)
}

// wait returns when something is settled, after max, or when this agent stops.
func (f *fetching) wait(ctx context.Context, maxWait time.Duration) error {
	leaving := f.service.leaving
	if f.service.isLeaving() {
		leaving, maxWait = nil, min(maxWait, leavingWait)
	}
	timeout := time.NewTimer(maxWait)
	defer timeout.Stop()
	ids := make([]partition.ID, len(f.readings))
	for i, r := range f.readings {
		ids[i] = r.target.id
	}
	sub := f.service.index.Subscribe(ids...)
	defer sub.Close()
	for ready := f.ready(sub, true); ; ready = f.ready(sub, false) {
		if err := f.advance(ctx, ready); err != nil || f.settled() {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-leaving:
			return nil
		case <-f.service.stopping:
			return nil
		case <-timeout.C:
			f.giveUp(ctx)
			return nil
		case <-sub.Changed():
		}
	}
}

// ready are the readings that may have more now; all is for the first look, since what came before the
// subscription was not announced.
func (f *fetching) ready(sub *lookup.Subscription, all bool) []*reading {
	changed := sub.Take()
	var ready []*reading
	for _, r := range f.readings {
		refused, ok := changed[r.target.id]
		if (ok && refused != nil) || ((ok || all) && f.service.hasMore(r.target)) {
			ready = append(ready, r)
		}
	}
	return ready
}

// hasMore tells whether the target lies below the high watermark, as far as known here.
func (s *Service) hasMore(t target) bool {
	state, known := s.index.State(t.id)
	return known && state.HighWatermark > t.offset
}

// giveUp ends a wait. "Nothing there" needs a catalog that answers to the last.
func (f *fetching) giveUp(ctx context.Context) {
	if f.service.watch.FailingSince().IsZero() {
		return
	}
	for _, r := range f.open() {
		r.fetched.Refusal = f.service.refusalOf(ctx, r.target, lookup.ErrUnavailable)
	}
}

func (f *fetching) answer() (*dataplanev1.FetchResponse, error) {
	if len(f.readings) == 1 {
		if r := f.readings[0].fetched.GetRefusal(); r != nil {
			return nil, refusal.Error(r)
		}
	}
	res := &dataplanev1.FetchResponse{}
	for _, r := range f.readings {
		f.service.records.Add(r.fetched.GetNextOffset() - r.target.offset - r.fetched.GetSkippedOffsets())
		f.service.ahead.follow(r)
		res.Partitions = append(res.Partitions, r.fetched)
	}
	return res, nil
}
