package recordbatch_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// Small limits, so that the fuzzer reaches them.
var fuzzLimits = recordbatch.Limits{MaxRecordBytes: 4 << 10, MaxUncompressedBytes: 64 << 10}

// FuzzVerify: no bytes panic or decompress beyond the bound; what Verify accepts, every other reader
// of this package accepts too, and its views and structs agree. Length and checksum are mended first,
// so that the fuzzer gets past them.
func FuzzVerify(f *testing.F) {
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.LZ4} {
		f.Add(build(f, codec, recordbatch.NoProducer(), oddRecords()[:4]...), true)
		f.Add(build(f, codec, recordbatch.Producer{ID: 1, Epoch: 2, BaseSequence: 3}, oddRecords()[:3]...), false)
		f.Add(build(f, codec, recordbatch.NoProducer(), oddRecords()[5:]...), true)
	}
	text := recordbatch.Record{Timestamp: now, Value: bytes.Repeat([]byte("text "), 30)}
	f.Add(build(f, recordbatch.LZ4, recordbatch.NoProducer(), text, text), true)
	f.Add(withRecords(1, recordbatch.None, []byte{12, 0, 0, 0, 1, 1, 0}), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, batch []byte, mend bool) {
		if mend && len(batch) >= recordbatch.HeaderBytes {
			batch = sealed(bytes.Clone(batch))
		}
		info, err := recordbatch.Verify(batch, fuzzLimits, new(recordbatch.Scratch))
		if err != nil {
			var e *recordbatch.Error
			if !errors.As(err, &e) || e.Reason == 0 || e.Error() == "" {
				t.Fatalf("error without a reason: %v", err)
			}
			readAnyway(batch)
			return
		}
		checkAccepted(t, batch, info)
	})
}

// readAnyway runs the lenient readers over refused bytes: they may fail, not panic.
func readAnyway(batch []byte) {
	for range recordbatch.Split(batch) {
	}
	_, _ = recordbatch.VerifyFrame(batch, fuzzLimits)
	info, err := recordbatch.Open(batch, fuzzLimits, new(recordbatch.Scratch))
	if err == nil {
		_, _ = recordbatch.AppendRecords(nil, info)
		_, _, _ = recordbatch.Retain(nil, batch, info, func(v *recordbatch.View) bool { return v.Offset%2 == 0 }, new(recordbatch.Scratch))
	}
}

func checkAccepted(t *testing.T, batch []byte, info recordbatch.Info) {
	t.Helper()
	if info.UncompressedBytes() > fuzzLimits.MaxUncompressedBytes {
		t.Fatalf("%d bytes decompressed", info.UncompressedBytes())
	}
	records, err := recordbatch.AppendRecords(nil, info)
	if err != nil || len(records) != int(info.RecordCount) {
		t.Fatalf("%d records of %d: %v", len(records), info.RecordCount, err)
	}
	if one, rest, err := recordbatch.Next(batch); err != nil || len(one) != len(batch) || len(rest) != 0 {
		t.Fatalf("split differently: %v", err)
	}
	b := recordbatch.NewBuilder(info.Codec(), fuzzLimits)
	for i, r := range records {
		if r.Offset != info.BaseOffset+int64(i) {
			t.Fatalf("record %d has the offset %d", i, r.Offset)
		}
		err := b.Append(r.Timestamp, r.Key, r.Value, r.Headers)
		var e *recordbatch.Error
		if errors.As(err, &e) && e.Reason == recordbatch.TooLarge {
			return // shorter varints than ours may have fitted
		}
		if err != nil {
			t.Fatalf("the builder refuses an accepted record: %v", err)
		}
	}
	again, err := b.Build(info.Producer)
	if err != nil {
		t.Fatal(err)
	}
	if err := recordbatch.Stamp(again, info.BaseOffset, info.LeaderEpoch); err != nil {
		t.Fatal(err)
	}
	if got := decode(t, again); !reflect.DeepEqual(got, records) {
		t.Fatalf("rebuilt: %v, want %v", got, records)
	}
}

// FuzzRoundTrip: whatever bytes records hold, they come back as they went in.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), "header", []byte("h"), uint64(now), uint8(3), uint8(0xff), int64(7))
	f.Add([]byte{}, []byte{}, "", []byte{}, uint64(0), uint8(1), uint8(0), int64(-1))
	f.Add([]byte(nil), bytes.Repeat([]byte("abc"), 100), "é", []byte("\r\n"), uint64(1<<60), uint8(20), uint8(0x55), int64(1<<40))
	f.Fuzz(func(t *testing.T, key, value []byte, header string, headerValue []byte, ts uint64, count, nulls uint8, offset int64) {
		if nulls&1 == 0 {
			key = nil
		}
		if nulls&2 == 0 {
			value = nil
		}
		if nulls&4 == 0 {
			headerValue = nil
		}
		roundTrip(t, recordbatch.Record{
			Timestamp: int64(ts % uint64(recordbatch.MaxTimestamp)), Key: key, Value: value,
			Headers: []recordbatch.RecordHeader{{Key: header, Value: headerValue}},
		}, int(count)+1, max(offset, 0)>>1)
	})
}

// refusable are the reasons for which a builder may refuse the fuzzer's records.
var refusable = map[recordbatch.Reason]bool{
	recordbatch.Corrupt: true, recordbatch.TooLarge: true, recordbatch.RecordTooLarge: true,
}

// roundTrip sends count copies of r, each with another timestamp, through a stamped batch.
func roundTrip(t *testing.T, r recordbatch.Record, count int, offset int64) {
	t.Helper()
	b := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
	var want []recordbatch.Record
	for i := range count {
		r.Offset = offset + int64(i)
		r.Timestamp = (r.Timestamp*3 + int64(i)) % recordbatch.MaxTimestamp
		if err := b.Append(r.Timestamp, r.Key, r.Value, r.Headers); err != nil {
			var e *recordbatch.Error
			if !errors.As(err, &e) || !refusable[e.Reason] {
				t.Fatal(err)
			}
			break
		}
		want = append(want, r)
	}
	batch, err := b.Build(recordbatch.NoProducer())
	if len(want) == 0 {
		wantReason(t, err, recordbatch.Empty)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := recordbatch.Stamp(batch, offset, 3); err != nil {
		t.Fatal(err)
	}
	if got := decode(t, batch); !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}
