package recordbatch_test

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

func drawBytes(t *rapid.T, name string, most int) []byte {
	if rapid.Bool().Draw(t, name+" is null") {
		return nil
	}
	b := rapid.SliceOfN(rapid.Byte(), 0, most).Draw(t, name)
	if len(b) == 0 {
		return []byte{}
	}
	repeat := rapid.IntRange(1, 300).Draw(t, name+" repeat") // something to compress, and long varints
	out := make([]byte, 0, len(b)*repeat)
	for range repeat {
		out = append(out, b...)
	}
	return out
}

func drawRecord(t *rapid.T) recordbatch.Record {
	r := recordbatch.Record{
		Timestamp: rapid.Int64Range(0, recordbatch.MaxTimestamp).Draw(t, "timestamp"),
		Key:       drawBytes(t, "key", 20),
		Value:     drawBytes(t, "value", 100),
	}
	for range rapid.IntRange(0, 3).Draw(t, "headers") {
		r.Headers = append(r.Headers, recordbatch.RecordHeader{
			Key: rapid.SampledFrom([]string{"", "a", "trace-id", "größe"}).Draw(t, "header key"), Value: drawBytes(t, "header value", 10),
		})
	}
	return r
}

func drawProducer(t *rapid.T) recordbatch.Producer {
	if rapid.Bool().Draw(t, "not idempotent") {
		return recordbatch.NoProducer()
	}
	return recordbatch.Producer{
		ID:           rapid.Int64Min(0).Draw(t, "producer id"),
		Epoch:        rapid.Int16Min(0).Draw(t, "producer epoch"),
		BaseSequence: rapid.Int32Min(0).Draw(t, "base sequence"),
	}
}

// One builder through many batches: each comes back as it went in, sizes and header fields are true,
// and the batches come apart again when they stand one after the other.
func TestRoundTripProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		codec := rapid.SampledFrom([]recordbatch.Codec{recordbatch.None, recordbatch.LZ4}).Draw(t, "codec")
		b := recordbatch.NewBuilder(codec, recordbatch.Limits{})
		var all []byte
		var want []recordbatch.Record
		next := rapid.Int64Range(0, 1<<50).Draw(t, "base offset")
		for range rapid.IntRange(1, 3).Draw(t, "batches") {
			b.Reset()
			records := rapid.SliceOfN(rapid.Custom(drawRecord), 1, 20).Draw(t, "records")
			base := next
			greatest := int64(0)
			for _, r := range records {
				if err := b.Append(r.Timestamp, r.Key, r.Value, r.Headers); err != nil {
					t.Fatal(err)
				}
				greatest = max(greatest, r.Timestamp)
				r.Offset = next
				next++
				want = append(want, r)
			}
			p := drawProducer(t)
			batch, err := b.Build(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := recordbatch.Stamp(batch, base, 5); err != nil {
				t.Fatal(err)
			}
			info, err := recordbatch.Verify(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
			if err != nil {
				t.Fatal(err)
			}
			if info.UncompressedBytes() != b.UncompressedBytes() || int(info.RecordCount) != b.Count() ||
				info.Producer != p || info.MaxTimestamp != greatest || info.NextOffset() != next {
				t.Fatalf("%+v: not what was built", info.Header)
			}
			all = append(all, batch...)
		}
		var got []recordbatch.Record
		for batch, err := range recordbatch.Split(all) {
			if err != nil {
				t.Fatal(err)
			}
			info, err := recordbatch.Open(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
			if err != nil {
				t.Fatal(err)
			}
			if got, err = recordbatch.AppendRecords(got, info); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}
