package keycompact

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// failer is a testing.TB or a rapid.T.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func encode(t failer, base int64, p recordbatch.Producer, records []recordbatch.Record) []byte {
	t.Helper()
	b := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
	for _, r := range records {
		if err := b.Append(r.Timestamp, r.Key, r.Value, r.Headers); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := b.AppendBatch(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := recordbatch.Stamp(batch, base, 3); err != nil {
		t.Fatal(err)
	}
	return batch
}

// batchesOf reads batches, with their records.
func batchesOf(t failer, segments ...[]byte) (headers []recordbatch.Header, records []recordbatch.Record) {
	t.Helper()
	for batch, err := range recordbatch.Split(slices.Concat(segments...)) {
		if err != nil {
			t.Fatal(err)
		}
		info, err := recordbatch.Open(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, info.Header)
		if records, err = recordbatch.AppendRecords(records, info); err != nil {
			t.Fatal(err)
		}
	}
	return headers, records
}

// partition is the simplest model: what was ever stored, and what should be left of it.
type partition struct {
	segments [][]byte
	next     int64
	stored   []recordbatch.Record // all that ever were
	clean    int64                // end of the last pass
}

func (p *partition) draw(t *rapid.T) {
	for range rapid.IntRange(1, 3).Draw(t, "segments") {
		var segment []byte
		for range rapid.IntRange(1, 3).Draw(t, "batches") {
			var records []recordbatch.Record
			for range rapid.IntRange(1, 5).Draw(t, "records") {
				r := recordbatch.Record{Offset: p.next + int64(len(records)), Timestamp: rapid.Int64Range(0, 1000).Draw(t, "timestamp")}
				if k := rapid.IntRange(-1, 6).Draw(t, "key"); k >= 0 {
					r.Key = fmt.Append(nil, k)
				}
				if rapid.IntRange(0, 3).Draw(t, "tombstone") > 0 {
					r.Value = fmt.Appendf(nil, "value of %d", r.Offset)
					r.Headers = []recordbatch.RecordHeader{{Key: "n", Value: fmt.Append(nil, r.Offset)}}
				}
				records = append(records, r)
			}
			producer := recordbatch.NoProducer()
			if rapid.Bool().Draw(t, "idempotent") {
				producer = recordbatch.Producer{ID: 9, Epoch: 1, BaseSequence: int32(p.next)}
			}
			segment = append(segment, encode(t, p.next, producer, records)...)
			p.stored = append(p.stored, records...)
			p.next += int64(len(records))
		}
		p.segments = append(p.segments, segment)
	}
}

// pass is a whole pass over segments, as a job makes it: some are joined, those that lose nothing stay as they are.
func (p *partition) pass(t *rapid.T, r *rules, limit int64) {
	full := false
	r.end = limit
	next := p.clean
	for _, segment := range p.segments {
		headers, _ := batchesOf(t, segment)
		if headers[len(headers)-1].NextOffset() <= p.clean || full {
			continue
		}
		end, f, err := r.note(segment, next, limit, new(recordbatch.Scratch))
		if err != nil {
			t.Fatal(err)
		}
		if next = end; f {
			full, r.end = true, end
		}
	}
	var after [][]byte
	for i := 0; i < len(p.segments); {
		n := min(rapid.IntRange(1, 3).Draw(t, "joined"), len(p.segments)-i)
		out, err := r.clean(p.segments[i:i+n], new(scratches))
		if err != nil {
			t.Fatal(err)
		}
		if len(out.bytes) == 0 {
			t.Fatal("a segment without bytes")
		}
		if before := slices.Concat(p.segments[i : i+n]...); !out.changed && !bytes.Equal(before, out.bytes) {
			t.Fatal("changed without saying so")
		}
		wantTally(t, out, r)
		after = append(after, out.bytes)
		i += n
	}
	p.segments, p.clean = after, r.end
}

func wantTally(t *rapid.T, out left, r *rules) {
	headers, records := batchesOf(t, out.bytes)
	tombstones, least, greatest := int64(0), headers[len(headers)-1].MaxTimestamp, headers[len(headers)-1].MaxTimestamp
	for i, record := range records {
		if i == 0 {
			least, greatest = record.Timestamp, record.Timestamp
		}
		least, greatest = min(least, record.Timestamp), max(greatest, record.Timestamp)
		if record.Key != nil && record.Value == nil && record.Offset < r.end {
			tombstones++
		}
	}
	if out.records != int64(len(records)) || out.tombstones != tombstones || out.minTimestamp != least || out.maxTimestamp != greatest {
		t.Fatalf("%d records, %d tombstones, timestamps %d to %d; want %d, %d, %d to %d",
			out.records, out.tombstones, out.minTimestamp, out.maxTimestamp, len(records), tombstones, least, greatest)
	}
}

// want is what is left by the rules of the promise, looked at from the whole history: of each key the newest record below the clean end, all
// above it, all without a key; a tombstone below dropped may be gone.
func (p *partition) want(dropped func(offset int64) bool) (want []recordbatch.Record) {
	newest := map[string]int64{}
	for _, r := range p.stored {
		if r.Key != nil && r.Offset < p.clean {
			newest[string(r.Key)] = r.Offset
		}
	}
	for _, r := range p.stored {
		switch {
		case r.Offset >= p.clean || r.Key == nil || r.Offset == p.clean-1:
		case newest[string(r.Key)] != r.Offset, r.Value == nil && dropped(r.Offset):
			continue
		}
		want = append(want, r)
	}
	return want
}

// Passes of any length, with little memory and with much, leave exactly the newest record of each key, at its offset and as it was; a tombstone goes when
// it has been clean for long enough, and not before; the newest record of the partition always stays.
func TestP2_OnlyTheNewestRecordOfEachKeyIsLeft(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var p partition
		horizon := int64(0)
		for range rapid.IntRange(1, 5).Draw(t, "passes") {
			p.draw(t)
			limit := rapid.Int64Range(p.clean, p.next).Draw(t, "limit")
			r := &rules{newest: newNewest(rapid.SampledFrom([]int64{200, 1 << 20}).Draw(t, "memory"), p.next)}
			if rapid.Bool().Draw(t, "tombstones are old") {
				r.dropBelow = p.clean
				horizon = p.clean
			}
			before := p.clean
			p.pass(t, r, limit)
			if p.clean < before || p.clean > limit || (limit > before && p.clean == before) {
				t.Fatalf("clean up to %d, was %d, limit %d", p.clean, before, limit)
			}
			_, got := batchesOf(t, p.segments...)
			if len(got) == 0 || (p.clean == p.next && got[len(got)-1].Offset != p.next-1) {
				t.Fatalf("the newest record %d is gone", p.next-1)
			}
			there := map[int64]bool{}
			for _, record := range got {
				there[record.Offset] = true
			}
			// A tombstone that was dropped by an earlier pass stays gone; one that may go is gone, unless it was the last one of the pass.
			want := p.want(func(o int64) bool { return o < horizon && !there[o] })
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("left %v, want %v", got, want)
			}
			for _, record := range got {
				if record.Key != nil && record.Value == nil && record.Offset < r.dropBelow && record.Offset != p.clean-1 && record.Offset < before {
					t.Fatalf("tombstone %d should be gone: dropped below %d", record.Offset, r.dropBelow)
				}
			}
		}
	})
}

