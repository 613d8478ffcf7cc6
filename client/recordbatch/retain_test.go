package recordbatch_test

import (
	"bytes"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// failer is a testing.TB or a rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func open(tb failer, batch []byte) recordbatch.Info {
	tb.Helper()
	info, err := recordbatch.Open(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
	if err != nil {
		tb.Fatal(err)
	}
	return info
}

// retain keeps the records whose offsets are wanted, and returns the batch in memory of its own.
func retain(tb failer, batch []byte, wanted func(offset int64) bool) ([]byte, int32) {
	tb.Helper()
	left, n, err := recordbatch.Retain([]byte("before"), batch, open(tb, batch), func(v *recordbatch.View) bool { return wanted(v.Offset) }, new(recordbatch.Scratch))
	if err != nil {
		tb.Fatal(err)
	}
	if !bytes.HasPrefix(left, []byte("before")) {
		tb.Fatal("what was in front of the batch is gone")
	}
	return left[len("before"):], n
}

// What is left is what was wanted, and the batch takes the offsets and sequences that it took. Removing in two steps is the same as in one.
func TestP2_RetainedRecordsAreWhatTheyWere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(rapid.Custom(drawRecord), 1, 20).Draw(t, "records")
		producer := drawProducer(t)
		b := recordbatch.NewBuilder(rapid.SampledFrom([]recordbatch.Codec{recordbatch.None, recordbatch.LZ4}).Draw(t, "codec"), recordbatch.Limits{})
		for _, r := range records {
			if err := b.Append(r.Timestamp, r.Key, r.Value, r.Headers); err != nil {
				t.Fatal(err)
			}
		}
		batch, err := b.Build(producer)
		if err != nil {
			t.Fatal(err)
		}
		base := rapid.Int64Range(0, 1<<50).Draw(t, "base offset")
		if err := recordbatch.Stamp(batch, base, 5); err != nil {
			t.Fatal(err)
		}
		before, err := recordbatch.ParseHeader(batch)
		if err != nil {
			t.Fatal(err)
		}
		first, second := map[int64]bool{}, map[int64]bool{}
		var want []recordbatch.Record
		greatest := before.MaxTimestamp
		for i, r := range records {
			r.Offset = base + int64(i)
			first[r.Offset] = rapid.Bool().Draw(t, "first")
			second[r.Offset] = rapid.Bool().Draw(t, "second")
			if first[r.Offset] && second[r.Offset] {
				if want = append(want, r); len(want) == 1 {
					greatest = r.Timestamp
				}
				greatest = max(greatest, r.Timestamp)
			}
		}
		once, _ := retain(t, batch, func(o int64) bool { return first[o] && second[o] })
		twice, _ := retain(t, batch, func(o int64) bool { return first[o] })
		twice, n := retain(t, twice, func(o int64) bool { return second[o] })
		got, err := recordbatch.AppendRecords(nil, open(t, twice))
		if err != nil || int(n) != len(want) || !reflect.DeepEqual(got, want) {
			t.Fatalf("%d records %v (%v), want %v", n, got, err, want)
		}
		after := open(t, twice).Header
		if len(want) > 0 && (!bytes.Equal(once, twice) || after.MaxTimestamp != greatest) {
			t.Fatalf("removed at once: %x, in two steps: %x; greatest timestamp %d, want %d", once, twice, after.MaxTimestamp, greatest)
		}
		after.CRC, after.RecordCount, after.MaxTimestamp, after.Attributes, after.BatchLength =
			before.CRC, before.RecordCount, before.MaxTimestamp, before.Attributes, before.BatchLength
		if after != before {
			t.Fatalf("header %+v, was %+v", after, before)
		}
		if producer.Idempotent() && after.LastSequence() != recordbatch.NextSequence(producer.BaseSequence, int32(len(records)-1)) {
			t.Fatalf("last sequence %d of %d records from %d", after.LastSequence(), len(records), producer.BaseSequence)
		}
	})
}

func TestRetainWithoutALossCopies(t *testing.T) {
	t.Parallel()
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.LZ4} {
		batch := build(t, codec, recordbatch.NoProducer(), oddRecords()...)
		if left, n := retain(t, batch, func(int64) bool { return true }); !bytes.Equal(left, batch) || int(n) != len(oddRecords()) {
			t.Errorf("codec %d: %d records, the batch was changed: %v", codec, n, !bytes.Equal(left, batch))
		}
	}
}

