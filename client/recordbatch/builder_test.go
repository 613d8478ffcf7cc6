package recordbatch_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

const now = int64(1_700_000_000_000)

// build returns a batch of records, whose offsets are ignored.
func build(tb testing.TB, codec recordbatch.Codec, p recordbatch.Producer, records ...recordbatch.Record) []byte {
	tb.Helper()
	b := recordbatch.NewBuilder(codec, recordbatch.Limits{})
	for _, r := range records {
		if err := b.Append(r.Timestamp, r.Key, r.Value, r.Headers); err != nil {
			tb.Fatal(err)
		}
	}
	batch, err := b.Build(p)
	if err != nil {
		tb.Fatal(err)
	}
	return batch
}

func decode(tb testing.TB, batch []byte) []recordbatch.Record {
	tb.Helper()
	info, err := recordbatch.Verify(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
	if err != nil {
		tb.Fatal(err)
	}
	records, err := recordbatch.AppendRecords(nil, info)
	if err != nil {
		tb.Fatal(err)
	}
	return records
}

func wantReason(tb testing.TB, err error, reason recordbatch.Reason) *recordbatch.Error {
	tb.Helper()
	var e *recordbatch.Error
	if !errors.As(err, &e) {
		tb.Fatalf("got %v, want an error of reason %q", err, reason)
	}
	if e.Reason != reason {
		tb.Fatalf("got %v, want reason %q", e, reason)
	}
	return e
}

// oddRecords are those that codecs like to confuse.
func oddRecords() []recordbatch.Record {
	return []recordbatch.Record{
		{Timestamp: now, Key: nil, Value: nil},
		{Timestamp: now - 5, Key: []byte{}, Value: []byte{}},
		{Timestamp: now + 300, Key: nil, Value: []byte("line\r\n")},
		{Timestamp: 0, Key: []byte("k"), Value: nil},
		{Timestamp: recordbatch.MaxTimestamp, Key: []byte{0, 255}, Value: bytes.Repeat([]byte("ab"), 100_000)},
		{Timestamp: now, Value: []byte("v"), Headers: []recordbatch.RecordHeader{
			{Key: "a", Value: nil}, {Key: "", Value: []byte{}}, {Key: "a", Value: []byte{0}}, {Key: "größe", Value: []byte("1")},
		}},
		{Timestamp: now, Value: []byte("v"), Headers: []recordbatch.RecordHeader{{Key: "a", Value: []byte("w")}}},
	}
}

func TestRecordsComeBackAsTheyWentIn(t *testing.T) {
	t.Parallel()
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.LZ4} {
		want := oddRecords()
		batch := build(t, codec, recordbatch.NoProducer(), want...)
		if err := recordbatch.Stamp(batch, 1000, 7); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			want[i].Offset = 1000 + int64(i)
		}
		if got := decode(t, batch); !reflect.DeepEqual(got, want) {
			t.Errorf("codec %d: got %v, want %v", codec, got, want)
		}
	}
}

