package lookup

import (
	"slices"
	"sort"
)

// segments are committed ones of one partition, in order of offset, without overlap, with gaps where
// nothing is known.
type segments []Segment

// find returns up to n contiguous segments from the one that holds offset on; none if that is unknown.
func (l segments) find(offset int64, n int) []Segment { return slices.Clone(l.contiguous(offset, n)) }

// contiguous is find without a copy.
func (l segments) contiguous(offset int64, n int) segments {
	i := l.from(offset)
	if i == len(l) || l[i].BaseOffset > offset {
		return nil
	}
	j := i + 1
	for j < len(l) && j-i < n && l[j].BaseOffset == l[j-1].End() {
		j++
	}
	return l[i:j]
}

// from is the index of the first segment that ends after offset.
func (l segments) from(offset int64) int {
	return sort.Search(len(l), func(i int) bool { return l[i].End() > offset })
}

// insert puts a contiguous run in. It replaces what it overlaps: the newer answer knows of a compaction.
// Beyond limit, what is farthest from the run is dropped.
func (l segments) insert(run []Segment, limit int) segments {
	if len(run) == 0 {
		return l
	}
	first, last := run[0].BaseOffset, run[len(run)-1].End()
	i := l.from(first)
	j := i + sort.Search(len(l)-i, func(k int) bool { return l[i+k].BaseOffset >= last })
	l = slices.Replace(l, i, j, run...)
	excess := len(l) - limit
	if excess <= 0 {
		return l
	}
	above := len(l) - i - len(run)
	high := min(excess, above)
	l = l[:len(l)-high]
	return slices.Delete(l, 0, excess-high)
}

// after drops what ends at or below offset.
func (l segments) after(offset int64) segments { return slices.Delete(l, 0, l.from(offset)) }
