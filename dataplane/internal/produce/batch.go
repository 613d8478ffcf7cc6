package produce

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

const (
	// maxBatchBytes bounds an encoded batch. A topic with larger records has room for one of them.
	maxBatchBytes = 1 << 20
	// batchSlack is for the header and for framing that did not compress.
	batchSlack = 64 << 10
	// joinBelow is from how many bytes on the plain records of a call are batched and compressed by themselves, right here: they fill blocks of
	// their own, and until they are compressed they count twice in memory, and as they are where they are forwarded.
	joinBelow = 64 << 10
)

func limits(topic route.Topic) recordbatch.Limits {
	return recordbatch.Limits{
		MaxRecordBytes: topic.MaxRecordBytes, MaxUncompressedBytes: recordbatch.DefaultMaxUncompressedBytes, KeysRequired: topic.KeysRequired,
	}
}

// Level is how far batches are verified that producers have built.
type Level string

// The levels.
const (
	// Full proves every field of every record.
	Full Level = "full"
	// Checksum proves that a batch is what its producer built, and trusts that it was built honestly: its record count, offsets, timestamps
	// and the least of them, which is taken from the first record.
	Checksum Level = "checksum"
)

// turn is memory for one batch at a time, to decompress it into, or to build it in.
type turn struct {
	scratch recordbatch.Scratch
	builder *recordbatch.Builder
}

func newTurn() *turn {
	return &turn{builder: recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})}
}

// readBatch verifies the entry's batch, or makes one of its plain records. key is the first record's, nil if it has none or if the entry
// names its partition.
//
// plain: its records are left for the ledger to be joined with those of other calls.
func (s *Service) readBatch(ctx context.Context, in *dataplanev1.ProduceEntry, topic route.Topic, plain bool) (batch *ingest.Batch, key []byte, err error) {
	var turn *turn
	select { // bounds the memory for batches that are decompressed or built, and costs nothing: they are CPU alone
	case turn = <-s.turns:
		defer func() { s.turns <- turn }()
	case <-ctx.Done():
		return nil, nil, surelyNot(noLeaderRefusal("the deadline passed before the batch was verified: try again"))
	}
	field := "batch"
	if in.GetRecords() != nil {
		field = "records"
		batch, key, err = build(turn.builder, in.GetRecords().GetRecords(), topic, plain)
	} else {
		batch, key, err = s.verify(in, topic, &turn.scratch)
	}
	if err != nil {
		return nil, nil, s.refuseBatch(ctx, err, field)
	}
	if bound := maxEncoded(topic); len(batch.Bytes) > bound {
		return nil, nil, refuseSize(len(batch.Bytes), bound, field)
	}
	batch.ExpectedOffset = ingest.Anywhere
	if in.ExpectedOffset != nil {
		batch.ExpectedOffset = in.GetExpectedOffset()
	}
	return batch, key, nil
}

// maxEncoded bounds an encoded batch.
func maxEncoded(topic route.Topic) int { return max(maxBatchBytes, topic.MaxRecordBytes) + batchSlack }

func refuseSize(size, bound int, field string) error {
	r := refusal.New(refusalv1.Reason_REASON_BATCH_TOO_LARGE, "the batch has %d bytes, the limit is %d: send smaller batches", size, bound)
	r.Field = field
	return refusal.Error(r)
}

// verify proves a producer's batch, and reads what its header does not have.
func (s *Service) verify(in *dataplanev1.ProduceEntry, topic route.Topic, scratch *recordbatch.Scratch) (*ingest.Batch, []byte, error) {
	encoded := in.GetBatch()
	if bound := maxEncoded(topic); len(encoded) > bound {
		return nil, nil, refuseSize(len(encoded), bound, "batch")
	}
	if s.Verify == Checksum && in.Partition != nil { // else the key is needed
		header, err := recordbatch.VerifyFrame(encoded, limits(topic))
		if err == nil {
			return &ingest.Batch{Bytes: encoded, Header: header, MinTimestampMs: min(header.BaseTimestamp, header.MaxTimestamp)}, nil, nil
		}
		if e, ok := errors.AsType[*recordbatch.Error](err); !ok || e.Reason != recordbatch.Unsupported {
			return nil, nil, err
		}
		// It may be a frame that says too little, or its keys count: the full verification knows.
	}
	info, err := recordbatch.Verify(encoded, limits(topic), scratch)
	if err != nil {
		return nil, nil, err
	}
	return &ingest.Batch{Bytes: encoded, Header: info.Header, MinTimestampMs: info.MinTimestamp}, bytes.Clone(info.FirstKey), nil
}

