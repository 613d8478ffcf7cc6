package client

import (
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// ConsumerOption configures a [Consumer].
type ConsumerOption interface{ applyConsumer(*consumerConfig) }

type consumerOption func(*consumerConfig)

func (f consumerOption) applyConsumer(c *consumerConfig) { f(c) }

// Reset says what a consumer does when the offset that it wants is not in the partition: removed by retention, or
// beyond the end.
type Reset int8

const (
	// ResetNever: it ends with ReasonOutOfRange.
	ResetNever Reset = iota
	// ResetToBeginning: it goes on with the first offset that can be read.
	ResetToBeginning
	// ResetToEnd: it goes on with the end.
	ResetToEnd
)

type consumerConfig struct {
	from        Position
	offsets     map[int32]int64
	partitions  []int32
	untilEnd    bool
	reset       Reset
	bufferBytes int
	wait        time.Duration
	stall       time.Duration
}

func (c *consumerConfig) validate() *Error {
	switch {
	case c.from.edge == 0 && c.from.time.IsZero() && c.from.offset < 0:
		return failure(ReasonMisconfigured, "offset %d: must be at least 0", c.from.offset)
	case c.bufferBytes < 1<<16 || c.bufferBytes > 1<<30:
		return failure(ReasonMisconfigured, "buffer bytes %d: must be 64 KiB to 1 GiB", c.bufferBytes)
	case c.wait < 10*time.Millisecond || c.wait > 30*time.Second:
		return failure(ReasonMisconfigured, "fetch wait %v: must be 10ms to 30s", c.wait)
	case c.stall < time.Second || c.stall > 24*time.Hour:
		return failure(ReasonMisconfigured, "stall timeout %v: must be 1s to 24h", c.stall)
	}
	for p, o := range c.offsets {
		if o < 0 {
			return failure(ReasonMisconfigured, "offset %d of partition %d: must be at least 0", o, p)
		}
	}
	return nil
}

// From says where to start. Default: End().
func From(p Position) ConsumerOption { return consumerOption(func(c *consumerConfig) { c.from = p }) }

// FromOffsets says where to start by partition, e.g. where Consumer.Offsets was. Partitions that are not in it start
// where From says.
func FromOffsets(offsets map[int32]int64) ConsumerOption {
	offsets = maps.Clone(offsets)
	return consumerOption(func(c *consumerConfig) { c.offsets = offsets })
}

// Partitions restricts the consumer to some partitions. Default: all.
func Partitions(partitions ...int32) ConsumerOption {
	return consumerOption(func(c *consumerConfig) { c.partitions = append(c.partitions, partitions...) })
}

// UntilEnd makes the consumer end (io.EOF) where the partitions ended when it was made. Default: it waits for more.
func UntilEnd() ConsumerOption { return consumerOption(func(c *consumerConfig) { c.untilEnd = true }) }

// WithReset says what to do when an offset is not in the partition. Default: ResetNever.
func WithReset(r Reset) ConsumerOption {
	return consumerOption(func(c *consumerConfig) { c.reset = r })
}

// WithFetchBytes bounds the batches, compressed, that are held ahead of Poll. Default: 32 MiB; 64 KiB to 1 GiB. Up
// to four answers of 1 MiB more may be held for each agent that is fetched from.
func WithFetchBytes(n int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) { c.bufferBytes = n })
}

// WithFetchWait sets how long an agent may wait for something to read before it answers. Default: 2 s; 10 ms to 30 s.
// A silent agent is noticed 3 s after that.
func WithFetchWait(d time.Duration) ConsumerOption {
	return consumerOption(func(c *consumerConfig) { c.wait = d })
}

// WithStallTimeout sets how long agents may fail to answer for a partition, all of them, before the consumer ends
// with an error. Default: 2 min; 1 s to 24 h.
func WithStallTimeout(d time.Duration) ConsumerOption {
	return consumerOption(func(c *consumerConfig) { c.stall = d })
}

