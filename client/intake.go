package client

import (
	"context"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// producerTopic is a topic as a producer uses it. id and name never change.
type producerTopic struct {
	id, name string
	view     atomic.Pointer[topicView]
	sticky   atomic.Int32 // where records without a key go; -1: to be chosen
	choosing sync.Mutex   // held while sticky is chosen
}

// topicView is a topic as last looked up, with the lanes used so far by partition.
type topicView struct {
	topic *topic
	lanes []atomic.Pointer[lane] // nil: not used yet
}

// add puts a record into its partition's open batch: the caller's partition, the key's, or any.
func (p *Producer) add(ctx context.Context, r *Record, done func(*Record, error)) *Error {
	pt, v, e := p.topic(ctx, r.Topic)
	if e != nil {
		return e
	}
	if e := p.check(v.topic, r); e != nil {
		return e
	}
	bound := recordbatch.RecordBound(r.Key, r.Value, r.Headers)
	partition := r.Partition
	if !r.UsePartition {
		if r.Key == nil {
			return p.addAnywhere(ctx, pt, v, r, done, bound)
		}
		partition = partitionOf(r.Key, v.topic.partitions)
	}
	for l := p.laneOf(pt, v, partition); ; {
		put, e := p.put(l, r, done, bound, false)
		if put != putNoRoom {
			return e
		}
		if e := p.waitForRoom(ctx, int64(bound)+pendingBytes); e != nil {
			return e
		}
	}
}

// addAnywhere fills the open batch of one partition after the other with records without a key.
func (p *Producer) addAnywhere(
	ctx context.Context, pt *producerTopic, v *topicView, r *Record, done func(*Record, error), bound int,
) *Error {
	for {
		put, before, e := putElsewhere, pt.sticky.Load(), (*Error)(nil)
		if before >= 0 {
			put, e = p.put(p.laneOf(pt, v, before), r, done, bound, true)
		}
		if put == putElsewhere {
			put, e = p.addNext(pt, v, before, r, done, bound)
		}
		if put == putNoRoom {
			e = p.waitForRoom(ctx, int64(bound)+pendingBytes)
		}
		if put == putDone || e != nil {
			return e
		}
	}
}

// addNext chooses the next partition for records without a key, unless another call has done so, and puts the first into it.
func (p *Producer) addNext(
	pt *producerTopic, v *topicView, before int32, r *Record, done func(*Record, error), bound int,
) (put, *Error) {
	pt.choosing.Lock()
	defer pt.choosing.Unlock()
	if pt.sticky.Load() != before {
		return putElsewhere, nil
	}
	next := v.choose(p.client.agents.near(v.topic), before)
	pt.sticky.Store(next)
	return p.put(p.laneOf(pt, v, next), r, done, bound, false)
}

// topic finds what a producer keeps of a topic: the one used last, without a lock; else by name; else it is looked up.
func (p *Producer) topic(ctx context.Context, name string) (*producerTopic, *topicView, *Error) {
	pt := p.hot.Load()
	if pt == nil || pt.name != name {
		if pt = (*p.names.Load())[name]; pt != nil {
			p.hot.Store(pt)
		}
	}
	if pt != nil {
		if v := pt.view.Load(); !v.topic.stale.Load() {
			return pt, v, nil
		}
	}
	t, e := p.lookUp(ctx, name)
	if e != nil {
		return nil, nil, e
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	pt = p.adopt(t)
	return pt, pt.view.Load(), nil
}

// adopt takes over what was looked up; lanes stay. Requires: mu held.
func (p *Producer) adopt(t *topic) *producerTopic {
	pt := p.topics[t.id]
	if pt == nil {
		pt = &producerTopic{id: t.id, name: t.name}
		pt.sticky.Store(-1)
		pt.view.Store(&topicView{topic: t, lanes: make([]atomic.Pointer[lane], t.partitions)})
		p.topics[t.id] = pt
	}
	if v := pt.view.Load(); v.topic != t {
		p.replace(pt, v, t)
	}
	if known := *p.names.Load(); known[t.name] != pt {
		names := maps.Clone(known)
		names[t.name] = pt
		p.names.Store(&names)
	}
	return pt
}

// replace makes a new view of a topic. A topic never has fewer partitions than before. Requires: mu held.
func (p *Producer) replace(pt *producerTopic, old *topicView, t *topic) {
	v := &topicView{topic: t, lanes: old.lanes}
	if int(t.partitions) > len(old.lanes) {
		v.lanes = make([]atomic.Pointer[lane], t.partitions)
		for i := range old.lanes {
			v.lanes[i].Store(p.laneOf(pt, old, int32(i)))
		}
	}
	pt.view.Store(v)
}

// laneOf returns a partition's lane, which it makes if need be.
func (p *Producer) laneOf(pt *producerTopic, v *topicView, partition int32) *lane {
	at := &v.lanes[partition]
	if l := at.Load(); l != nil {
		return l
	}
	at.CompareAndSwap(nil, &lane{home: pt, partition: partition}) // whoever was first
	return at.Load()
}

// lookUp finds the topic, and while no agent can tell, keeps asking for as long as a record may take.
func (p *Producer) lookUp(ctx context.Context, name string) (*topic, *Error) {
	t, e := p.client.agents.topic(ctx, name)
	for until := time.Now().Add(p.config.deliveryTimeout); e != nil && e.Reason.transient() && time.Now().Before(until); {
		if sleep(ctx, backoff(mostFailures)) != nil {
			return nil, canceled(ctx, e.Error())
		}
		t, e = p.client.agents.topic(ctx, name)
	}
	return t, e
}

// check refuses what the agents would refuse, before it costs others of its batch a round trip.
func (p *Producer) check(t *topic, r *Record) *Error {
	if n := r.size(); n > t.maxRecordBytes {
		return failure(ReasonRecordTooLarge, "key, value and headers have %d bytes, the topic takes %d", n, t.maxRecordBytes)
	}
	if r.UsePartition && (r.Partition < 0 || r.Partition >= t.partitions) {
		return failure(ReasonUnknownPartition, "partition %d: the topic has %d", r.Partition, t.partitions)
	}
	if p.config.acks == AcksBuffered && !t.bufferedAllowed {
		// The topic may have been changed since it was looked up: the agents decide, and this asks them anew.
		p.client.agents.forget(t)
		return failure(ReasonBufferedAcksNotAllowed, "set allow_buffered_acks on the topic, or use AcksDurable")
	}
	if t.keysRequired && r.Key == nil {
		p.client.agents.forget(t) // as above
		return failure(ReasonInvalid, "a record without a key: the topic is compacted by key, set Record.Key")
	}
	if t.partitions == 0 {
		return failure(ReasonUnknownPartition, "the topic has no partitions")
	}
	return nil
}

// choose picks the better of two partitions at random, near ones if there are any, and rather not the one before.
func (v *topicView) choose(near []int32, before int32) int32 {
	pick := func() int32 {
		if len(near) > 0 {
			return near[rand.IntN(len(near))]
		}
		return rand.Int32N(v.topic.partitions)
	}
	load := func(partition int32) int32 {
		n := int32(0)
		if l := v.lanes[partition].Load(); l != nil {
			n = l.load.Load()
		}
		if partition == before {
			n++
		}
		return n
	}
	a, b := pick(), pick()
	if load(b) < load(a) {
		return b
	}
	return a
}

// put says what became of a record that was to be put into an open batch.
type put int8

const (
	putDone      put = iota // it is in, or there is an error
	putNoRoom               // the producer holds as much as it may
	putElsewhere            // there is no open batch that it could join
)

// put puts a record into the lane's open batch. Unless it is only to join one, it seals a full one and opens another.
func (p *Producer) put(l *lane, r *Record, done func(*Record, error), bound int, join bool) (put, *Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.closed.Load() {
		return putDone, failure(ReasonClosed, "the producer is closed")
	}
	b := l.open
	if b == nil || !b.fits(bound, p.config.batchBytes) {
		if join {
			return putElsewhere, nil
		}
		b = p.reopen(l)
	}
	if !b.affords(bound) && !b.reserve(p.budget, bound) {
		p.discard(l)
		return putNoRoom, nil
	}
	if e := b.add(r, done); e != nil {
		p.discard(l)
		return putDone, e
	}
	if b.count == 1 {
		p.announce(l)
	}
	return putDone, nil
}

// reopen seals the open batch, if there is one, and makes another. Requires: l.mu held.
func (p *Producer) reopen(l *lane) *batch {
	if l.open != nil {
		l.seal(p.budget)
		p.announce(l)
	}
	now := time.Now()
	l.open = &batch{
		encoder: p.encoders.take(), made: now, deadline: now.Add(p.config.deliveryTimeout), answered: make(chan struct{}),
	}
	return l.open
}

// discard takes back an open batch that has no record. Requires: l.mu held.
func (p *Producer) discard(l *lane) {
	if b := l.open; b.count == 0 {
		p.budget.give(b.reserved)
		p.encoders.give(b.encoder)
		l.open = nil
	}
}

// waitForRoom waits until n more bytes may be held.
func (p *Producer) waitForRoom(ctx context.Context, n int64) *Error {
	p.signal() // a full buffer ends all lingering
	switch {
	case p.closed.Load():
		return failure(ReasonClosed, "the producer is closed")
	case p.config.failWhenFull:
		return failure(ReasonBufferFull, "%d bytes wait to be stored", p.budget.held.Load())
	case p.budget.wait(ctx, n) != nil:
		return canceled(ctx, "wait for room in the producer's buffer")
	}
	return nil
}

// announce tells run that a lane has something to send. Requires: l.mu held.
func (p *Producer) announce(l *lane) {
	p.readyMu.Lock()
	if !l.listed {
		l.listed = true
		p.ready = append(p.ready, l)
	}
	p.readyMu.Unlock()
	p.signal()
}

// collect makes the lanes that were announced active. Requires: mu held.
func (p *Producer) collect() {
	p.readyMu.Lock()
	defer p.readyMu.Unlock()
	for _, l := range p.ready {
		l.listed = false
		p.active[l] = struct{}{}
	}
	clear(p.ready)
	p.ready = p.ready[:0]
}
