package lookup

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
)

// run makes contiguous segments of one record each third offset.
func run(t *rapid.T, tag string) []Segment {
	base := rapid.Int64Range(0, 60).Draw(t, "base")
	var all []Segment
	for range rapid.IntRange(0, 8).Draw(t, "segments") {
		n := rapid.Int32Range(1, 6).Draw(t, "records")
		all = append(all, Segment{ObjectKey: tag, BaseOffset: base, RecordCount: n, SizeBytes: 1})
		base += int64(n)
	}
	return all
}

func TestSegmentsAgreeWithAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list segments
		model := map[int64]Segment{} // by each offset that it holds
		for i := range rapid.IntRange(1, 12).Draw(t, "inserts") {
			in := run(t, fmt.Sprint(i))
			list = list.insert(in, 1000)
			for _, s := range in {
				for o := s.BaseOffset; o < s.End(); o++ { // a newer segment replaces all that it touches
					if old, ok := model[o]; ok {
						for k := old.BaseOffset; k < old.End(); k++ {
							delete(model, k)
						}
					}
				}
			}
			for _, s := range in {
				for o := s.BaseOffset; o < s.End(); o++ {
					model[o] = s
				}
			}
			if cut := rapid.Int64Range(0, 20).Draw(t, "log start"); cut > 0 && i%3 == 2 {
				list = list.after(cut)
				for o, s := range model {
					if s.End() <= cut {
						delete(model, o)
					}
				}
			}
		}
		for o := int64(-1); o < 120; o++ {
			found := list.find(o, 3)
			want, ok := model[o]
			if ok != (len(found) > 0) || (ok && found[0] != want) {
				t.Fatalf("offset %d: found %v, want %v", o, found, want)
			}
			for i := 1; i < len(found); i++ {
				if found[i] != model[found[i-1].End()] {
					t.Fatalf("offset %d: %v is not contiguous", o, found)
				}
			}
		}
	})
}

func TestSegmentsAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list segments
		for i := range 10 {
			in := run(t, fmt.Sprint(i))
			list = list.insert(in, 8)
			if len(list) > 8 {
				t.Fatalf("%d segments are kept", len(list))
			}
			for _, s := range in {
				if len(list.find(s.BaseOffset, 1)) == 0 {
					t.Fatalf("%v was dropped as it came", s)
				}
			}
		}
	})
}

