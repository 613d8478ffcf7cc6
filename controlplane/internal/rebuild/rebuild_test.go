package rebuild_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/controlplane/internal/producer"
	"github.com/streamhouse/streamhouse/controlplane/internal/rebuild"
)

func seg(id int64, epoch int32, tenureFirst, base, end int64) rebuild.Segment {
	return rebuild.Segment{ID: id, Epoch: epoch, TenureFirst: tenureFirst, BaseOffset: base, RecordCount: int32(end - base), SizeBytes: int32(10 * (end - base))}
}

func ids(chain []rebuild.Segment) (list []int64) {
	for _, s := range chain {
		list = append(list, s.ID)
	}
	return list
}

func TestP9_Follow(t *testing.T) {
	t.Parallel()
	small := seg(9, 1, 0, 0, 10)
	small.SizeBytes = 5
	for name, c := range map[string]struct {
		known      rebuild.Known
		candidates []rebuild.Segment
		chain      []int64
		end, lost  int64
	}{
		"nothing":                   {},
		"one after the other":       {candidates: []rebuild.Segment{seg(2, 1, 0, 10, 20), seg(1, 1, 0, 0, 10)}, chain: []int64{1, 2}, end: 20},
		"it stops at the first gap": {candidates: []rebuild.Segment{seg(1, 1, 0, 0, 10), seg(2, 1, 0, 11, 20)}, chain: []int64{1}, end: 10},
		"what was refused is gone":  {candidates: []rebuild.Segment{seg(1, 1, 0, 0, 10), seg(2, 1, 0, 10, 20), seg(3, 2, 10, 10, 12)}, chain: []int64{1, 3}, end: 12},
		"a tenure whose first object never came still ends the one before": {
			candidates: []rebuild.Segment{seg(1, 1, 0, 0, 10), seg(2, 1, 0, 10, 20), seg(3, 2, 10, 12, 14)}, chain: []int64{1}, end: 10,
		},
		"of two later tenures the one that began lower counts": {
			candidates: []rebuild.Segment{seg(1, 1, 0, 0, 10), seg(2, 1, 0, 10, 20), seg(3, 2, 10, 11, 12), seg(4, 3, 20, 20, 21)}, chain: []int64{1}, end: 10,
		},
		"the furthest, not the longest step": {
			candidates: []rebuild.Segment{seg(1, 1, 0, 0, 30), seg(2, 1, 0, 0, 20), seg(3, 1, 0, 20, 40)}, chain: []int64{2, 3}, end: 40,
		},
		"few segments where it is all one": {
			candidates: []rebuild.Segment{seg(1, 1, 0, 0, 10), seg(2, 1, 0, 10, 20), seg(3, 1, 0, 0, 20)}, chain: []int64{3}, end: 20,
		},
		"what key compaction left": {
			candidates: []rebuild.Segment{seg(1, 1, 0, 0, 10), small, seg(2, 1, 0, 10, 20)}, chain: []int64{9, 2}, end: 20,
		},
		"a log start inside a segment": {
			known: rebuild.Known{LogStart: 5}, candidates: []rebuild.Segment{seg(1, 1, 0, 0, 10), seg(2, 1, 0, 10, 20)}, chain: []int64{1, 2}, end: 20,
		},
		"a log start at the end": {known: rebuild.Known{LogStart: 10}, candidates: []rebuild.Segment{seg(1, 1, 0, 0, 10)}, end: 10},
		"an exact start": {
			known: rebuild.Known{LogStart: 5, Exact: true}, candidates: []rebuild.Segment{seg(1, 1, 0, 0, 10), seg(2, 1, 0, 10, 20)}, end: 5,
		},
		"a mark that is not reached": {
			known:      rebuild.Known{Marks: []rebuild.Mark{{HighWatermark: 25, Epoch: 1}}},
			candidates: []rebuild.Segment{seg(1, 1, 0, 0, 10)}, chain: []int64{1}, end: 10, lost: 15,
		},
		"what lies above a mark of a later epoch was refused": {
			known:      rebuild.Known{LogStart: 10, Exact: true, Marks: []rebuild.Mark{{HighWatermark: 10, Epoch: 2}}},
			candidates: []rebuild.Segment{seg(1, 1, 0, 10, 20)}, end: 10,
		},
	} {
		got := rebuild.Follow(c.known, c.candidates)
		if !slices.Equal(ids(got.Chain), c.chain) || got.HighWatermark != c.end || got.Lost != c.lost {
			t.Errorf("%s: %v up to %d, %d lost; want %v, %d, %d", name, ids(got.Chain), got.HighWatermark, got.Lost, c.chain, c.end, c.lost)
		}
	}
}

func TestTopics(t *testing.T) {
	t.Parallel()
	id := func(n byte) rebuild.TopicID { return rebuild.TopicID{n} }
	at := func(n int64) time.Time { return time.Unix(n, 0) }
	got := rebuild.Topics([]rebuild.Topic{
		{ID: id(1), Name: "a", CreatedAt: at(1), Partitions: 2},
		{ID: id(2), Name: "b", CreatedAt: at(2), Partitions: 1, Deleted: true},
		{ID: id(3), Name: "c", CreatedAt: at(3), Partitions: 1},
	}, []rebuild.Topic{
		{ID: id(1), Name: "a", CreatedAt: at(1), Partitions: 1},
		{ID: id(2), Name: "b", CreatedAt: at(2), Partitions: 1},
		{ID: id(4), Name: "c", CreatedAt: at(4), Partitions: 1},
	}, func(t rebuild.TopicID) int32 { return map[rebuild.TopicID]int32{id(4): 7}[t] })
	want := []rebuild.Topic{
		{ID: id(4), Name: "c", CreatedAt: at(4), Partitions: 7},
		{ID: id(3), Name: "c-recovered-03000000", CreatedAt: at(3), Partitions: 1},
		{ID: id(1), Name: "a", CreatedAt: at(1), Partitions: 2},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i := range want {
		if got[i].ID != want[i].ID || got[i].Name != want[i].Name || got[i].Partitions != want[i].Partitions {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
}

// Whatever the order in which batches come in, and however often, the state is that of one who saw them in the order of the log.
func TestP5_ReplayInAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var log []rebuild.Batch
		var state producer.State
		epoch, offset, sequence := int16(0), int64(0), int32(0)
		for range rapid.IntRange(1, 30).Draw(t, "batches") {
			if rapid.IntRange(0, 6).Draw(t, "new epoch") == 0 {
				epoch, sequence = epoch+1, 0
			}
			b := rebuild.Batch{ProducerID: 1, Epoch: epoch, Batch: producer.Batch{BaseSequence: sequence, RecordCount: 2, BaseOffset: offset}}
			next, verdict := state.Follow(epoch, b.Batch)
			if verdict != producer.Follows {
				t.Fatal("the history is wrong")
			}
			state, sequence, offset = next, sequence+2, offset+5
			log = append(log, b)
		}
		log = append(log, log[:len(log)/2]...)
		var got producer.State
		for _, i := range rapid.Permutation(indices(len(log))).Draw(t, "order") {
			got = rebuild.Replay(got, log[i])
		}
		if got.Epoch != state.Epoch || !slices.Equal(got.Batches, state.Batches) {
			t.Fatalf("%v, want %v", got, state)
		}
	})
}

func indices(n int) (list []int) {
	for i := range n {
		list = append(list, i)
	}
	return list
}
