package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// Producer sends records. It is safe for concurrent use.
//
// One goroutine, run, decides what is sent; each request has a goroutine of its own, which also runs the callbacks of
// its records. A partition has one batch under way, so its order survives every retry; the records that come meanwhile
// make the next batch, so that batches grow with the load.
type Producer struct {
	client   *Client
	config   producerConfig
	builders *builders
	stop     context.CancelFunc
	running  sync.WaitGroup // run, and all that it starts
	wake     chan struct{}  // a token: the lanes changed. Capacity 1, sent without waiting
	news     chan struct{}  // a token: leaders changed

	mu         sync.Mutex                // guards all below, the lanes and the batches; the directory's is taken after it
	topics     map[string]*producerTopic // by topic id
	active     map[*lane]struct{}        // lanes that have records and are not busy
	attempts   map[*attempt]struct{}
	refreshing map[string]bool // topics that are being asked for
	buffered   int64           // bytes held
	room       chan struct{}   // closed, and replaced, when bytes are given back
	closed     bool            // Produce refuses
	stopped    bool            // nothing is tried any more
	flushing   int             // Flush calls that wait: no lingering

	identity      identity // newest producer id
	allocating    bool
	allocateAfter time.Time
	allocateFails int

	stats     Stats
	lost      *Error // first failure of a record without callback since the last Flush
	lostCount int
}

// producerTopic is a topic with the lanes used so far.
type producerTopic struct {
	topic  *topic  // as last looked up
	lanes  []*lane // by partition; nil: not used yet
	sticky int32   // where records without a key go; -1: to be chosen
}