func TestViewsEqualStructs(t *testing.T) {
	t.Parallel()
	batch := build(t, recordbatch.LZ4, recordbatch.NoProducer(), oddRecords()...)
	info, err := recordbatch.Open(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
	if err != nil {
		t.Fatal(err)
	}
	want, err := recordbatch.AppendRecords(nil, info)
	if err != nil {
		t.Fatal(err)
	}
	var v recordbatch.View
	r := recordbatch.NewReader(info)
	for i := 0; r.Next(&v); i++ {
		got := recordbatch.Record{Offset: v.Offset, Timestamp: v.Timestamp, Key: v.Key, Value: v.Value}
		for key, value := range v.Headers() {
			got.Headers = append(got.Headers, recordbatch.RecordHeader{Key: string(key), Value: value})
		}
		if !reflect.DeepEqual(got, want[i]) || v.HeaderCount() != len(want[i].Headers) {
			t.Errorf("record %d: view %v, struct %v", i, got, want[i])
		}
	}
	if r.Err() != nil || r.Next(&v) {
		t.Errorf("at the end: %v", r.Err())
	}
}

func TestCompressionOnlyWhereItHelps(t *testing.T) {
	t.Parallel()
	random := make([]byte, 200_000)
	for i, x := 0, uint32(1); i < len(random); i++ {
		x = x*1664525 + 1013904223
		random[i] = byte(x >> 24)
	}
	codecs := map[string]recordbatch.Codec{
		strings.Repeat("abc", 1000): recordbatch.LZ4,
		"short":                     recordbatch.None,
		string(random):              recordbatch.None,
		string(random) + strings.Repeat("x", 100_000): recordbatch.LZ4, // some blocks stored, some not
	}
	for value, want := range codecs {
		batch := build(t, recordbatch.LZ4, recordbatch.NoProducer(), recordbatch.Record{Timestamp: now, Value: []byte(value)})
		h, err := recordbatch.ParseHeader(batch)
		if err != nil || h.Codec() != want {
			t.Errorf("%d bytes: codec %d, want %d (%v)", len(value), h.Codec(), want, err)
		}
		if got := decode(t, batch); string(got[0].Value) != value {
			t.Errorf("%d bytes: came back different", len(value))
		}
	}
}

func TestBuilderRefusesAndKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	limits := recordbatch.Limits{MaxRecordBytes: 100, MaxUncompressedBytes: 250}
	b := recordbatch.NewBuilder(recordbatch.None, limits)
	_, err := b.Build(recordbatch.NoProducer())
	wantReason(t, err, recordbatch.Empty)

	value := bytes.Repeat([]byte("v"), 101)
	e := wantReason(t, b.Append(now, nil, value, nil), recordbatch.RecordTooLarge)
	if e.Actual != 101 || e.Limit != 100 || e.Record != 0 {
		t.Errorf("got %+v", e)
	}
	wantReason(t, b.Append(now, value[:50], value[:51], nil), recordbatch.RecordTooLarge)
	many := make([]recordbatch.RecordHeader, 51)
	wantReason(t, b.Append(now, nil, nil, many), recordbatch.RecordTooLarge)
	wantReason(t, b.Append(-1, nil, nil, nil), recordbatch.BadTimestamp)
	wantReason(t, b.Append(recordbatch.MaxTimestamp+1, nil, nil, nil), recordbatch.BadTimestamp)
	wantReason(t, b.Append(now, nil, nil, []recordbatch.RecordHeader{{Key: "\xff"}}), recordbatch.Corrupt)
	if b.Count() != 0 || b.UncompressedBytes() != 0 {
		t.Fatalf("refused records were added: %d records, %d bytes", b.Count(), b.UncompressedBytes())
	}

	for range 2 {
		if err := b.Append(now, nil, value[:100], many[:0]); err != nil {
			t.Fatal(err)
		}
	}
	wantReason(t, b.Append(now, nil, value[:100], nil), recordbatch.TooLarge)
	_, err = b.Build(recordbatch.Producer{ID: 1, Epoch: -1, BaseSequence: 0})
	wantReason(t, err, recordbatch.BadProducer)
	batch, err := b.Build(recordbatch.Producer{ID: 1, Epoch: 0, BaseSequence: 5})
	if err != nil {
		t.Fatal(err)
	}
	info, err := recordbatch.Verify(batch, limits, new(recordbatch.Scratch))
	if err != nil || info.RecordCount != 2 || info.LastSequence() != 6 {
		t.Fatalf("got %+v, %v", info.Header, err)
	}
}

