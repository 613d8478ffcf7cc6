package recordbatch_test

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

func batchOf(t interface{ Fatal(...any) }, codec recordbatch.Codec, p recordbatch.Producer, records ...recordbatch.Record) []byte {
	b := recordbatch.NewBuilder(codec, recordbatch.Limits{})
	for _, r := range records {
		if err := b.Append(r.Timestamp, r.Key, r.Value, r.Headers); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := b.AppendBatch(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// However records are spread over batches: joined they are, byte for byte, the batch that one builder makes of all.
func TestJoinedBatchesAreTheBatchOfAllRecords(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		codec := rapid.SampledFrom([]recordbatch.Codec{recordbatch.None, recordbatch.LZ4}).Draw(t, "codec")
		joined := recordbatch.NewBuilder(codec, recordbatch.Limits{})
		for range rapid.IntRange(1, 2).Draw(t, "batches") {
			joined.Reset()
			var all []recordbatch.Record
			for range rapid.IntRange(1, 70).Draw(t, "calls") { // more than 64 offsets: they are longer from there on
				records := rapid.SliceOfN(rapid.Custom(drawRecord), 1, 3).Draw(t, "records")
				all = append(all, records...)
				if err := joined.Join(batchOf(t, recordbatch.None, recordbatch.NoProducer(), records...)); err != nil {
					t.Fatal(err)
				}
			}
			got, err := joined.Build(recordbatch.NoProducer())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, batchOf(t, codec, recordbatch.NoProducer(), all...)) {
				t.Fatalf("%d records joined differ from those that were appended", len(all))
			}
		}
	})
}

// What cannot be joined changes nothing.
func TestJoinRefusesAndStaysAsItWas(t *testing.T) {
	t.Parallel()
	record := recordbatch.Record{Timestamp: 1_700_000_000_000, Value: bytes.Repeat([]byte("v"), 300)}
	good := batchOf(t, recordbatch.None, recordbatch.NoProducer(), record)
	changed := func(change func([]byte) []byte) []byte { return change(bytes.Clone(good)) }
	for name, test := range map[string]struct {
		batch []byte
		want  recordbatch.Reason
	}{
		"compressed": {batchOf(t, recordbatch.LZ4, recordbatch.NoProducer(), record), recordbatch.Unsupported},
		"idempotent": {batchOf(t, recordbatch.None, recordbatch.Producer{ID: 1}, record), recordbatch.Unsupported},
		"cut":        {changed(func(b []byte) []byte { return b[:len(b)-1] }), recordbatch.Corrupt},
		"longer":     {changed(func(b []byte) []byte { return append(b, 0) }), recordbatch.Corrupt},
		"flipped":    {changed(func(b []byte) []byte { b[len(b)-9] ^= 1; return b }), recordbatch.Corrupt},
		"nothing":    {nil, recordbatch.Corrupt},
		"no room": {batchOf(t, recordbatch.None, recordbatch.NoProducer(), recordbatch.Record{Timestamp: 5, Value: make([]byte, 100)},
			recordbatch.Record{Value: make([]byte, 900)}), recordbatch.TooLarge},
	} {
		b := recordbatch.NewBuilder(recordbatch.None, recordbatch.Limits{MaxRecordBytes: 1000, MaxUncompressedBytes: 1200})
		if err := b.Join(good); err != nil {
			t.Fatal(err)
		}
		err := b.Join(test.batch)
		if e, ok := errors.AsType[*recordbatch.Error](err); !ok || e.Reason != test.want {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := b.Build(recordbatch.NoProducer()); err != nil || !bytes.Equal(got, good) {
			t.Errorf("%s: the batch is another one now: %v", name, err)
		}
	}
}

// No bytes, however malformed, make it panic, or build what nobody can read.
func FuzzJoin(f *testing.F) {
	f.Add(batchOf(f, recordbatch.None, recordbatch.NoProducer(), recordbatch.Record{Timestamp: 7, Key: []byte("k"), Value: []byte("v")}), int32(1))
	f.Fuzz(func(t *testing.T, batch []byte, seal int32) {
		if len(batch) >= recordbatch.HeaderBytes && seal != 0 {
			_ = recordbatch.SetProducer(batch, recordbatch.NoProducer()) // a true checksum
		}
		b := recordbatch.NewBuilder(recordbatch.None, recordbatch.Limits{})
		if err := b.Append(5, nil, nil, nil); err != nil {
			t.Fatal(err)
		}
		before := b.UncompressedBytes()
		if err := b.Join(batch); err != nil && (b.Count() != 1 || b.UncompressedBytes() != before) {
			t.Errorf("refused, %v, and yet %d records are there", err, b.Count())
		}
	})
}
