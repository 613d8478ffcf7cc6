package produce

import (
	"bytes"
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

// readBatch verifies the entry's batch, or makes one of its plain records. key is the first record's, nil if it has none.
func readBatch(in *dataplanev1.ProduceEntry, topic route.Topic) (batch *ingest.Batch, key []byte, err error) {
	encoded := in.GetBatch()
	field := "batch"
	if plain := in.GetRecords(); plain != nil {
		field = "records"
		if encoded, err = build(plain.GetRecords(), topic); err != nil {
			return nil, nil, refuseBatch(err, field)
		}
	}
	if bound := max(maxBatchBytes, topic.MaxRecordBytes) + batchSlack; len(encoded) > bound {
		r := refusal.New(refusalv1.Reason_REASON_BATCH_TOO_LARGE, "the batch has %d bytes, the limit is %d: send smaller batches", len(encoded), bound)
		r.Field = field
		return nil, nil, refusal.Error(r)
	}
	batch, key, err = verify(encoded, topic)
	if err != nil {
		return nil, nil, refuseBatch(err, field)
	}
	batch.ExpectedOffset = ingest.Anywhere
	if in.ExpectedOffset != nil {
		batch.ExpectedOffset = in.GetExpectedOffset()
	}
	return batch, key, nil
}

// verify proves every field of a batch, and reads what its header does not have.
func verify(encoded []byte, topic route.Topic) (*ingest.Batch, []byte, error) {
	scratch := recordbatch.AcquireScratch()
	defer scratch.Release()
	info, err := recordbatch.Verify(encoded, limits(topic), scratch)
	if err != nil {
		return nil, nil, err
	}
	b := &ingest.Batch{Bytes: encoded, Header: info.Header, MinTimestampMs: info.BaseTimestamp}
	var view recordbatch.View
	var key []byte
	reader := recordbatch.NewReader(info)
	for first := true; reader.Next(&view); first = false {
		if first {
			key = bytes.Clone(view.Key)
		}
		b.MinTimestampMs = min(b.MinTimestampMs, view.Timestamp)
	}
	return b, key, reader.Err()
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

func refuseBatch(err error, field string) error {
	e, ok := errors.AsType[*recordbatch.Error](err)
	if !ok {
		return err
	}
	r := refusal.New(batchReasons[e.Reason], "%s", e.Error())
	r.Field = field
	return refusal.Error(r)
}
