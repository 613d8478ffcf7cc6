package recordbatch_test

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

func TestP5_SequencesWrapAsInKafka(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ seq, count, want int32 }{
		{0, 1, 1},
		{0, 0, 0},
		{5, 10, 15},
		{math.MaxInt32, 0, math.MaxInt32},
		{math.MaxInt32, 1, 0},
		{math.MaxInt32 - 1, 3, 1},
		{math.MaxInt32, math.MaxInt32, math.MaxInt32 - 1},
	} {
		if got := recordbatch.NextSequence(c.seq, c.count); got != c.want {
			t.Errorf("NextSequence(%d, %d) = %d, want %d", c.seq, c.count, got, c.want)
		}
	}
	h := recordbatch.Header{LastOffsetDelta: 2, RecordCount: 1, Producer: recordbatch.Producer{BaseSequence: math.MaxInt32 - 1}}
	if h.LastSequence() != 0 {
		t.Errorf("last sequence %d, want 0", h.LastSequence())
	}
}

func TestStampIsOutsideTheChecksum(t *testing.T) {
	t.Parallel()
	batch := build(t, recordbatch.LZ4, recordbatch.NoProducer(), oddRecords()...)
	before := bytes.Clone(batch)
	h, err := recordbatch.ParseHeader(batch)
	if err != nil || h.BaseOffset != 0 || h.LeaderEpoch != recordbatch.NotStamped {
		t.Fatalf("fresh batch: %+v, %v", h, err)
	}
	for _, offset := range []int64{0, 42, 1 << 40, math.MaxInt64 - 100} {
		if err := recordbatch.Stamp(batch, offset, math.MaxInt32); err != nil {
			t.Fatal(err)
		}
		info, err := recordbatch.Verify(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
		if err != nil {
			t.Fatal(err)
		}
		n := int64(len(oddRecords()))
		if info.BaseOffset != offset || info.LastOffset() != offset+n-1 || info.NextOffset() != offset+n || info.LeaderEpoch != math.MaxInt32 {
			t.Errorf("offset %d: %+v", offset, info.Header)
		}
		if !bytes.Equal(batch[16:], before[16:]) || !bytes.Equal(batch[8:12], before[8:12]) {
			t.Errorf("offset %d: stamping touched more than its fields", offset)
		}
	}
	wantReason(t, recordbatch.Stamp(batch[:recordbatch.HeaderBytes-1], 0, 0), recordbatch.Corrupt)
}

func TestSetProducerKeepsTheRecords(t *testing.T) {
	t.Parallel()
	batch := build(t, recordbatch.LZ4, recordbatch.Producer{ID: 1, Epoch: 2, BaseSequence: 3}, oddRecords()...)
	want := decode(t, batch)
	p := recordbatch.Producer{ID: math.MaxInt64, Epoch: math.MaxInt16, BaseSequence: math.MaxInt32}
	if err := recordbatch.SetProducer(batch, p); err != nil {
		t.Fatal(err)
	}
	if got := decode(t, batch); len(got) != len(want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	if h, _ := recordbatch.ParseHeader(batch); h.Producer != p || !h.Producer.Idempotent() {
		t.Errorf("producer %+v", h.Producer)
	}
	wantReason(t, recordbatch.SetProducer(batch, recordbatch.Producer{ID: -1}), recordbatch.BadProducer)
	wantReason(t, recordbatch.SetProducer(batch[:len(batch)-1], p), recordbatch.Corrupt)
	wantReason(t, recordbatch.SetProducer(nil, p), recordbatch.Corrupt)
	if recordbatch.NoProducer().Idempotent() {
		t.Error("no producer is idempotent")
	}
}

// SetTime does not read the records: its checksum is the one that reading them gives, and a damaged batch stays one.
func TestSetTimeHasTheChecksumOfTheWholeBatch(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 100, 5000} {
		b := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
		for i := range n {
			if err := b.Append(1000+int64(i), nil, fmt.Appendf(nil, "%d", i*i*7919), nil); err != nil {
				t.Fatal(err)
			}
		}
		batch, err := b.Build(recordbatch.NoProducer())
		if err != nil {
			t.Fatal(err)
		}
		if err := recordbatch.SetTime(batch, 1_700_000_000_123); err != nil {
			t.Fatal(err)
		}
		info, err := recordbatch.Verify(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
		if err != nil || info.BaseTimestamp != 1_700_000_000_123 || info.MaxTimestamp != 1_700_000_000_123+int64(n-1) {
			t.Errorf("%d records: %+v, %v", n, info.Header, err)
		}
		batch[len(batch)-1] ^= 1
		if err := recordbatch.SetTime(batch, 5); err != nil {
			t.Fatal(err)
		}
		_, err = recordbatch.Verify(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
		wantReason(t, err, recordbatch.Corrupt)
	}
}

func TestSetTimeMovesAllRecords(t *testing.T) {
	t.Parallel()
	batch := build(t, recordbatch.LZ4, recordbatch.NoProducer(), oddRecords()[:3]...)
	was, _ := recordbatch.ParseHeader(batch)
	before := decode(t, batch)
	earlier := was.MaxTimestamp
	for _, r := range before {
		earlier = min(earlier, r.Timestamp)
	}
	if err := recordbatch.SetTime(batch, was.BaseTimestamp-earlier); err != nil {
		t.Fatal(err)
	}
	for i, r := range decode(t, batch) { // with the checksum, and the greatest timestamp of the header
		if r.Timestamp != before[i].Timestamp-earlier {
			t.Errorf("record %d is of %d, want %d", i, r.Timestamp, before[i].Timestamp-earlier)
		}
	}
	wantReason(t, recordbatch.SetTime(batch, -1), recordbatch.BadTimestamp)
	wantReason(t, recordbatch.SetTime(batch, recordbatch.MaxTimestamp+1), recordbatch.BadTimestamp)
	wantReason(t, recordbatch.SetTime(batch[:len(batch)-1], 0), recordbatch.Corrupt)
}

func TestSplit(t *testing.T) {
	t.Parallel()
	var answer []byte
	var batches [][]byte
	for i := range 3 {
		batch := build(t, recordbatch.LZ4, recordbatch.NoProducer(), oddRecords()[:i+1]...)
		batches = append(batches, batch)
		answer = append(answer, batch...)
	}
	i := 0
	for batch, err := range recordbatch.Split(answer) {
		if err != nil || !bytes.Equal(batch, batches[i]) || cap(batch) != len(batch) {
			t.Fatalf("batch %d: %v", i, err)
		}
		i++
	}
	if i != 3 {
		t.Errorf("%d batches, want 3", i)
	}
	for range recordbatch.Split(nil) {
		t.Error("an empty answer has a batch")
	}
	for batch := range recordbatch.Split(answer) { // leaving early is allowed
		if !bytes.Equal(batch, batches[0]) {
			t.Error("not the first batch")
		}
		break
	}
}

func TestSplitReportsWhatIsNoBatch(t *testing.T) {
	t.Parallel()
	batch := build(t, recordbatch.LZ4, recordbatch.NoProducer(), oddRecords()...)
	last := func(b []byte) (whole int, err error) {
		for _, e := range recordbatch.Split(b) {
			if e != nil {
				return whole, e
			}
			whole++
		}
		return whole, nil
	}
	for cut := 1; cut < len(batch); cut++ {
		whole, err := last(append(bytes.Clone(batch), batch[:cut]...))
		if whole != 1 {
			t.Fatalf("cut at %d: %d whole batches", cut, whole)
		}
		wantReason(t, err, recordbatch.Corrupt)
	}
	for _, length := range []uint32{0, 48, 1 << 31, 0xffffffff, 0x7fffffff} {
		bad := withLength(batch, length)
		_, err := last(bad)
		wantReason(t, err, recordbatch.Corrupt)
	}
	old := bytes.Clone(batch)
	old[16] = 1
	_, err := last(old)
	wantReason(t, err, recordbatch.Unsupported)
}