// joinable tells whether plain records of a call are to be joined with those of others: they are few.
func joinable(entries []*dataplanev1.ProduceEntry) bool {
	size := 0
	for _, e := range entries {
		for _, r := range e.GetRecords().GetRecords() {
			if size += sizeOf(r); size >= joinBelow {
				return false
			}
		}
	}
	return true
}

// sizeOf is about how many bytes a record has when it is encoded.
func sizeOf(r *dataplanev1.Record) int {
	const fields = 12
	n := fields + len(r.GetKey()) + len(r.GetValue())
	for _, h := range r.GetHeaders() {
		n += fields + len(h.GetKey()) + len(h.GetValue())
	}
	return n
}

// build batches plain records and, unless they are to be joined with others, compresses them. What it builds is true, so it is not verified
// again.
func build(b *recordbatch.Builder, records []*dataplanev1.Record, topic route.Topic, plain bool) (*ingest.Batch, []byte, error) {
	codec := recordbatch.LZ4
	if plain {
		codec = recordbatch.None
	}
	b.Renew(codec, limits(topic))
	now := time.Now().UnixMilli()
	least := recordbatch.MaxTimestamp
	for _, r := range records {
		at := now
		if r.TimestampMs != nil {
			at = r.GetTimestampMs()
		}
		if err := b.Append(at, r.GetKey(), r.GetValue(), headers(r)); err != nil {
			return nil, nil, err
		}
		least = min(least, at)
	}
	encoded, err := b.Build(recordbatch.NoProducer())
	if err != nil {
		return nil, nil, err
	}
	encoded = bytes.Clone(encoded) // it lies in the builder's memory
	header, err := recordbatch.ParseHeader(encoded)
	if err != nil {
		return nil, nil, err
	}
	return &ingest.Batch{Bytes: encoded, Plain: plain, Header: header, MinTimestampMs: least}, records[0].GetKey(), nil
}

func headers(r *dataplanev1.Record) []recordbatch.RecordHeader {
	if len(r.GetHeaders()) == 0 {
		return nil
	}
	out := make([]recordbatch.RecordHeader, len(r.GetHeaders()))
	for i, h := range r.GetHeaders() {
		out[i] = recordbatch.RecordHeader{Key: h.GetKey(), Value: h.GetValue()}
	}
	return out
}

var batchReasons = map[recordbatch.Reason]refusalv1.Reason{
	recordbatch.Corrupt:        refusalv1.Reason_REASON_CORRUPT_BATCH,
	recordbatch.WrongCount:     refusalv1.Reason_REASON_RECORD_COUNT_MISMATCH,
	recordbatch.TooLarge:       refusalv1.Reason_REASON_BATCH_TOO_LARGE,
	recordbatch.RecordTooLarge: refusalv1.Reason_REASON_RECORD_TOO_LARGE,
	recordbatch.Unsupported:    refusalv1.Reason_REASON_CORRUPT_BATCH,
	recordbatch.Empty:          refusalv1.Reason_REASON_EMPTY_BATCH,
	recordbatch.BadTimestamp:   refusalv1.Reason_REASON_INVALID,
	recordbatch.BadProducer:    refusalv1.Reason_REASON_INVALID,
	recordbatch.NoKey:          refusalv1.Reason_REASON_INVALID,
}

func (s *Service) refuseBatch(ctx context.Context, err error, field string) error {
	e, ok := errors.AsType[*recordbatch.Error](err)
	if !ok {
		return err
	}
	s.refusedBatch(ctx, e.Reason)
	r := refusal.New(batchReasons[e.Reason], "%s", e.Error())
	r.Field = field
	return refusal.Error(r)
}
