package rebuild

import (
	"cmp"
	"slices"
)

// Segment is a candidate: one partition's entry in an object's footer.
type Segment struct {
	// ID is the caller's name for it.
	ID          int64
	BaseOffset  int64
	TenureFirst int64 // first offset of the tenure that wrote it
	RecordCount int32 // offsets that it covers
	SizeBytes   int32
	Epoch       int32
}

// End is the first offset after it.
func (s Segment) End() int64 { return s.BaseOffset + int64(s.RecordCount) }

// Known is what is known of a partition beside its segments. The zero Known: nothing.
type Known struct {
	// LogStart is where the log begins.
	LogStart int64
	// Exact says that a chain begins at LogStart and nowhere below it: what is below is in the catalog already.
	Exact bool
	// HighWatermark was acknowledged in Epoch or before: the chain must reach it. Of each of Marks, the same.
	Marks []Mark
}

// Mark is an end that the log has had: the epoch that held the partition then had begun at or below it.
type Mark struct {
	HighWatermark int64
	Epoch         int32
}

// Log is what a partition's candidates come to.
type Log struct {
	// Chain has its segments in order. The first may begin below the log start.
	Chain []Segment
	// HighWatermark is where the chain ends: at LogStart where there is none.
	HighWatermark int64
	// Lost is how many offsets below a mark are not there.
	Lost int64
}

// Follow finds the log among the candidates, whose order it changes.
func Follow(known Known, candidates []Segment) Log {
	live := dropRefused(known, candidates)
	slices.SortFunc(live, func(a, b Segment) int {
		return cmp.Or(cmp.Compare(a.BaseOffset, b.BaseOffset), cmp.Compare(a.RecordCount, b.RecordCount), cmp.Compare(a.ID, b.ID))
	})
	log := furthest(known, live)
	for _, mark := range known.Marks {
		log.Lost = max(log.Lost, mark.HighWatermark-log.HighWatermark)
	}
	return log
}

// dropRefused is step 1, in place. A segment that reaches over the beginning of a later tenure cannot be; it goes, too.
func dropRefused(known Known, candidates []Segment) []Segment {
	first := tenures(known, candidates)
	return slices.DeleteFunc(candidates, func(s Segment) bool {
		// The first boundary of a later epoch has the least offset of all later ones.
		i, _ := slices.BinarySearchFunc(first, s.Epoch, func(b boundary, epoch int32) int { return cmp.Compare(b.epoch, epoch+1) })
		return i < len(first) && s.End() > first[i].offset
	})
}

// boundary: no segment of an earlier epoch lies at or above the offset.
type boundary struct {
	epoch  int32
	offset int64
}

// tenures lists the boundaries by epoch; the offset of each is the least of its own and all later ones.
func tenures(known Known, candidates []Segment) []boundary {
	least := map[int32]int64{}
	add := func(epoch int32, offset int64) {
		if at, seen := least[epoch]; !seen || offset < at {
			least[epoch] = offset
		}
	}
	for _, s := range candidates {
		add(s.Epoch, s.TenureFirst)
	}
	for _, m := range known.Marks {
		add(m.Epoch, m.HighWatermark)
	}
	first := make([]boundary, 0, len(least))
	for epoch, offset := range least {
		first = append(first, boundary{epoch, offset})
	}
	slices.SortFunc(first, func(a, b boundary) int { return cmp.Compare(a.epoch, b.epoch) })
	for i := len(first) - 2; i >= 0; i-- {
		first[i].offset = min(first[i].offset, first[i+1].offset)
	}
	return first
}

// step is the best way to an offset.
type step struct {
	bytes    int64
	segments int
	last     int // index of the segment that ends there
}

func (s step) better(other step) bool {
	return cmp.Or(cmp.Compare(s.bytes, other.bytes), cmp.Compare(s.segments, other.segments)) < 0
}

// furthest is steps 2 and 3. Segments are looked at by their beginning, so that all ways to it are known. Requires: sorted by BaseOffset.
func furthest(known Known, sorted []Segment) Log {
	ways := map[int64]step{}
	end := known.LogStart
	for i, s := range sorted {
		before, reached := ways[s.BaseOffset]
		begins := s.BaseOffset == known.LogStart || (!known.Exact && s.BaseOffset < known.LogStart)
		if s.End() <= known.LogStart || (!reached && !begins) {
			continue
		}
		if begins {
			before = step{}
		}
		way := step{bytes: before.bytes + int64(s.SizeBytes), segments: before.segments + 1, last: i}
		if other, seen := ways[s.End()]; !seen || way.better(other) {
			ways[s.End()] = way
		}
		end = max(end, s.End())
	}
	log := Log{HighWatermark: end}
	for at := end; at > known.LogStart; {
		s := sorted[ways[at].last]
		log.Chain = append(log.Chain, s)
		at = s.BaseOffset
	}
	slices.Reverse(log.Chain)
	return log
}
