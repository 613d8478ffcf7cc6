package compaction

import (
	"cmp"
	"slices"
	"strings"
)

// kind is the same for objects that mostly hold the same partitions: at level 0 the session that wrote it, above it the first partition in it. It decides
// what is worth a job, not what is right.
func (c Candidate) kind(level int) string {
	if level > 0 {
		return string(c.First)
	}
	return c.Key[:strings.LastIndexByte(c.Key, '/')+1]
}

// sums of some candidates.
type sums struct{ objects, bytes, segments int64 }

func total(set []Candidate) (s sums) {
	for _, c := range set {
		s = s.plus(c)
	}
	return s
}

func (s sums) plus(c Candidate) sums {
	return sums{s.objects + 1, s.bytes + c.SizeBytes, s.segments + int64(c.References)}
}

// full tells whether a job has hardly room for more.
func (s sums) full() bool { return s.objects >= MaxInputs || s.segments >= maxSegments/2 }

// long tells whether objects of so many kinds, joined, have segments as long as any get: objects of a kind × mean segment.
func (s sums) long(kinds int) bool { return s.objects*s.bytes >= int64(kinds)*joinedBytes*s.segments }

// lasting tells whether there is room in one job of level 0 for objects enough to make long segments, so that none of it is rewritten again.
func (s sums) lasting(c Config) bool {
	wanted := joinedBytes * s.segments / max(1, s.bytes) // sizes of old objects are not known: 0
	return wanted <= MaxInputs && wanted*s.bytes <= s.objects*c.jobBytes(0) && wanted*s.segments <= s.objects*maxSegments/2
}

// enough tells whether objects of one kind are worth a job. No more of them than that: small ones an agent reads whole, as far as its memory goes, and what
// it reads of others at a time is divided among them, so twice as many take four times the requests.
func (s sums) enough(level int, lasting bool, c Config) bool {
	switch {
	case s.objects < 2:
		return false
	case s.full(), s.bytes >= c.jobBytes(level)*3/4:
		return true
	case level > 0:
		return s.bytes >= c.TargetBytes && s.long(1)
	case s.bytes <= s.objects*smallBytes:
		return s.bytes >= c.wholeBytes() && (s.long(1) || !lasting)
	default:
		return s.bytes >= c.TargetBytes/2 && (s.long(1) || !lasting)
	}
}

// alike are objects of one kind, as soon as there are enough. Where others wait behind them, fewer will do. nil: no kind has enough.
func alike(level int, candidates []Candidate, config Config, crowded bool) []Candidate {
	sets := kinds(level, candidates)
	for _, set := range sets {
		if n := firstEnough(level, set, config); n > 0 {
			return bounded(set[:n], MaxInputs, config.jobBytes(level))
		}
	}
	if crowded && len(sets) > 0 && len(sets[0]) >= minCrowd {
		return bounded(sets[0], MaxInputs, config.jobBytes(level))
	}
	return nil
}

// kinds divides candidates, the kind with most first.
func kinds(level int, candidates []Candidate) [][]Candidate {
	of := map[string][]Candidate{}
	for _, c := range candidates {
		of[c.kind(level)] = append(of[c.kind(level)], c)
	}
	sets := make([][]Candidate, 0, len(of))
	for _, set := range of {
		sets = append(sets, set)
	}
	slices.SortFunc(sets, func(a, b []Candidate) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a[0].ObjectID, b[0].ObjectID), cmp.Compare(a[0].Key, b[0].Key))
	})
	return sets
}

// firstEnough is how many of the first are enough; 0: all are too few.
func firstEnough(level int, set []Candidate, config Config) int {
	lasting := total(set).lasting(config)
	var s sums
	for i, c := range set {
		if s = s.plus(c); s.enough(level, lasting, config) {
			return i + 1
		}
	}
	return 0
}
