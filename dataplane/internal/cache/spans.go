package cache

import (
	"cmp"
	"slices"
)

// span is a range of one object that is read with one GET, for the sake of these flights.
type span struct {
	object   string
	position int64
	size     int64
	flights  []*flight
}

func (s *span) end() int64 { return s.position + s.size }

// spans covers all flights with few ranges: two of one object are joined where the gap between them is at
// most maxGap bytes and the whole at most maxSize. A flight alone may be larger.
func spans(flights []*flight, maxGap, maxSize int64) []*span {
	slices.SortFunc(flights, func(a, b *flight) int {
		return cmp.Or(cmp.Compare(a.key.object, b.key.object), cmp.Compare(a.key.position, b.key.position))
	})
	var all []*span
	for _, f := range flights {
		position, size := f.key.position, int64(f.key.size)
		if len(all) > 0 {
			last := all[len(all)-1]
			joined := max(last.end(), position+size) - last.position
			if last.object == f.key.object && position-last.end() <= maxGap && joined <= maxSize {
				last.size = joined
				last.flights = append(last.flights, f)
				continue
			}
		}
		all = append(all, &span{object: f.key.object, position: position, size: size, flights: []*flight{f}})
	}
	return all
}