// The door takes no holes: only key compaction makes them.
func TestP2_VerifyRefusesWhatRetainLeaves(t *testing.T) {
	t.Parallel()
	for _, codec := range []recordbatch.Codec{recordbatch.None, recordbatch.LZ4} {
		batch := build(t, codec, recordbatch.NoProducer(), oddRecords()...)
		for name, c := range map[string]struct {
			wanted func(int64) bool
			reason recordbatch.Reason
		}{
			"the first is gone": {func(o int64) bool { return o > 0 }, recordbatch.WrongCount},
			"one in the middle": {func(o int64) bool { return o != 3 }, recordbatch.WrongCount},
			"the last is gone":  {func(o int64) bool { return o != 6 }, recordbatch.WrongCount},
			"only one is left":  {func(o int64) bool { return o == 2 }, recordbatch.WrongCount},
			"nothing is left":   {func(int64) bool { return false }, recordbatch.Empty},
		} {
			t.Logf("codec %d: %s", codec, name)
			left, _ := retain(t, batch, c.wanted)
			wantReason(t, verify(left, recordbatch.Limits{}), c.reason)
			_, err := recordbatch.VerifyFrame(left, recordbatch.Limits{})
			wantReason(t, err, c.reason)
			open(t, left)
		}
	}
}

// A header that hides holes: as many offsets as records, but the records' own deltas leave one out, or go beyond.
func TestP2_VerifyRefusesHolesBehindADenseHeader(t *testing.T) {
	t.Parallel()
	record := func(delta byte) []byte { return []byte{12, 0, 0, 2 * delta, 1, 1, 0} }
	for name, deltas := range map[string][2]byte{"beyond": {0, 2}, "the first": {1, 2}, "twice": {1, 1}, "backwards": {1, 0}} {
		batch := withRecords(2, recordbatch.None, append(record(deltas[0]), record(deltas[1])...))
		wantReason(t, verify(batch, recordbatch.Limits{}), recordbatch.WrongCount)
		if _, err := recordbatch.AppendRecords(nil, open(t, batch)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

func TestKeysAreRequired(t *testing.T) {
	t.Parallel()
	limits := recordbatch.Limits{KeysRequired: true}
	keyed := recordbatch.Record{Timestamp: now, Key: []byte{}, Value: []byte("an empty key is one")}
	batch := build(t, recordbatch.LZ4, recordbatch.NoProducer(), keyed, keyed, recordbatch.Record{Timestamp: now, Value: []byte("v")})
	if e := wantReason(t, verify(batch, limits), recordbatch.NoKey); e.Record != 2 {
		t.Errorf("record %d is at fault, want 2", e.Record)
	}
	if err := verify(build(t, recordbatch.LZ4, recordbatch.NoProducer(), keyed), limits); err != nil {
		t.Error(err)
	}
	_, err := recordbatch.VerifyFrame(batch, limits)
	wantReason(t, err, recordbatch.Unsupported)
	b := recordbatch.NewBuilder(recordbatch.LZ4, limits)
	wantReason(t, b.Append(now, nil, []byte("v"), nil), recordbatch.NoKey)
	if err := b.Append(now, keyed.Key, nil, nil); err != nil || b.Count() != 1 {
		t.Errorf("%d records, %v", b.Count(), err)
	}
}

func TestOpenRefusesImpossibleCounts(t *testing.T) {
	t.Parallel()
	good := build(t, recordbatch.None, recordbatch.NoProducer(), oddRecords()[:3]...)
	for name, change := range map[string]func([]byte) []byte{
		"more records than offsets": put32(23, 1), "a negative delta": put32(23, -1), "a negative count": put32(57, -1),
		"fewer records than bytes": put32(57, 2), "offsets beyond 63 bits": func(b []byte) []byte { return put64(0, 1<<63-3)(b) },
	} {
		info, err := recordbatch.Open(sealed(change(bytes.Clone(good))), recordbatch.Limits{}, new(recordbatch.Scratch))
		if err == nil {
			_, err = recordbatch.AppendRecords(nil, info)
		}
		if err == nil {
			t.Errorf("%s: read", name)
		}
	}
}
