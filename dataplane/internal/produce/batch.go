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
)

func limits(topic route.Topic) recordbatch.Limits {
	return recordbatch.Limits{MaxRecordBytes: topic.MaxRecordBytes, MaxUncompressedBytes: recordbatch.DefaultMaxUncompressedBytes}
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

// readBatch verifies the entry's batch, or makes one of its plain records. key is the first record's, nil if it has none or if the entry
// names its partition.
func (s *Service) readBatch(ctx context.Context, in *dataplanev1.ProduceEntry, topic route.Topic) (batch *ingest.Batch, key []byte, err error) {
	select { // bounds the memory for decompressed batches, and costs nothing: they are CPU alone
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return nil, nil, surelyNot(noLeaderRefusal("the deadline passed before the batch was verified: try again"))
	}
	encoded, field, level := in.GetBatch(), "batch", s.Verify
	if plain := in.GetRecords(); plain != nil {
		field = "records"
		if encoded, err = build(plain.GetRecords(), topic); err != nil {
			return nil, nil, s.refuseBatch(ctx, err, field)
		}
	}
	if in.Partition == nil {
		level = Full // for the key
	}
	if bound := max(maxBatchBytes, topic.MaxRecordBytes) + batchSlack; len(encoded) > bound {
		r := refusal.New(refusalv1.Reason_REASON_BATCH_TOO_LARGE, "the batch has %d bytes, the limit is %d: send smaller batches", len(encoded), bound)
		r.Field = field
		return nil, nil, refusal.Error(r)
	}
	batch, key, err = verify(encoded, topic, level)
	if err != nil {
		return nil, nil, s.refuseBatch(ctx, err, field)
	}
	batch.ExpectedOffset = ingest.Anywhere
	if in.ExpectedOffset != nil {
		batch.ExpectedOffset = in.GetExpectedOffset()
	}
	return batch, key, nil
}

// verify proves a batch, and reads what its header does not have.
func verify(encoded []byte, topic route.Topic, level Level) (*ingest.Batch, []byte, error) {
	if level == Checksum {
		header, err := recordbatch.VerifyFrame(encoded, limits(topic))
		if err == nil {
			return &ingest.Batch{Bytes: encoded, Header: header, MinTimestampMs: min(header.BaseTimestamp, header.MaxTimestamp)}, nil, nil
		}
		if e, ok := errors.AsType[*recordbatch.Error](err); !ok || e.Reason != recordbatch.Unsupported {
			return nil, nil, err
		}
		// It may be a frame that says too little: the full verification knows.
	}
	scratch := recordbatch.AcquireScratch()
	defer scratch.Release()
	info, err := recordbatch.Verify(encoded, limits(topic), scratch)
	if err != nil {
		return nil, nil, err
	}
	return &ingest.Batch{Bytes: encoded, Header: info.Header, MinTimestampMs: info.MinTimestamp}, bytes.Clone(info.FirstKey), nil
}

// build batches and compresses plain records.
func build(records []*dataplanev1.Record, topic route.Topic) ([]byte, error) {
	b := recordbatch.NewBuilder(recordbatch.LZ4, limits(topic))
	now := time.Now().UnixMilli()
	for _, r := range records {
		at := now
		if r.TimestampMs != nil {
			at = r.GetTimestampMs()
		}
		if err := b.Append(at, r.GetKey(), r.GetValue(), headers(r)); err != nil {
			return nil, err
		}
	}
	return b.AppendBatch(nil, recordbatch.NoProducer())
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