// Consumer reads a topic: every record from the start once, in the order of offsets by partition. Offsets may be missing where the topic is
// compacted by key. Partitions with much to read are read side by side in time, by the timestamps of their records, as far as that starves none.
// Poll and Records are for one goroutine at a time; the other methods may be called by any. Without Partitions and UntilEnd
// it also reads partitions that the topic gets later, from their first offset on, within about half a minute.
type Consumer struct {
	client  *Client
	config  consumerConfig
	topic   *topic
	more    bool // partitions that the topic gets are read, too
	stop    context.CancelFunc
	running sync.WaitGroup // run, and the fetches that it starts
	wake    chan struct{}  // a token: room was made, or a fetch ended. Capacity 1, sent without waiting

	mu       sync.Mutex // guards all below
	known    *topic     // as it was last looked up
	cursors  []*cursor
	ready    []fetched     // in the order in which they came
	buffered int           // bytes of ready
	served   int           // counts answers with something in them
	filled   chan struct{} // a token: ready or failed changed. Capacity 1
	asking   bool          // agents are being looked up
	failed   *Error        // why nothing more will come
	closed   bool

	fetches map[*peer]int // in flight that were asked of partitions with much to read
	spares  [][]byte      // memory of answers that have been read; at most maxSpares

	current fetched             // being decoded; Poll's
	rest    []*Record           // decoded, not yet returned; Poll's
	scratch recordbatch.Scratch // of batch; PollBatch's
	batch   Batch               // returned last; PollBatch's
}

// cursor is where reading of one partition stands. Guarded by Consumer.mu.
type cursor struct {
	partition int32
	next      int64        // offset to fetch
	delivered atomic.Int64 // offset after the last record returned
	end       int64        // stop before this offset; -1: never
	busy      bool         // being fetched
	hot       bool         // there was much to read in the last answer, and some of it here
	served    int          // Consumer.served when it last got something
	took      int          // bytes that it got then
	at        int64        // timestamp that it has been read up to, ms since 1970
	failures  int
	notBefore time.Time
	stalled   time.Time // since when nobody answered; zero: somebody does
}

// fetched is batches of one partition that wait for Poll, from the offset from on.
type fetched struct {
	cursor  *cursor
	batches []byte
	from    int64
	held    *holding // what they lie in; nil: nothing else does
}

// NewConsumer looks up where to start, and where to end, and starts to fetch. Close it.
func (c *Client) NewConsumer(ctx context.Context, topic string, options ...ConsumerOption) (*Consumer, error) { //nolint:contextcheck // it outlives ctx
	config := consumerConfig{from: End(), bufferBytes: 32 << 20, wait: 2 * time.Second, stall: 2 * time.Minute}
	for _, o := range options {
		o.applyConsumer(&config)
	}
	if e := config.validate(); e != nil {
		return nil, e
	}
	t, partitions, err := c.selectPartitions(ctx, topic, config.partitions)
	if err != nil {
		return nil, err
	}
	slices.Sort(partitions)
	cursors, err := c.cursors(ctx, t, slices.Compact(partitions), config)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.Background())
	k := &Consumer{
		client: c, config: config, topic: t, known: t, cursors: cursors, stop: stop, more: len(config.partitions) == 0 && !config.untilEnd,
		fetches: map[*peer]int{}, wake: make(chan struct{}, 1), filled: make(chan struct{}, 1),
	}
	k.running.Go(func() { k.run(running) })
	return k, nil
}

// cursors finds each partition's first offset and, with UntilEnd, its end.
func (c *Client) cursors(ctx context.Context, t *topic, partitions []int32, config consumerConfig) ([]*cursor, error) {
	all := make([]*cursor, len(partitions))
	for i, p := range partitions {
		all[i] = &cursor{partition: p, next: config.from.offset, end: -1}
	}
	if config.untilEnd {
		ends, err := c.sameOffsets(ctx, t, partitions, End())
		if err != nil {
			return nil, err
		}
		for i, e := range ends {
			all[i].end = e.Offset
		}
	}
	if config.from.edge != 0 || !config.from.time.IsZero() {
		starts, err := c.sameOffsets(ctx, t, partitions, config.from)
		if err != nil {
			return nil, err
		}
		for i, s := range starts {
			all[i].next = s.Offset
		}
	}
	for _, k := range all {
		if o, given := config.offsets[k.partition]; given {
			k.next = o
		}
		k.delivered.Store(k.next)
		if k.end >= 0 && k.next > k.end && config.reset == ResetNever {
			return nil, failure(ReasonOutOfRange, "offset %d: the partition ends at %d", k.next, k.end).at(t.name, k.partition)
		}
	}
	return all, nil
}

func (c *Client) sameOffsets(ctx context.Context, t *topic, partitions []int32, at Position) ([]PartitionOffsets, error) {
	positions := make([]Position, len(partitions))
	for i := range positions {
		positions[i] = at
	}
	return c.listOffsets(ctx, t, partitions, positions)
}

