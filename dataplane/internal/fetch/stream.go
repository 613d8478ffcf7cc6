package fetch

import (
	"bytes"
	"context"
	"math"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/cache"
	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

const (
	// messageBytes is about the size of one message: below that calls dominate, above it memory does.
	messageBytes = 1 << 20
	// roundBytes is about what a stream loads at a time.
	roundBytes = 4 << 20
	// roundPartitions is how many partitions it looks at for that.
	roundPartitions = 256
	// slowAfter is when a caller that takes no message counts as slow.
	slowAfter = 2 * time.Second
	// patienceInterval is how often a waiting stream looks whether lookups fail.
	patienceInterval = time.Second
)

// cursor is how far a stream has read a partition.
type cursor struct {
	target target
	queued bool
}

// stream reads for one Consume. Its memory is bounded: a round's segments (roundBytes and one segment more,
// at most maxPlanBytes and one more), which a slow caller does not keep; one message that waits, one that is sent.
type stream struct {
	service *Service
	sub     *lookup.Subscription
	decoded bool
	out     chan *dataplanev1.FetchedPartition // capacity 1: the next message while one is sent
	ahead   chan []cache.Want                  // capacity 1: what is not taken is not loaded ahead
	cursors map[partition.ID]*cursor
	queue   []*cursor    // those that may have more, each once
	growing *route.Topic // what it reads all partitions of, new ones, too; nil: it reads chosen ones
	window  int64        // bytes to load into the cache beyond a round: little at first, doubled by each round up to lastWindow
}

func newStream(s *Service, sub *lookup.Subscription, decoded bool) *stream {
	return &stream{
		service: s, sub: sub, decoded: decoded,
		out: make(chan *dataplanev1.FetchedPartition, 1), ahead: make(chan []cache.Want, 1),
		cursors: make(map[partition.ID]*cursor), window: firstWindow,
	}
}

// add reads a partition from the target's offset on.
func (r *stream) add(t target) {
	c := &cursor{target: t}
	r.cursors[t.id] = c
	r.enqueue(c)
}

// enqueue lets a cursor have its turn, unless the index knows that there is nothing yet.
func (r *stream) enqueue(c *cursor) {
	if _, known := r.service.index.State(c.target.id); c.queued || (known && !r.service.hasMore(c.target)) {
		return
	}
	c.queued = true
	r.queue = append(r.queue, c)
}

// run reads rounds until ctx ends or something is refused.
func (r *stream) run(ctx context.Context) error {
	grown := time.Now()
	for {
		if err := r.absorb(); err != nil {
			return err
		}
		if time.Since(grown) >= patienceInterval {
			r.grow(ctx)
			grown = time.Now()
		}
		var err error
		if len(r.queue) == 0 {
			err = r.wait(ctx)
		} else {
			err = r.round(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// grow reads partitions that the topic has got since, from the beginning: who reads all from the end on wants all that comes, too. A topic that
// cannot be found any more is refused where it is read.
func (r *stream) grow(ctx context.Context) {
	if r.growing == nil {
		return
	}
	now, err := r.service.routes.ResolveTopic(ctx, "", r.growing.ID.String()) // an id: from memory
	if err != nil || now.PartitionCount <= r.growing.PartitionCount {
		return
	}
	for n := r.growing.PartitionCount; n < now.PartitionCount; n++ {
		t := target{topic: now, id: now.Partition(n)}
		r.sub.Add(t.id) // before it is looked up: nothing is missed in between
		r.add(t)
	}
	r.growing = &now
}

// absorb queues what has changed.
func (r *stream) absorb() error {
	for p, refused := range r.sub.Take() {
		c := r.cursors[p]
		if refused != nil {
			return refusal.Error(about(c.target, refused))
		}
		r.enqueue(c)
	}
	return nil
}

func (r *stream) wait(ctx context.Context) error {
	patience := time.NewTimer(patienceInterval)
	defer patience.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.sub.Changed():
		return nil
	case <-patience.C:
	}
	since := r.service.watch.FailingSince()
	if !since.IsZero() && time.Since(since) >= r.service.config.CatalogPatience {
		return refusal.CatalogUnavailable(retryAfter, lookup.ErrUnavailable)
	}
	return nil
}

// round reads from the cursors whose turn it is.
func (r *stream) round(ctx context.Context) error {
	cursors := r.dequeue()
	targets := make([]target, len(cursors))
	for i, c := range cursors {
		targets[i] = c.target
	}
	places, err := r.service.locate(ctx, targets)
	if err != nil {
		return err
	}
	readings := make([]*reading, 0, len(cursors))
	for i, p := range places {
		if p.refusal != nil {
			return refusal.Error(p.refusal)
		}
		readings = append(readings, newReading(targets[i], p))
	}
	planned := plan(readings, roundBytes, true)
	r.lookAhead(planned)
	if err := r.deliver(ctx, planned); err != nil {
		return err
	}
	for i, reading := range readings {
		cursors[i].target.offset = reading.target.offset
		if len(reading.place.segments) > 0 {
			r.enqueue(cursors[i])
		}
	}
	return nil
}

func (r *stream) dequeue() []*cursor {
	n := min(roundPartitions, len(r.queue))
	cursors := r.queue[:n]
	r.queue = r.queue[n:]
	for _, c := range cursors {
		c.queued = false
	}
	return cursors
}

// deliver loads what is planned and hands it out in messages.
func (r *stream) deliver(ctx context.Context, planned []*reading) error {
	if err := r.service.load(ctx, planned); err != nil {
		return err
	}
	if err := r.service.relocate(ctx, planned); err != nil {
		return err
	}
	for _, reading := range planned {
		for len(reading.segments) > 0 {
			if err := reading.take(messageBytes, math.MaxInt, r.decoded); err != nil {
				return refusal.Error(r.service.refusalOf(ctx, reading.target, err))
			}
			if err := r.hand(ctx, reading, planned); err != nil {
				return err
			}
			r.service.records.Add(reading.fetched.GetNextOffset() - reading.target.offset - reading.fetched.GetSkippedOffsets())
			reading.goOn()
		}
		if reading.fetched.GetRefusal() != nil {
			return refusal.Error(reading.fetched.GetRefusal())
		}
	}
	return nil
}

// hand puts a message in the stream's way. A caller who does not take it for a while gets a copy, and what is loaded for it is let go: it
// shall not hold the memory of others' segments for as long as it likes.
func (r *stream) hand(ctx context.Context, now *reading, planned []*reading) error {
	patience := time.NewTimer(slowAfter)
	defer patience.Stop()
	select {
	case r.out <- now.fetched:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
	}
	now.fetched.Batches = bytes.Clone(now.fetched.GetBatches())
	for _, reading := range planned {
		reading.letGo()
	}
	select {
	case r.out <- now.fetched:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lookAhead has the segments after the planned ones loaded into the cache while these are sent.
func (r *stream) lookAhead(planned []*reading) {
	sharing := r.service.sharing()
	var next []cache.Want
	for _, reading := range planned {
		size := int64(0)
		for _, segment := range reading.place.segments[len(reading.segments):] {
			if size >= r.window/int64(len(planned)) || len(next) == aheadSegments {
				break
			}
			next = reading.want(next, []lookup.Segment{segment}, sharing)
			next[len(next)-1].Ahead = true
			size += int64(segment.SizeBytes)
		}
	}
	if len(next) == 0 {
		return
	}
	r.window = min(2*r.window, lastWindow)
	select {
	case r.ahead <- next:
	default:
	}
}

// prefetch loads; what fails is found out by who needs it.
func (r *stream) prefetch(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case segments := <-r.ahead:
			r.service.cache.Load(ctx, segments)
		}
	}
}