// NewProducer starts a producer. Close it, else records that wait are lost and its goroutines stay.
func (c *Client) NewProducer(options ...ProducerOption) (*Producer, error) {
	config := defaultProducer()
	for _, o := range options {
		o.applyProducer(&config)
	}
	if e := config.validate(); e != nil {
		return nil, e
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Producer{
		client: c, config: config, builders: newBuilders(config.compress), stop: stop,
		wake: make(chan struct{}, 1), news: c.agents.subscribe(),
		topics: map[string]*producerTopic{}, active: map[*lane]struct{}{}, attempts: map[*attempt]struct{}{},
		refreshing: map[string]bool{}, room: make(chan struct{}),
	}
	p.running.Go(func() { p.run(ctx) })
	return p, nil
}

// Produce hands a record over and calls done exactly once, when the record is stored (err is nil; Partition and
// Offset are set) or has failed (err is an [*Error] that says whether it may have been written). Records of one
// partition are stored, and done is called, in the order of their Produce calls.
//
// Produce waits while the topic is looked up for the first time and while the buffer is full; ctx bounds that
// wait, and nothing else. Key, value and headers are copied and may be used again; the record itself belongs to
// the producer until done is called. done may be nil: then Flush and Close report the failure. It runs on the
// producer's goroutines and holds up its partition, so it should be quick; it may call Produce.
func (p *Producer) Produce(ctx context.Context, r *Record, done func(r *Record, err error)) {
	e := p.add(ctx, r, done)
	if e == nil {
		return
	}
	if e.Topic == "" {
		e = e.at(r.Topic, -1)
	}
	e.Written = SurelyNotWritten
	r.Offset = UnknownOffset
	if done != nil {
		done(r, e)
		return
	}
	p.orphaned(r, e)
}

// ProduceSync stores records and returns once the fate of all is known, with the first error in their order. When
// ctx ends before, the records not yet answered may still be written, and belong to the producer until Flush.
func (p *Producer) ProduceSync(ctx context.Context, records ...*Record) error {
	if len(records) == 0 {
		return nil
	}
	errs := make([]error, len(records))
	answered := make(chan struct{}) // closed by the last callback
	var left atomic.Int64
	left.Store(int64(len(records)))
	for i, r := range records {
		p.Produce(ctx, r, func(_ *Record, err error) {
			errs[i] = err
			if left.Add(-1) == 0 {
				close(answered)
			}
		})
	}
	select {
	case <-answered:
	case <-ctx.Done():
		return canceled(ctx, "wait for the records' answers").wrote(PossiblyWritten)
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// add puts a record into its partition's open batch.
func (p *Producer) add(ctx context.Context, r *Record, done func(*Record, error)) *Error {
	t, e := p.lookUp(ctx, r.Topic)
	if e != nil {
		return e
	}
	if e := p.check(t, r); e != nil {
		return e
	}
	bound := recordbatch.RecordBound(r.Key, r.Value, r.Headers)
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.waitForRoom(ctx, int64(bound+pendingBytes)); e != nil {
		return e
	}
	l := p.lane(t, r, bound)
	if l.open != nil && !l.open.fits(bound, p.config.batchBytes) {
		l.seal()
		p.signal()
	}
	fresh := l.open == nil
	if fresh {
		l.open = p.newBatch()
	}
	if e := l.open.add(r, done); e != nil {
		if fresh {
			p.builders.give(l.open.builder)
			l.open = nil
		}
		return e
	}
	l.open.bytes += int64(bound + pendingBytes)
	p.buffered += int64(bound + pendingBytes)
	if fresh && !l.busy {
		p.active[l] = struct{}{}
		p.signal()
	}
	return nil
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

func (p *Producer) newBatch() *batch {
	now := time.Now()
	return &batch{
		builder: p.builders.take(), made: now, deadline: now.Add(p.config.deliveryTimeout), done: make(chan struct{}),
	}
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
	if t.partitions == 0 {
		return failure(ReasonUnknownPartition, "the topic has no partitions")
	}
	return nil
}

// waitForRoom waits until n more bytes may be held. A record that is larger than the whole buffer may be held
// alone. Requires: mu held; it is released meanwhile.
func (p *Producer) waitForRoom(ctx context.Context, n int64) *Error {
	for {
		switch {
		case p.closed:
			return failure(ReasonClosed, "the producer is closed")
		case p.buffered == 0 || p.buffered+n <= int64(p.config.bufferBytes):
			return nil
		case p.config.failWhenFull:
			return failure(ReasonBufferFull, "%d bytes wait to be stored", p.buffered)
		}
		room := p.room
		p.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
		}
		p.mu.Lock()
		if ctx.Err() != nil {
			return canceled(ctx, "wait for room in the producer's buffer")
		}
	}
}

// lane chooses the partition: the caller's, the key's, or one for many records without a key, led in the own
// zone where there is one. Requires: mu held.
func (p *Producer) lane(t *topic, r *Record, bound int) *lane {
	pt := p.topics[t.id]
	if pt == nil {
		pt = &producerTopic{sticky: -1}
		p.topics[t.id] = pt
	}
	pt.update(t)
	switch {
	case r.UsePartition:
		return pt.lane(r.Partition)
	case r.Key != nil:
		return pt.lane(partitionOf(r.Key, t.partitions))
	}
	if pt.sticky >= 0 {
		if l := pt.lane(pt.sticky); l.open != nil && l.open.fits(bound, p.config.batchBytes) {
			return l
		}
	}
	pt.sticky = pt.choose(p.client.agents.near(t))
	return pt.lane(pt.sticky)
}

// update takes over what was looked up; lanes stay.
func (pt *producerTopic) update(t *topic) {
	pt.topic = t
	if n := int(t.partitions) - len(pt.lanes); n > 0 {
		pt.lanes = append(pt.lanes, make([]*lane, n)...)
	}
}

func (pt *producerTopic) lane(partition int32) *lane {
	l := pt.lanes[partition]
	if l == nil {
		l = &lane{home: pt, partition: partition}
		pt.lanes[partition] = l
	}
	return l
}

// choose picks the emptier of two partitions at random, near ones if there are any, and not the one before.
func (pt *producerTopic) choose(near []int32) int32 {
	pick := func() int32 {
		if len(near) > 0 {
			return near[rand.IntN(len(near))]
		}
		return rand.Int32N(pt.topic.partitions)
	}
	load := func(partition int32) int {
		n := 0
		if l := pt.lanes[partition]; l != nil {
			n = 2*len(l.waiting) + 4*min(l.failures, 4)
		}
		if partition == pt.sticky {
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

// signal makes run look at the lanes.
func (p *Producer) signal() {
	select {
	case p.wake <- struct{}{}:
	default: // its token is still there
	}
}

// orphaned remembers the failure of a record that has no callback, for Flush.
func (p *Producer) orphaned(_ *Record, e *Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost == nil {
		p.lost = e
	}
	p.lostCount++
}

// Stats counts what a producer has done so far.
type Stats struct {
	Records int64 // stored
	Bytes   int64 // of their keys, values and headers with framing, before compression
	Batches int64 // that held them
	Failed  int64 // records that failed after they had been taken into a batch
	Retries int64 // attempts to store a batch that had to be repeated
}

func (s *Stats) count(b *batch, e *Error) {
	if e != nil {
		s.Failed += int64(b.count)
		return
	}
	s.Records += int64(b.count)
	s.Bytes += int64(b.size)
	s.Batches++
}

// Stats returns the counts so far.
func (p *Producer) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Flush sends at once what waits and returns when every record handed over before the call is stored or has
// failed. Its error is that of ctx, or tells of records that failed without a callback since the last Flush.
func (p *Producer) Flush(ctx context.Context) error {
	p.mu.Lock()
	batches := p.held()
	p.flushing++
	p.mu.Unlock()
	p.signal()
	defer func() {
		p.mu.Lock()
		p.flushing--
		p.mu.Unlock()
	}()
	for _, b := range batches {
		select {
		case <-b.done:
		case <-ctx.Done():
			return canceled(ctx, "flush").wrote(PossiblyWritten)
		}
	}
	return p.takeLost()
}

// held seals and lists all batches. Requires: mu held.
func (p *Producer) held() []*batch {
	var all []*batch
	for _, pt := range p.topics {
		for _, l := range pt.lanes {
			if l != nil {
				l.seal()
				all = append(all, l.waiting...)
			}
		}
	}
	return all
}

func (p *Producer) takeLost() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, n := p.lost, p.lostCount
	p.lost, p.lostCount = nil, 0
	switch {
	case e == nil:
		return nil
	case n == 1:
		return e
	}
	return fmt.Errorf("%d records failed, the first: %w", n, e)
}

// Close flushes, within ctx, and stops the producer; it returns when all its goroutines have ended. Records that
// are still held when ctx ends fail with ReasonClosed. Errors are those of Flush; later calls do nothing.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	again := p.closed
	p.closed = true
	p.release(0)
	p.mu.Unlock()
	if again {
		p.running.Wait()
		return nil
	}
	err := p.Flush(ctx)
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.stop()
	p.running.Wait()
	p.client.agents.unsubscribe(p.news)
	p.failHeld()
	if lost := p.takeLost(); err == nil {
		err = lost
	}
	return err
}

// failHeld answers what is left after everything stopped.
func (p *Producer) failHeld() {
	p.mu.Lock()
	var left []*lane
	for _, pt := range p.topics {
		for _, l := range pt.lanes {
			if l != nil {
				l.seal()
				left = append(left, l)
			}
		}
	}
	p.mu.Unlock()
	for _, l := range left {
		for len(l.waiting) > 0 {
			b := l.waiting[0]
			p.conclude(l, b, UnknownOffset, closedError(b))
		}
	}
}

func closedError(b *batch) *Error {
	e := failure(ReasonClosed, "the producer was closed before an answer came").wrote(SurelyNotWritten)
	if b.unresolved {
		e.Written = PossiblyWritten
	}
	return e
}

// release gives bytes back. Requires: mu held.
func (p *Producer) release(n int64) {
	p.buffered -= n
	close(p.room)
	p.room = make(chan struct{})
}
