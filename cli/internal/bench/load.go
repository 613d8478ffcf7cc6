package bench

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/histogram"
)

// sender is the SDK's producer.
type sender interface {
	Produce(ctx context.Context, r *client.Record, done func(r *client.Record, err error))
}

// span is the time that counts: records due in it make the latency.
type span struct {
	from, to time.Time // to zero: no end
}

func (s *span) holds(at time.Time) bool {
	return s != nil && !at.Before(s.from) && (s.to.IsZero() || at.Before(s.to))
}

// tally counts what became of records; shared by all senders.
type tally struct {
	acked, failed atomic.Int64 // failed: not known to be stored
	retries       atomic.Int64 // of requests that the bench itself repeats
	latency       histogram.Histogram
	counted       atomic.Pointer[span] // nil: warming up
	fault         atomic.Pointer[error]
}

func (t *tally) fail(n int64, err error) {
	t.failed.Add(n)
	t.fault.CompareAndSwap(nil, &err)
}

// failure is that of the first record that failed.
func (t *tally) failure() error {
	if err := t.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// blockRecords is how many records are handed over at once, and counted at once. One in sampleEvery of them is timed where there are so
// many that a look at the clock for each would cost more than the SDK.
const (
	blockRecords = 512
	sampleEvery  = 64
	timeAllBelow = 100_000 // records per second
)

// load sends records by one producer.
type load struct {
	sender  sender
	tally   *tally
	payload *payload
	topics  []string
	number  int // of this producer
	keyed   bool
	stamp   bool // every value says who sent it, and failures are kept
	every   int  // of so many records one is timed
	sent    int64
	plan    atomic.Pointer[numbered] // the schedule that is being run
	blocks  sync.Pool

	mu     sync.Mutex // guards failed
	failed map[int64]client.Written
}

// block is records that are handed over one after the other. Its callbacks are made once: a record costs no allocation.
type block struct {
	load    *load
	records [blockRecords]client.Record
	from    int64 // number of the first
	count   int
	left    atomic.Int64 // not answered yet
	lost    atomic.Int64 // answered, and not known to be stored
	done    func(*client.Record, error)
	timed   func(*client.Record, error)
}

func newLoad(s sender, t *tally, p *payload, topics []string, number int) *load {
	l := &load{sender: s, tally: t, payload: p.fork(), topics: topics, number: number, every: 1, failed: map[int64]client.Written{}}
	l.blocks.New = func() any {
		b := &block{load: l}
		b.done = func(r *client.Record, err error) { b.answered(r, err) }
		b.timed = func(r *client.Record, err error) {
			if err == nil && l.tally.counted.Load().holds(r.Timestamp) {
				l.tally.latency.Add(time.Since(r.Timestamp))
			}
			b.answered(r, err)
		}
		return b
	}
	return l
}

// run hands over what the schedule says, numbered on from what was sent before. Answers come later.
func (l *load) run(ctx context.Context, s schedule) {
	before := l.sent
	l.plan.Store(&numbered{from: before, schedule: s})
	l.sent += s.run(ctx, blockRecords, func(from int64, count int, due func(int64) time.Time) {
		l.send(ctx, before+from, count, func(n int64) time.Time { return due(n - before) })
	})
}

// numbered is a schedule whose first record has this number.
type numbered struct {
	from int64
	schedule
}

func (l *load) send(ctx context.Context, from int64, count int, due func(int64) time.Time) {
	b, _ := l.blocks.Get().(*block)
	b.from, b.count = from, count
	b.left.Store(int64(count))
	b.lost.Store(0)
	topic := l.topics[int(from/blockRecords)%len(l.topics)]
	for i := range count {
		n := from + int64(i)
		r := &b.records[i]
		*r = client.Record{Topic: topic, Value: l.payload.value(n), Timestamp: due(n)}
		if l.stamp {
			r.Value = l.payload.stamped(l.number, n)
		}
		if l.keyed {
			r.Key = l.payload.key(n)
		}
		done := b.done
		if i%l.every == 0 {
			done = b.timed
		}
		l.sender.Produce(ctx, r, done)
	}
}

// answered takes a record's fate, and with the last one counts the block and gives it back.
func (b *block) answered(r *client.Record, err error) {
	if err != nil && client.WrittenBy(err) != client.WrittenBefore {
		b.lost.Add(1)
		b.load.failedRecord(b, r, err)
	}
	if b.left.Add(-1) == 0 {
		b.load.tally.acked.Add(int64(b.count) - b.lost.Load())
		b.load.blocks.Put(b)
	}
}

func (l *load) failedRecord(b *block, r *client.Record, err error) {
	if !errors.Is(err, client.ReasonCanceled) {
		l.tally.fail(1, err)
	}
	if !l.stamp {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range b.count {
		if &b.records[i] == r {
			l.failed[b.from+int64(i)] = client.WrittenBy(err)
		}
	}
}
