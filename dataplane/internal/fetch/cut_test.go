package fetch

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
)

// drawSegment makes a segment of some batches, with the offsets at which they begin and its end.
func drawSegment(t *testing.T, rt *rapid.T) (b []byte, s lookup.Segment, starts, sizes []int64) {
	s.BaseOffset = rapid.Int64Range(0, 50).Draw(rt, "base")
	next := s.BaseOffset
	for _, n := range rapid.SliceOfN(rapid.IntRange(1, 5), 1, 8).Draw(rt, "batches") {
		batch := batchOf(t, next, plain(n))
		starts, sizes = append(starts, next), append(sizes, int64(len(batch)))
		b = append(b, batch...)
		next += int64(n)
	}
	s.RecordCount = int32(next - s.BaseOffset)
	return b, s, append(starts, next), sizes
}

func TestP4_CutIsWholeBatchesBelowTheEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b, s, starts, sizes := drawSegment(t, rt)
		offset := rapid.Int64Range(s.BaseOffset, s.End()-1).Draw(rt, "offset")
		end := rapid.Int64Range(s.BaseOffset, s.End()+5).Draw(rt, "end")
		limit := rapid.IntRange(0, 1500).Draw(rt, "limit")
		first := rapid.SampledFrom([]int{0, 300, 100_000}).Draw(rt, "first")
		p, err := cut(b, s, offset, end, limit, first)
		if err != nil {
			rt.Fatal(err)
		}
		got, next := p.batches, p.next
		// The same by the table of batches.
		from, size, want := int64(-1), int64(0), offset
		for i := range sizes {
			if starts[i+1] <= offset {
				continue
			}
			if starts[i+1] > end || (size+sizes[i] > int64(limit) && (from >= 0 || sizes[i] > int64(first))) {
				break
			}
			if from < 0 {
				from = starts[i]
			}
			size, want = size+sizes[i], starts[i+1]
		}
		if next != want || int64(len(got)) != size || p.skipped != 0 {
			rt.Fatalf("cut %d bytes up to %d, want %d up to %d", len(got), next, size, want)
		}
		if len(got) > 0 {
			wantOffsets(t, offsets(t, got), from, want)
		}
		if next > max(end, offset) {
			rt.Fatalf("cut beyond the end %d: %d", end, next)
		}
	})
}

func TestCutRefusesWhatIsNotTheSegment(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b, s, _, sizes := drawSegment(t, rt)
		switch rapid.IntRange(0, 2).Draw(rt, "damage") {
		case 0:
			b = b[:len(b)-1]
		case 1:
			s.BaseOffset++
		case 2:
			at := len(b) - int(sizes[len(sizes)-1])
			b[at+7] ^= 0x40 // base offset of the last batch
		}
		if _, err := cut(b, s, s.BaseOffset, s.End(), 1<<20, 1<<20); err == nil {
			rt.Fatal("cut without an error")
		}
	})
}

func TestCutSurvivesAnything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b, s, _, _ := drawSegment(t, rt)
		for range rapid.IntRange(1, 5).Draw(rt, "flips") {
			b[rapid.IntRange(0, len(b)-1).Draw(rt, "at")] ^= rapid.Byte().Draw(rt, "bits")
		}
		p, err := cut(b, s, s.BaseOffset, s.End(), 1<<20, 1<<20)
		if err == nil {
			_, _, _, _ = decode(nil, p, s.BaseOffset, 1<<20, 1<<20)
			_, _, _, _ = firstAt(p.batches, 0, 0)
		}
		if p.next > s.End() {
			rt.Fatalf("cut up to %d, beyond the segment's end %d", p.next, s.End())
		}
	})
}

func TestDecodeIsWhereItStopped(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b, s, _, _ := drawSegment(t, rt)
		limit := rapid.IntRange(1, 200).Draw(rt, "limit")
		var all []int64
		for next := s.BaseOffset; next < s.End(); {
			records, size, after, err := decode(nil, piece{batches: b, next: next}, next, limit, 1<<20)
			if err != nil || len(records) == 0 {
				rt.Fatalf("%d records, error %v", len(records), err)
			}
			if size > limit && len(records) > 1 {
				rt.Fatalf("%d records of %d bytes, limit %d", len(records), size, limit)
			}
			for _, r := range records {
				all = append(all, r.GetOffset())
			}
			next = after
		}
		wantOffsets(t, all, s.BaseOffset, s.End())
	})
}