// Poll waits for records and returns some, of one partition, in order; they stay valid. io.EOF: UntilEnd, and all
// was read. Other errors are [*Error]; ReasonCanceled (ctx ended) may be followed by further calls, others are final.
func (k *Consumer) Poll(ctx context.Context) ([]*Record, error) {
	for len(k.rest) == 0 {
		f, err := k.await(ctx)
		if err != nil {
			return nil, err
		}
		b, info, e := k.open(f, nil)
		if e == nil {
			k.rest, e = decode(&b, &info)
		}
		if e != nil {
			return nil, k.broken(e)
		}
		k.client.tracing.received(ctx, k.topic.name, k.rest)
	}
	rs := k.rest
	k.rest = nil
	k.current.cursor.delivered.Store(rs[len(rs)-1].Offset + 1)
	return rs, nil
}

// PollBatch is Poll without a struct, or an allocation, for each record: it returns a batch whose records are read as views. The batch is
// valid until the next call. What Records has left of a batch must be read first.
func (k *Consumer) PollBatch(ctx context.Context) (*Batch, error) {
	if len(k.rest) > 0 {
		return nil, failure(ReasonMisconfigured, "%d records are left: read them first", len(k.rest)).at(k.topic.name, -1)
	}
	for {
		f, err := k.await(ctx)
		if err != nil {
			return nil, err
		}
		b, info, e := k.open(f, &k.scratch)
		if e != nil {
			return nil, k.broken(e)
		}
		next := info.NextOffset()
		if b.end >= 0 {
			next = min(next, b.end)
		}
		if next <= b.from {
			continue
		}
		f.cursor.delivered.Store(next)
		if info.RecordCount == 0 {
			continue // key compaction has removed them all
		}
		k.batch = b
		return &k.batch, nil
	}
}

// await waits until current has a batch.
func (k *Consumer) await(ctx context.Context) (*fetched, error) {
	for len(k.current.batches) == 0 {
		f, ok, err := k.pop()
		switch {
		case err != nil:
			return nil, err
		case ok:
			k.current = f
			continue
		}
		select {
		case <-k.filled:
		case <-ctx.Done():
			return nil, canceled(ctx, "wait for records")
		}
	}
	return &k.current, nil
}

// broken ends the consumer: what was fetched cannot be read.
func (k *Consumer) broken(e *Error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ready, k.current = nil, fetched{}
	k.fail(e)
	return e
}

// Records yields records until the caller stops, UntilEnd is reached, or an error, which it yields last.
func (k *Consumer) Records(ctx context.Context) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		for {
			if len(k.rest) == 0 {
				rs, err := k.Poll(ctx)
				if errors.Is(err, io.EOF) {
					return
				}
				if err != nil {
					yield(nil, err)
					return
				}
				k.rest = rs
			}
			r := k.rest[0]
			k.rest = k.rest[1:]
			k.current.cursor.delivered.Store(r.Offset + 1)
			if !yield(r, nil) {
				return
			}
		}
	}
}

// pop takes the next batches. Without any, it tells why there will be none, if so.
func (k *Consumer) pop() (fetched, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.letGo(k.current.held)
	k.current.held = nil
	switch {
	case k.closed:
		return fetched{}, false, failure(ReasonClosed, "the consumer is closed").at(k.topic.name, -1)
	case len(k.ready) > 0:
		f := k.ready[0]
		k.ready[0] = fetched{}
		k.ready = k.ready[1:]
		k.buffered -= len(f.batches)
		k.signal(k.wake)
		return f, true, nil
	case k.failed != nil:
		return fetched{}, false, k.failed
	case k.ended():
		return fetched{}, false, io.EOF
	}
	return fetched{}, false, nil
}

// ended reports whether every partition has been fetched to its end. Requires: mu held.
func (k *Consumer) ended() bool {
	for _, c := range k.cursors {
		if !c.ended() {
			return false
		}
	}
	return true
}

func (c *cursor) ended() bool { return c.end >= 0 && c.next >= c.end }

// Offsets returns the offset after the last record returned, by partition: where another consumer would go on, with
// FromOffsets.
func (k *Consumer) Offsets() map[int32]int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	offsets := make(map[int32]int64, len(k.cursors))
	for _, c := range k.cursors {
		offsets[c.partition] = c.delivered.Load()
	}
	return offsets
}

// Close ends fetching and waits for its goroutines. A Poll that waits returns ReasonClosed.
func (k *Consumer) Close() error {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.signal(k.filled)
	k.stop()
	k.running.Wait()
	return nil
}

func (k *Consumer) signal(token chan struct{}) {
	select {
	case token <- struct{}{}:
	default: // its token is still there
	}
}