// Where producers stand is read from the headers of batches, also of those without records.
func TestP5_LastBatchesOfProducersStay(t *testing.T) {
	t.Parallel()
	value := func(o int64) []recordbatch.Record {
		return []recordbatch.Record{{Offset: o, Key: []byte("k"), Value: []byte("v")}}
	}
	var segment []byte
	for o := range int64(6) {
		segment = append(segment, encode(t, o, recordbatch.Producer{ID: o % 2, Epoch: 1, BaseSequence: int32(o)}, value(o))...)
	}
	segment = append(segment, encode(t, 6, recordbatch.NoProducer(), value(6))...)
	segment = append(segment, encode(t, 7, recordbatch.NoProducer(), value(7))...)
	for name, c := range map[string]struct {
		rules rules
		want  []int64
	}{
		"none":             {rules{}, []int64{7}},
		"those that count": {rules{batches: map[int64]bool{3: true, 4: true, 6: true}}, []int64{3, 4, 7}},
		"all":              {rules{everyBatch: true}, []int64{0, 1, 2, 3, 4, 5, 7}},
	} {
		r := c.rules
		r.newest, r.end = newNewest(1<<10, 10), 8
		if _, _, err := r.note(segment, 0, 8, new(recordbatch.Scratch)); err != nil {
			t.Fatal(err)
		}
		out, err := r.clean([][]byte{segment}, new(scratches))
		if err != nil {
			t.Fatal(err)
		}
		headers, records := batchesOf(t, out.bytes)
		var bases []int64
		for _, h := range headers {
			bases = append(bases, h.BaseOffset)
			if h.Producer.Idempotent() && (h.Producer.BaseSequence != int32(h.BaseOffset) || h.LastSequence() != int32(h.BaseOffset)) {
				t.Errorf("%s: batch at %d stands at %d to %d", name, h.BaseOffset, h.Producer.BaseSequence, h.LastSequence())
			}
		}
		if !slices.Equal(bases, c.want) || len(records) != 1 || records[0].Offset != 7 {
			t.Errorf("%s: batches %v, want %v; records %v", name, bases, c.want, records)
		}
	}
}

func TestNewestIsBounded(t *testing.T) {
	t.Parallel()
	n := newNewest(100*slotBytes, 1<<40)
	for i := range 75 {
		if !n.note(fmt.Append(nil, i), int64(i)) {
			t.Fatalf("no room for key %d", i)
		}
	}
	if n.note([]byte("one more"), 75) {
		t.Error("there is room for one more")
	}
	if !n.note(fmt.Append(nil, 5), 80) {
		t.Error("no room for a key that is there")
	}
	if !n.superseded(fmt.Append(nil, 5), 5) || n.superseded(fmt.Append(nil, 5), 80) || n.superseded(fmt.Append(nil, 6), 6) || n.superseded([]byte("one more"), 0) {
		t.Error("newest is wrong about what it was told")
	}
	if len(newNewest(1<<40, 9).slots) > 20 {
		t.Error("memory for keys that cannot be")
	}
}

func TestDamagedSegmentsAreNotCleaned(t *testing.T) {
	t.Parallel()
	good := encode(t, 0, recordbatch.NoProducer(), []recordbatch.Record{{Key: []byte("a"), Value: []byte("b")}})
	for name, segment := range map[string][]byte{"cut": good[:len(good)-1], "a bit": append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^1)} {
		r := &rules{newest: newNewest(1000, 10), end: 1}
		if _, _, err := r.note(segment, 0, 1, new(recordbatch.Scratch)); err == nil {
			t.Errorf("%s: noted", name)
		}
		if _, err := r.clean([][]byte{segment}, new(scratches)); err == nil {
			t.Errorf("%s: cleaned", name)
		}
	}
}
