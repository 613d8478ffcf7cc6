package client

import (
	"errors"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

const (
	// maxRecordBytes is the greatest limit that a topic can have.
	maxRecordBytes = 3 << 20
	// maxBatchRecords keeps a batch of empty records small in memory.
	maxBatchRecords = 20_000
	// pendingBytes is about what the producer keeps of a record beside its encoding.
	pendingBytes = 32
	// mostReserved is the greatest step in which an open batch takes room from the budget.
	mostReserved = 64 << 10
)

// batch is records of one partition that are sent, stored and answered together. It is guarded by its lane's mu until
// it is sealed, then by Producer.mu; its encoder belongs to whoever sends it.
type batch struct {
	encoder  *encoder
	count    int32         // of records
	size     int           // bytes of records, uncompressed
	reserved int64         // of the producer's budget
	made     time.Time     // when its first record came
	deadline time.Time     // end of its delivery timeout
	clock    int64         // ms; the time that records without a timestamp get
	answered chan struct{} // closed once every callback has run

	// spans of its records that are traced, at most maxLinks; untraced counts those beyond.
	spans    []trace.Span
	untraced int

	// as is under what it was sent; generation 0: not sent yet, or to be numbered anew.
	as     identity
	flying bool // an attempt is under way
	// ahead tells whether all before it was done when it was sent last: only then a refusal about its sequence is about itself.
	ahead bool
	// attempts tells how often it was sent; unresolved, whether one of these attempts may have stored it or still may. Once true only a
	// proof of absence makes it false again.
	attempts   int
	unresolved bool
	renewals   int    // producer ids it has used up
	last       *Error // how the last attempt ended

	// done: there is a verdict, and its callbacks may run once those before it have. err is nil if it is stored, at base if that is known.
	done bool
	base int64
	err  *Error
}

// pending is a record with whom to tell about it.
type pending struct {
	record *Record
	done   func(*Record, error)
}

// encoder is the memory of a batch, used again for others.
type encoder struct {
	builder   *recordbatch.Builder
	records   []pending
	encoded   []byte               // what was sent last; nil: nothing yet
	encodedAs recordbatch.Producer // the identity in encoded
	// shared: an attempt ended without an answer, so that somebody may still read encoded.
	shared bool
}

// encoders lends encoders out.
type encoders struct {
	pool sync.Pool
}

func newEncoders(compress bool) *encoders {
	codec := recordbatch.None
	if compress {
		codec = recordbatch.LZ4
	}
	return &encoders{pool: sync.Pool{New: func() any {
		return &encoder{builder: recordbatch.NewBuilder(codec, recordbatch.Limits{MaxRecordBytes: maxRecordBytes})}
	}}}
}

func (s *encoders) take() *encoder { return s.pool.Get().(*encoder) }

// give takes an encoder back, unless somebody may still read what it holds.
func (s *encoders) give(e *encoder) {
	if e.shared {
		return
	}
	e.builder.Reset()
	clear(e.records)
	e.records, e.encoded = e.records[:0], nil
	s.pool.Put(e)
}

// fits reports whether a record of at most bound encoded bytes may still join.
func (b *batch) fits(bound, limit int) bool {
	return b.count < maxBatchRecords && b.size+bound <= limit
}

// affords reports whether the batch has room for such a record in what it reserved.
func (b *batch) affords(bound int) bool { return b.used()+int64(bound)+pendingBytes <= b.reserved }

func (b *batch) used() int64 { return int64(b.size) + int64(b.count)*pendingBytes }

// reserve takes room for a record of at most bound bytes, and some more, from the budget.
func (b *batch) reserve(from *budget, bound int) bool {
	need := b.used() + int64(bound) + pendingBytes - b.reserved
	for _, n := range [...]int64{max(need, min(b.reserved, mostReserved)), need} {
		if from.take(n) {
			b.reserved += n
			return true
		}
	}
	return false
}

// add encodes a record. On error nothing was added.
func (b *batch) add(r *Record, done func(*Record, error)) *Error {
	builder := b.encoder.builder
	if err := builder.Append(b.millis(r), r.Key, r.Value, r.Headers); err != nil {
		return fromEncoding(err).at(r.Topic, -1)
	}
	b.encoder.records = append(b.encoder.records, pending{record: r, done: done})
	if r.sending != nil {
		b.trace(r.sending.span)
	}
	b.count++
	b.size = builder.UncompressedBytes()
	return nil
}

func (b *batch) trace(span trace.Span) {
	if len(b.spans) == maxLinks {
		b.untraced++
		return
	}
	b.spans = append(b.spans, span)
}

// millis is a record's timestamp as stored; a zero one is replaced by now. The clock is read for each of the first records, which may come
// far apart, and for every 64th from then on.
func (b *batch) millis(r *Record) int64 {
	if !r.Timestamp.IsZero() {
		return r.Timestamp.UnixMilli()
	}
	if b.count < 16 || b.count%64 == 0 {
		b.clock = time.Now().UnixMilli()
	}
	r.Timestamp = time.UnixMilli(b.clock)
	return b.clock
}

// encode returns the batch as it goes over the wire under an identity. The first call compresses it; a later one under another identity
// changes nothing but that.
func (e *encoder) encode(as recordbatch.Producer) ([]byte, *Error) {
	if e.encoded == nil {
		encoded, err := e.builder.Build(as)
		if err != nil {
			return nil, fromEncoding(err)
		}
		e.encoded, e.encodedAs = encoded, as
	}
	if e.encodedAs != as {
		if e.shared {
			e.encoded = slices.Clone(e.encoded)
		}
		if err := recordbatch.SetProducer(e.encoded, as); err != nil {
			return nil, fromEncoding(err)
		}
		e.encodedAs = as
	}
	return e.encoded, nil
}

// fromEncoding takes over why a record cannot be encoded.
func fromEncoding(err error) *Error {
	e := failure(ReasonInvalid, "%v", err).wrote(SurelyNotWritten).wrap(err)
	if be, ok := errors.AsType[*recordbatch.Error](err); ok {
		switch be.Reason {
		case recordbatch.RecordTooLarge:
			e.Reason = ReasonRecordTooLarge
		case recordbatch.TooLarge:
			e.Reason = ReasonBatchTooLarge
		default:
		}
	}
	return e
}

// answer tells everyone who waits for a record.
func (b *batch) answer(partition int32, orphaned func(*Record, *Error)) {
	known := b.err == nil && b.base >= 0
	for i, p := range b.encoder.records {
		p.record.Partition, p.record.Offset = partition, UnknownOffset
		if known {
			p.record.Offset = b.base + int64(i)
		}
		switch {
		case p.done != nil && b.err == nil:
			p.done(p.record, nil)
		case p.done != nil:
			p.done(p.record, b.err)
		case b.err != nil:
			orphaned(p.record, b.err)
		}
	}
	close(b.answered)
}
