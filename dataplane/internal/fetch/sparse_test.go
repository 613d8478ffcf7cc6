package fetch

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

// retained is what key compaction leaves of a batch.
func retained(t *testing.T, batch []byte, kept map[int64]bool) (left []byte, records int32) {
	t.Helper()
	info, err := recordbatch.Open(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
	if err != nil {
		t.Fatal(err)
	}
	left, records, err = recordbatch.Retain(nil, batch, info, func(v *recordbatch.View) bool { return kept[v.Offset] }, new(recordbatch.Scratch))
	if err != nil {
		t.Fatal(err)
	}
	return left, records
}

// sparse is a partition after key compaction: some records are gone, and some batches that have none left.
type sparse struct {
	kept []int64
	end  int64
}

// compacted writes segments with holes wherever they can be, and commits them.
func (r *rig) compacted(rt *rapid.T, n int32) sparse {
	var s sparse
	kept := map[int64]bool{}
	for i := range rapid.IntRange(1, 4).Draw(rt, "segments") {
		base, body := s.end, []byte(nil)
		greatest := int64(0)
		last := rapid.IntRange(0, 5).Draw(rt, "batches")
		for j := range last + 1 {
			batch := batchOf(r.t, s.end, plain(rapid.IntRange(1, 4).Draw(rt, "records")))
			from := s.end
			h, _ := recordbatch.ParseHeader(batch)
			s.end = h.NextOffset()
			for o := from; o < s.end; o++ {
				if kept[o] = rapid.IntRange(0, 2).Draw(rt, "kept") == 0; kept[o] {
					s.kept = append(s.kept, o)
					greatest = max(greatest, 1000+o-from)
				}
			}
			left, records := retained(r.t, batch, kept)
			if records > 0 || rapid.Bool().Draw(rt, "an empty batch stays") || (len(body) == 0 && j == last) {
				body = append(body, left...)
			}
		}
		c := partition.Committed{
			Partition: id(n), Epoch: 1, BaseOffset: base, NextOffset: s.end, ObjectKey: fmt.Sprintf("group/00/sparse-%d-%d", n, i),
			SizeBytes: int32(len(body)), CRC32C: objectstore.Checksum(body), MaxTimestampMs: greatest,
		}
		if err := r.bucket.Put(context.Background(), c.ObjectKey, [][]byte{body}, c.CRC32C); err != nil {
			r.t.Fatal(err)
		}
		r.catalog.Commit(id(n), segmentOf(c))
	}
	return s
}

// missing counts the offsets from one to another that lie in no batch.
func missing(t *testing.T, batches []byte, from, to int64) int64 {
	t.Helper()
	n := int64(0)
	for batch, err := range recordbatch.Split(batches) {
		if err != nil {
			t.Fatal(err)
		}
		h, err := recordbatch.ParseHeader(batch)
		if err != nil {
			t.Fatal(err)
		}
		n += max(0, h.BaseOffset-from)
		from = h.NextOffset()
	}
	return n + to - from
}

func keptOffsets(t *testing.T, f *dataplanev1.FetchedPartition, from int64) []int64 {
	t.Helper()
	var all []int64
	for batch, err := range recordbatch.Split(f.GetBatches()) {
		if err != nil {
			t.Fatal(err)
		}
		info, err := recordbatch.Open(batch, recordbatch.Limits{}, new(recordbatch.Scratch))
		if err != nil {
			t.Fatal(err)
		}
		records, err := recordbatch.AppendRecords(nil, info)
		if err != nil {
			t.Fatal(err)
		}
		for _, record := range records {
			if record.Offset >= from { // the first batch may begin below
				all = append(all, record.Offset)
			}
		}
	}
	for _, record := range f.GetRecords() {
		all = append(all, record.GetOffset())
	}
	return all
}

// What key compaction has left is read from any offset on, whatever fits an answer, and every answer gets further.
func TestP2_HolesAreReadOver(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
			s := r.compacted(rt, 0)
			decoded := rapid.Bool().Draw(rt, "decoded")
			from := rapid.Int64Range(0, s.end-1).Draw(rt, "from")
			first, _ := slices.BinarySearch(s.kept, from)
			var got []int64
			for next := from; next < s.end; {
				req := request(0, next)
				req.MaxBytes, req.Decode = rapid.SampledFrom([]int32{1, 100, 300, 1 << 20}).Draw(rt, "max bytes"), decoded
				f := r.fetch(req)
				if f.GetNextOffset() <= next {
					rt.Fatalf("no progress at %d of %d", next, s.end)
				}
				got = append(got, keptOffsets(t, f, next)...)
				if want := missing(t, f.GetBatches(), next, f.GetNextOffset()); !decoded && want != f.GetSkippedOffsets() {
					rt.Fatalf("%d to %d: %d offsets skipped, want %d", next, f.GetNextOffset(), f.GetSkippedOffsets(), want)
				}
				next = f.GetNextOffset()
			}
			if !slices.Equal(got, s.kept[first:]) {
				rt.Fatalf("from %d: read %v, want %v", from, got, s.kept[first:])
			}
		})
	})
}

