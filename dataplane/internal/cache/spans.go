package cache

import (
	"cmp"
	"slices"
)

// span is a range of one object that is read at once, for the sake of these flights.
type span struct {
	object      string
	position    int64
	size        int64
	owner       string // address of the agent that is asked; empty: none
	sharing     Sharing
	together    bool  // whatever the gap to another one of these
	whole       bool  // all of the object; position and size mean nothing
	objectBytes int64 // 0: unknown
	flights     []*flight
}

func (s *span) end() int64 { return s.position + s.size }

// spans covers all flights with few ranges: two of one object are joined where the gap between them is at most maxGap bytes, or both are
// wanted together, and the whole is at most maxSize. A flight alone may be larger.
func spans(flights []*flight, maxGap, maxSize int64) []*span {
	slices.SortFunc(flights, func(a, b *flight) int {
		return cmp.Or(cmp.Compare(a.owner, b.owner), cmp.Compare(a.wish.object, b.wish.object), cmp.Compare(a.wish.part.position, b.wish.part.position))
	})
	var all []*span
	for _, f := range flights {
		next := spanOf(f)
		if len(all) == 0 || !all[len(all)-1].join(next, maxGap, maxSize) {
			all = append(all, next)
		}
	}
	for _, s := range all {
		s.widen(maxSize)
	}
	return all
}

// widen makes a span of segments that are wanted together all of its object where it is nearly that: more may come for the rest.
func (s *span) widen(maxSize int64) {
	if s.together && len(s.flights) > 1 && s.objectBytes > 0 && s.objectBytes <= maxSize && 4*s.size >= 3*s.objectBytes {
		s.position, s.size = 0, max(s.end(), s.objectBytes)
	}
}

func spanOf(f *flight) *span {
	w := f.wish
	return &span{
		object: w.object, position: w.part.position, size: int64(w.part.size), owner: f.owner, sharing: w.sharing, together: w.together,
		whole: w.part == wholePart, objectBytes: w.objectBytes, flights: []*flight{f},
	}
}

// join takes a span that does not begin before this one, if it is near enough.
func (s *span) join(next *span, maxGap, maxSize int64) bool {
	size := max(s.end(), next.end()) - s.position
	if s.whole || next.whole || s.owner != next.owner || s.object != next.object || size > maxSize {
		return false
	}
	if next.position-s.end() > maxGap && !(s.together && next.together) {
		return false
	}
	s.size = size
	s.flights = append(s.flights, next.flights...)
	s.together = s.together && next.together
	s.objectBytes = max(s.objectBytes, next.objectBytes)
	s.sharing = max(s.sharing, next.sharing)
	if s.sharing == Shared { // two segments of a new object are wanted by one reader: there will be more
		s.sharing = Whole
	}
	return true
}
