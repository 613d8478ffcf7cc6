package client

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Producer sends records. It is safe for concurrent use.
//
// Produce touches only its partition's lane. One goroutine, run, decides what is sent; each request has a goroutine of
// its own, which compresses its batches and also runs the callbacks of its records. A partition has several batches
// under way; see lane for how its order survives every retry.
type Producer struct {
	client   *Client
	config   producerConfig
	encoders *encoders
	budget   *budget
	stop     context.CancelFunc
	running  sync.WaitGroup // run, and all that it starts
	wake     chan struct{}  // a token: the lanes changed. Capacity 1, sent without waiting
	news     chan struct{}  // a token: leaders changed

	hot    atomic.Pointer[producerTopic]             // used last
	names  atomic.Pointer[map[string]*producerTopic] // by name; copied to be changed, under mu
	closed atomic.Bool                               // Produce refuses
	hurry  atomic.Int32                              // Flush calls that wait: no lingering

	readyMu sync.Mutex // taken last
	ready   []*lane    // that got something to send; guarded by readyMu

	mu         sync.Mutex                // guards all below, the lanes and the batches; a lane's mu and the directory's are taken after it
	topics     map[string]*producerTopic // by topic id
	active     map[*lane]struct{}        // lanes that may have something to send
	attempts   map[*attempt]struct{}
	requests   map[route]int   // attempts by route
	refreshing map[string]bool // topics that are being asked for
	stopped    bool            // nothing is tried any more

	identity      identity // newest producer id
	allocating    bool
	allocateAfter time.Time
	allocateFails int

	stats     Stats
	lost      *Error // first failure of a record without callback since the last Flush
	lostCount int
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
		client: c, config: config, encoders: newEncoders(config.compress), budget: newBudget(config.bufferBytes), stop: stop,
		wake: make(chan struct{}, 1), news: c.agents.subscribe(),
		topics: map[string]*producerTopic{}, active: map[*lane]struct{}{}, attempts: map[*attempt]struct{}{},
		requests: map[route]int{}, refreshing: map[string]bool{},
	}
	p.names.Store(&map[string]*producerTopic{})
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
	var s *sending
	if p.client.tracing.wanted(ctx) {
		s = p.client.tracing.send(ctx, r, done, p.orphaned)
	}
	if s != nil {
		r, done = &s.record, s.answer
	}
	e := p.add(ctx, r, done)
	if e != nil && e.Reason == ReasonRecordTooLarge && s != nil {
		e = p.add(ctx, s.plain(), done)
	}
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

func (s *Stats) count(b *batch) {
	if b.err != nil {
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
	p.hurry.Add(1)
	defer p.hurry.Add(-1)
	p.mu.Lock()
	batches := p.held()
	p.mu.Unlock()
	p.signal()
	for _, b := range batches {
		select {
		case <-b.answered:
		case <-ctx.Done():
			return canceled(ctx, "flush").wrote(PossiblyWritten)
		}
	}
	return p.takeLost()
}

// held seals and lists all batches. Requires: mu held.
func (p *Producer) held() []*batch {
	var all []*batch
	for _, l := range p.lanes() {
		l.take(p.budget, true, time.Time{}, 0)
		if l.answering != nil {
			all = append(all, l.answering)
		}
		if all = append(all, l.queue...); len(l.queue) > 0 {
			p.active[l] = struct{}{}
		}
	}
	return all
}

// lanes lists all lanes. Requires: mu held.
func (p *Producer) lanes() []*lane {
	var all []*lane
	for _, pt := range p.topics {
		v := pt.view.Load()
		for i := range v.lanes {
			if l := v.lanes[i].Load(); l != nil {
				all = append(all, l)
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
	if p.closed.Swap(true) {
		p.running.Wait()
		return nil
	}
	p.budget.wake()
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
	p.held()
	left := p.lanes()
	for _, l := range left {
		for _, b := range l.queue {
			if !b.done {
				p.conclude(l, b, UnknownOffset, closedError(b))
			}
		}
	}
	p.mu.Unlock()
	for _, l := range left {
		p.answer(l)
	}
}

func closedError(b *batch) *Error {
	e := failure(ReasonClosed, "the producer was closed before an answer came").wrote(SurelyNotWritten)
	if b.unresolved {
		e.Written = PossiblyWritten
	}
	return e
}