// A stream gets over holes, and tells how far it has got even where nothing is left.
func TestP2_ConsumeGetsOverHoles(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
			s := r.compacted(rt, 0)
			var got []int64
			next, ctx := int64(0), r.ctx
			ctx, done := context.WithCancel(ctx)
			defer done()
			_ = r.consume(ctx, &dataplanev1.ConsumeRequest{
				Topic: &dataplanev1.ConsumeRequest_TopicName{TopicName: topicName}, Decode: rapid.Bool().Draw(rt, "decoded"),
				Partitions: []*dataplanev1.ConsumePartition{{Position: edgeAt(dataplanev1.OffsetEdge_OFFSET_EDGE_EARLIEST)}},
			}, func(res *dataplanev1.ConsumeResponse) error {
				if f := res.GetFetched(); f != nil {
					got = append(got, keptOffsets(t, f, next)...)
					next = f.GetNextOffset()
				}
				if next == s.end {
					done()
				}
				return nil
			})
			if !slices.Equal(got, s.kept) || next != s.end {
				rt.Fatalf("read %v up to %d, want %v up to %d", got, next, s.kept, s.end)
			}
		})
	})
}

func TestListOffsetsByTimeGetsOverHoles(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
			s := r.compacted(rt, 0)
			timestamps := r.timestamps(t, s)
			for ms := int64(999); ms < 1006; ms++ {
				want := s.end
				for _, o := range s.kept {
					if timestamps[o] >= ms {
						want = o
						break
					}
				}
				if got := r.list(t, listOf(0, timeAt(ms))); got.GetOffset() != want || (want < s.end && got.GetTimestampMs() != timestamps[want]) {
					rt.Fatalf("time %d: %v, want %d", ms, got, want)
				}
			}
		})
	})
}

// timestamps reads those of all records.
func (r *rig) timestamps(t *testing.T, s sparse) map[int64]int64 {
	all := map[int64]int64{}
	for next := int64(0); next < s.end; {
		req := request(0, next)
		req.Decode = true
		f := r.fetch(req)
		for _, record := range f.GetRecords() {
			all[record.GetOffset()] = record.GetTimestampMs()
		}
		next = f.GetNextOffset()
	}
	return all
}

// A segment whose catalog row begins before or ends after its batches is one that was compacted; batches outside of it are damage.
func TestCutRefusesBatchesOutsideOfTheSegment(t *testing.T) {
	b := batchOf(t, 10, plain(3))
	for _, s := range []lookup.Segment{{BaseOffset: 11, RecordCount: 9}, {BaseOffset: 0, RecordCount: 12}, {BaseOffset: 14, RecordCount: 9}} {
		if p, err := cut(b, s, s.BaseOffset, 100, 1<<20, 1<<20); err == nil {
			t.Errorf("segment %+v: cut %d bytes up to %d", s, len(p.batches), p.next)
		}
	}
	if p, err := cut(b, lookup.Segment{BaseOffset: 5, RecordCount: 20}, 5, 100, 1<<20, 1<<20); err != nil || p.next != 25 || p.skipped != 17 {
		t.Errorf("%+v, %v: want the batch and 17 offsets skipped", p, err)
	}
}