func newIndex(t *testing.T, entries int) *Index {
	t.Helper()
	x, err := NewIndex(IndexConfig{MaxEntries: entries})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestIndexNeverGoesBack(t *testing.T) {
	x := newIndex(t, 0)
	s := func(base int64) Segment { return Segment{BaseOffset: base, RecordCount: 10, Epoch: 1} }
	x.learn(id(0), Answer{State: State{Epoch: 2, LogStart: 10, HighWatermark: 30}, Segments: []Segment{s(10), s(20)}})
	x.learn(id(0), Answer{State: State{Epoch: 1, LogStart: 0, HighWatermark: 10}, Segments: []Segment{s(0)}}) // was overtaken
	if state, _ := x.State(id(0)); state != (State{Epoch: 2, LogStart: 10, HighWatermark: 30}) {
		t.Errorf("state %+v", state)
	}
	x.Led(id(0), 3, 0, 20) // a late acquire answer
	if state, _ := x.State(id(0)); state.HighWatermark != 30 || state.LogStart != 10 {
		t.Errorf("state %+v after a late grant", state)
	}
	if _, found := x.Find(id(0), 5, 1); found != nil {
		t.Errorf("found %v below the log start", found)
	}
	if _, found := x.Find(id(0), 30, 1); found != nil {
		t.Errorf("found %v at the high watermark", found)
	}
	if _, found := x.Find(id(0), 15, 9); len(found) != 2 {
		t.Errorf("found %v, want two segments", found)
	}
}

func TestIndexForgetsAnotherIncarnation(t *testing.T) {
	x := newIndex(t, 0)
	x.learn(id(0), Answer{State: State{Epoch: 7, HighWatermark: 30}, Segments: []Segment{{BaseOffset: 20, RecordCount: 10}}})
	restored := State{Epoch: 1<<23 + 1, HighWatermark: 25}
	x.learn(id(0), Answer{State: restored})
	x.learn(id(0), Answer{State: State{Epoch: 8, HighWatermark: 40}}) // from before
	if state, _ := x.State(id(0)); state != restored {
		t.Errorf("state %+v, want that of the restored catalog", state)
	}
	if _, found := x.Find(id(0), 20, 1); found != nil {
		t.Errorf("found %v of the lost incarnation", found)
	}
}

// An agent that has not heard of an adoption yet goes on telling others what it has committed.
func TestIndexHearsNobodyOfAnEarlierIncarnation(t *testing.T) {
	x := newIndex(t, 0)
	x.learn(id(0), Answer{State: State{Epoch: 7, HighWatermark: 30}})
	x.Adopted(1)
	x.Noticed(id(0), 7, 31, &Segment{BaseOffset: 30, RecordCount: 1})
	if state, known := x.State(id(0)); known {
		t.Errorf("state %+v", state)
	}
	x.Noticed(id(0), 1<<23+1, 31, &Segment{BaseOffset: 30, RecordCount: 1})
	if _, found := x.Find(id(0), 30, 1); len(found) != 1 {
		t.Errorf("found %v of this incarnation", found)
	}
}

func TestIndexIsBounded(t *testing.T) {
	x := newIndex(t, 10_000)
	var many []Segment
	for i := range int64(500) {
		many = append(many, Segment{BaseOffset: i, RecordCount: 1})
	}
	for n := range int32(100) {
		x.learn(id(n), Answer{State: State{HighWatermark: 500}, Segments: many})
		x.Find(id(0), 0, 1)
	}
	if x.entries > 10_000 || len(x.known) > 20 {
		t.Errorf("%d entries of %d partitions", x.entries, len(x.known))
	}
	if _, ok := x.State(id(0)); !ok {
		t.Error("what was used all the time is forgotten")
	}
	x.Forget(id(0))
	if _, found := x.Find(id(0), 0, 1); found != nil {
		t.Errorf("found %v after Forget", found)
	}
	for p := range x.known {
		x.mu.Lock()
		x.drop(p)
		x.mu.Unlock()
	}
	if x.entries != 0 {
		t.Errorf("%d entries are counted, none is there", x.entries)
	}
}

func TestCommitIsFound(t *testing.T) {
	x := newIndex(t, 0)
	c := partition.Committed{
		Partition: id(0), Epoch: 3, BaseOffset: 10, NextOffset: 15, LogStartOffset: 2, MaxTimestampMs: 9,
		ObjectKey: "k", BytePosition: 8, SizeBytes: 100, CRC32C: 4,
	}
	x.Committed(c)
	want := Segment{ObjectKey: "k", Position: 8, SizeBytes: 100, CRC32C: 4, BaseOffset: 10, RecordCount: 5, Epoch: 3, MaxTimestampMs: 9}
	state, found := x.Find(id(0), 12, 5)
	if state != (State{Epoch: 3, LogStart: 2, HighWatermark: 15}) || len(found) != 1 || found[0] != want {
		t.Errorf("found %v in %+v", found, state)
	}
	if _, found := x.Find(id(0), 5, 5); found != nil {
		t.Errorf("found %v where only the catalog knows", found)
	}
}

func TestWithinIsWhatReadersComeTo(t *testing.T) {
	x := newIndex(t, 0)
	for n := range int32(3) { // each object has ten records of each partition
		for o := range int64(5) {
			x.Committed(partition.Committed{
				Partition: id(n), Epoch: 1, BaseOffset: 10 * o, NextOffset: 10 * (o + 1), LogStartOffset: 0,
				ObjectKey: fmt.Sprint(o), BytePosition: int64(n) * 100, SizeBytes: 100,
			})
		}
	}
	reaching := func(n int32, offset, bytes int64) Reader {
		return Reader{Partition: id(n), Offset: offset, Reach: bytes}
	}
	var got []string
	for _, s := range x.Within(func(key string) bool { return key >= "2" }, []Reader{
		reaching(0, 25, 200), // the rest of one, and the next
		reaching(1, 0, 250),  // comes to the first wanted one within its reach
		reaching(2, 0, 200),  // does not
		reaching(2, 50, 900), // is at the end
		reaching(7, 0, 900),  // of which nothing is known
	}) {
		got = append(got, fmt.Sprintf("%s@%d", s.ObjectKey, s.Position))
	}
	if want := []string{"2@0", "3@0", "2@100"}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

func TestConfigBounds(t *testing.T) {
	for _, c := range []Config{{Timeout: 1}, {InFlight: 100}, {MaxPending: 1}, {MaxSegments: 1}} {
		if c.Validate() == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	if _, err := NewIndex(IndexConfig{MaxEntries: 1}); err == nil {
		t.Error("an index of one entry is accepted")
	}
	if _, err := NewWatch(nil, nil, nil, 0, nil); err == nil {
		t.Error("a watch without an interval is accepted")
	}
}
