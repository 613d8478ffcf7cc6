package ingest

import (
	"math"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// maxProducers bounds how many producers a tenure remembers; the longest silent are forgotten and looked up again.
const maxProducers = 10_000

// hurry is how long after its beginning a tenure's first batch is uploaded at once.
const hurry = 2 * time.Second

// tenure is one epoch of this session over one partition. The ledger's mutex guards it.
type tenure struct {
	partition partition.ID
	epoch     partition.Epoch
	// Invariant: first <= highWatermark <= next.
	first         int64 // first offset of the tenure
	highWatermark int64 // everything below is committed
	next          int64 // offset of the next record
	logStart      int64

	began   time.Time
	closing bool // takes no more batches
	ended   bool // nothing of it is committed any more, unless it was sent before
	fresh   bool // nothing was appended yet

	buffered  int        // bytes of batches not settled yet
	segments  []*segment // not settled yet, in order of offset
	producers map[int64]*producer
	complete  bool // producers has all that the catalog knows
	clock     uint64

	changed chan struct{} // nil until somebody waits
}

func newTenure(p partition.ID, g *controlplanev1.Grant) *tenure {
	t := &tenure{
		partition: p, epoch: g.GetEpoch(), first: g.GetTenureFirstOffset(), highWatermark: g.GetHighWatermark(), next: g.GetHighWatermark(),
		logStart: g.GetLogStartOffset(), began: time.Now(), fresh: true, producers: map[int64]*producer{}, complete: g.GetProducersComplete(),
	}
	for _, s := range g.GetProducers() {
		t.producers[s.GetProducerId()] = producerOf(s)
	}
	return t
}

// awaited tells whether its first batch is still to come, and is likely to have waited for this tenure to begin: then it waits no more.
func (t *tenure) awaited() bool { return t.fresh && time.Since(t.began) < hurry }

// decide judges a batch without changing anything but what the batch remembers of its own wait, and forgetting a producer that was silent for long.
func (t *tenure) decide(b *Batch) Decision {
	d := Decision{Epoch: t.epoch}
	if b.Header.Producer.Idempotent() {
		if done := t.decideSequence(b, &d); done {
			return d
		}
	}
	if b.ExpectedOffset == Anywhere || b.ExpectedOffset == t.next {
		d.Verdict = Accepted
		return d
	}
	return t.decideMismatch(b, d)
}

func (t *tenure) decideSequence(b *Batch, d *Decision) (done bool) {
	known := t.producers[b.Header.Producer.ID]
	if known != nil && known.stale() {
		delete(t.producers, b.Header.Producer.ID)
		known, t.complete = nil, false
	}
	if known == nil && !t.complete {
		d.Verdict = UnknownProducer
		return true
	}
	j := known.judge(b.Header.Producer, b.Header.RecordCount)
	switch {
	case j.repeat != nil && j.repeat.pending != nil:
		d.Verdict, d.Pending = InFlight, j.repeat.pending
	case j.repeat != nil:
		d.Verdict, d.BaseOffset = Duplicate, j.repeat.baseOffset
	case j.reason != 0:
		d.Verdict, d.Refusal, d.Changed = Doubtful, t.sequenceRefusal(known, j), t.wait()
	default:
		return false
	}
	return true
}

// decideMismatch: an offset that is already taken by committed records will never do; one that is taken, or will be passed, by records in
// flight is undecided until those are committed.
func (t *tenure) decideMismatch(b *Batch, d Decision) Decision {
	if b.decidedAt == 0 {
		b.decidedAt = max(1, min(b.ExpectedOffset+1, t.next))
	}
	d.Changed = t.wait()
	if len(t.segments) > 0 && t.highWatermark < b.decidedAt {
		d.Verdict = Undecided
		return d
	}
	d.Verdict, d.Refusal = Doubtful, t.refusal(refusalv1.Reason_REASON_EXPECTED_OFFSET,
		"the next offset is %d, not %d: decide anew", t.highWatermark, b.ExpectedOffset)
	d.Refusal.Offsets = &refusalv1.Offsets{LogStartOffset: t.logStart, HighWatermark: t.highWatermark, NextOffset: t.highWatermark}
	return d
}

func (t *tenure) sequenceRefusal(known *producer, j judgement) *refusalv1.Refusal {
	var r *refusalv1.Refusal
	switch j.reason {
	case refusalv1.Reason_REASON_PRODUCER_UNKNOWN:
		return t.refusal(j.reason, "nothing is known of this producer here: get a new producer id and start at sequence 0")
	case refusalv1.Reason_REASON_PRODUCER_FENCED:
		r = t.refusal(j.reason, "producer epoch %d has taken over: stop, or get a new producer id", known.epoch)
	case refusalv1.Reason_REASON_DUPLICATE_TOO_OLD:
		r = t.refusal(j.reason, "this batch is stored, longer ago than the last %d: its offset is no longer known", window)
		r.Written = refusalv1.Written_WRITTEN_BEFORE
	default:
		r = t.refusal(j.reason, "sequence %d comes next: send again from there", j.expected)
	}
	r.Sequence = &refusalv1.Sequence{ExpectedSequence: j.expected, ProducerEpoch: int32(known.epoch)}
	return r
}

func (t *tenure) refusal(reason refusalv1.Reason, format string, args ...any) *refusalv1.Refusal {
	r := refusal.New(reason, format, args...)
	r.Written = refusalv1.Written_WRITTEN_SURELY_NOT
	return r
}

// remember notes an accepted batch of an idempotent producer.
func (t *tenure) remember(b *Batch, pending *Pending) {
	id := b.Header.Producer.ID
	p := t.producers[id]
	if p == nil {
		t.evict()
		p = &producer{epoch: b.Header.Producer.Epoch}
		t.producers[id] = p
	}
	t.clock++
	p.used = t.clock
	p.remember(b.Header.Producer, remembered{
		baseSequence: b.Header.Producer.BaseSequence, count: b.Header.RecordCount, baseOffset: pending.baseOffset, pending: pending,
	})
}

// evict makes room for one more producer. Those with batches in flight stay, and are bounded by the bytes in flight.
func (t *tenure) evict() {
	if len(t.producers) < maxProducers {
		return
	}
	oldest, used := int64(-1), uint64(math.MaxUint64)
	for id, p := range t.producers {
		if p.used < used && !p.busy() {
			oldest, used = id, p.used
		}
	}
	if oldest >= 0 {
		delete(t.producers, oldest)
		t.complete = false
	}
}

func (t *tenure) wait() <-chan struct{} {
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return t.changed
}

func (t *tenure) wake() {
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}
