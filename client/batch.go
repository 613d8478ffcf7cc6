package client

import (
	"errors"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

const (
	// maxRecordBytes is the greatest limit that a topic can have.
	maxRecordBytes = 3 << 20
	// maxBatchRecords keeps a batch of empty records small in memory.
	maxBatchRecords = 20_000
	// pendingBytes is about what the producer keeps of a record beside its encoding.
	pendingBytes = 64
)

// batch is records of one partition that are sent, stored and answered together. It is guarded by Producer.mu
// until it is sealed; then encoding belongs to whoever sends it, the rest stays with the lane.
type batch struct {
	builder  *recordbatch.Builder // nil once encoded
	records  []pending
	count    int32     // of records
	size     int       // bytes of records, uncompressed
	bytes    int64     // what it counts in the producer's buffer
	made     time.Time // when its first record came
	deadline time.Time // end of its delivery timeout
	sealed   bool
	done     chan struct{} // closed once every callback has run

	// attempts tells how often it was sent; unresolved, whether one of these attempts may have stored it or
	// still may. Once true only a proof of absence (a sequence gap) makes it false again.
	attempts   int
	unresolved bool
	renewals   int    // producer ids it has used up
	last       *Error // how the last attempt ended

	encoded   []byte               // what was sent last
	encodedAs recordbatch.Producer // the identity in encoded
}

// pending is a record with whom to tell about it.
type pending struct {
	record *Record
	done   func(*Record, error)
}

// builders lends builders out: there are far fewer batches than partitions.
type builders struct {
	pool sync.Pool
}

func newBuilders(compress bool) *builders {
	codec := recordbatch.None
	if compress {
		codec = recordbatch.LZ4
	}
	return &builders{pool: sync.Pool{New: func() any {
		return recordbatch.NewBuilder(codec, recordbatch.Limits{MaxRecordBytes: maxRecordBytes})
	}}}
}

func (b *builders) take() *recordbatch.Builder { return b.pool.Get().(*recordbatch.Builder) }

func (b *builders) give(r *recordbatch.Builder) {
	r.Reset()
	b.pool.Put(r)
}

// fits reports whether a record of at most bound encoded bytes may still join.
func (b *batch) fits(bound, limit int) bool {
	return !b.sealed && len(b.records) < maxBatchRecords && b.size+bound <= limit
}

// add encodes a record. On error nothing was added.
func (b *batch) add(r *Record, done func(*Record, error)) *Error {
	if err := b.builder.Append(r.millis(), r.Key, r.Value, r.Headers); err != nil {
		return fromEncoding(err).at(r.Topic, -1)
	}
	b.records = append(b.records, pending{record: r, done: done})
	b.count, b.size = int32(b.builder.Count()), b.builder.UncompressedBytes()
	return nil
}

// encode returns the batch as it goes over the wire under an identity. The first call compresses it and lends the
// builder on; a later one under another identity changes nothing but that.
func (b *batch) encode(as recordbatch.Producer, lender *builders) ([]byte, *Error) {
	if b.encoded == nil {
		encoded, err := b.builder.AppendBatch(nil, as)
		if err != nil {
			return nil, fromEncoding(err)
		}
		lender.give(b.builder)
		b.builder, b.encoded, b.encodedAs = nil, encoded, as
	}
	if b.encodedAs != as {
		if err := recordbatch.SetProducer(b.encoded, as); err != nil {
			return nil, fromEncoding(err)
		}
		b.encodedAs = as
	}
	return b.encoded, nil
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

// answer tells everyone who waits for a record. base is the first record's offset or UnknownOffset.
func (b *batch) answer(partition int32, base int64, err *Error, orphaned func(*Record, *Error)) {
	for i, p := range b.records {
		p.record.Partition, p.record.Offset = partition, UnknownOffset
		if err == nil && base >= 0 {
			p.record.Offset = base + int64(i)
		}
		switch {
		case p.done != nil && err == nil:
			p.done(p.record, nil)
		case p.done != nil:
			p.done(p.record, err)
		case err != nil:
			orphaned(p.record, err)
		}
	}
	b.records = nil
	close(b.done)
}