func TestBuilderIsReused(t *testing.T) {
	t.Parallel()
	b := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
	var first []byte
	for i := range 3 {
		b.Reset()
		if b.Count() != 0 || b.UncompressedBytes() != 0 || b.MaxTimestamp() != 0 {
			t.Fatal("not empty after Reset")
		}
		for k := range 100 {
			if err := b.Append(now+int64(k), []byte("key"), []byte("some value"), nil); err != nil {
				t.Fatal(err)
			}
		}
		batch, err := b.AppendBatch([]byte("before"), recordbatch.NoProducer())
		if err != nil || string(batch[:6]) != "before" {
			t.Fatalf("%q, %v", batch[:6], err)
		}
		if i == 0 {
			first = batch
		}
		if !bytes.Equal(batch, first) {
			t.Errorf("round %d built other bytes", i)
		}
		decode(t, batch[6:])
	}
	if b.MaxTimestamp() != now+99 {
		t.Errorf("max timestamp %d", b.MaxTimestamp())
	}
}

func TestRecordBoundHolds(t *testing.T) {
	t.Parallel()
	b := recordbatch.NewBuilder(recordbatch.None, recordbatch.Limits{})
	for _, r := range oddRecords() {
		before := b.UncompressedBytes()
		if err := b.Append(r.Timestamp, r.Key, r.Value, r.Headers); err != nil {
			t.Fatal(err)
		}
		if got, bound := b.UncompressedBytes()-before, recordbatch.RecordBound(r.Key, r.Value, r.Headers); got > bound {
			t.Errorf("%v: %d bytes, bound %d", r, got, bound)
		}
	}
}

// A record of the greatest size fits a batch under every limit that Validate accepts.
func TestGreatestRecordFits(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 100, 1 << 20} {
		limits := recordbatch.Limits{MaxRecordBytes: size, MaxUncompressedBytes: size + size/16 + 64}
		if err := limits.Validate(); err != nil {
			t.Fatal(err)
		}
		headers := []recordbatch.RecordHeader{}
		for left := size; left >= headerCost; left -= headerCost {
			headers = append(headers, recordbatch.RecordHeader{Key: strings.Repeat("k", 64), Value: make([]byte, 64)})
		}
		whole := recordbatch.Record{Timestamp: now, Value: make([]byte, size)}
		for _, r := range []recordbatch.Record{whole, {Timestamp: now, Headers: headers}} {
			b := recordbatch.NewBuilder(recordbatch.None, limits)
			if err := b.Append(r.Timestamp, r.Key, r.Value, r.Headers); err != nil {
				t.Errorf("size %d: %v", size, err)
			}
		}
	}
}

const headerCost = 64 + 64 + 2

func TestLimitsValidate(t *testing.T) {
	t.Parallel()
	for _, l := range []recordbatch.Limits{
		{MaxRecordBytes: -1},
		{MaxRecordBytes: 1000, MaxUncompressedBytes: 1000},
		{MaxUncompressedBytes: -5},
		{MaxUncompressedBytes: 1<<30 + 1},
		{MaxRecordBytes: 16 << 20},
	} {
		if l.Validate() == nil {
			t.Errorf("%+v: accepted", l)
		}
	}
	if err := (recordbatch.Limits{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestNothingAllocatesPerRecord(t *testing.T) {
	b := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
	headers := []recordbatch.RecordHeader{{Key: "h", Value: []byte("x")}}
	key, value := []byte("key"), []byte("value value value")
	var batch []byte
	encode := func() {
		b.Reset()
		for i := range 10_000 {
			if b.Append(now+int64(i), key, value, headers) != nil {
				t.Fatal("refused")
			}
		}
		batch, _ = b.Build(recordbatch.NoProducer())
	}
	var scratch recordbatch.Scratch
	bytesSeen := 0
	read := func() {
		info, err := recordbatch.Verify(batch, recordbatch.Limits{}, &scratch)
		if err != nil {
			t.Fatal(err)
		}
		var v recordbatch.View
		r := recordbatch.NewReader(info)
		for r.Next(&v) {
			for _, value := range v.Headers() {
				bytesSeen += len(value)
			}
		}
	}
	for name, f := range map[string]func(){"encode": encode, "verify and read": read} {
		encode()
		// Below 10, not 0: the pool of compressors may be emptied by a collection.
		if n := testing.AllocsPerRun(20, f); n >= 10 {
			t.Errorf("%s: %v allocations for 10,000 records", name, n)
		}
	}
}
