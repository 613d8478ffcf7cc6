package compaction

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/google/uuid"
)

// Place is a partition as objects order them: the 16 bytes of the topic's id, then 4 of the partition's number, big-endian.
type Place string

// PlaceOf is a partition's place.
func PlaceOf(topic uuid.UUID, partition int32) Place {
	return Place(binary.BigEndian.AppendUint32(topic[:], uint32(partition)))
}

// everywhere is after every Place.
const everywhere = Place("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")

func (c Candidate) last() Place { return cmp.Or(c.Last, everywhere) }

// holds tells whether the place lies in what the object spans.
func (c Candidate) holds(at Place) bool { return c.First <= at && at <= c.last() }

// deepest are the candidates that span the place that most of them span, in the order given; of several such places the first.
func deepest(candidates []Candidate) []Candidate {
	at, found := deepestPlace(candidates)
	if !found {
		return nil
	}
	var set []Candidate
	for _, c := range candidates {
		if c.holds(at) {
			set = append(set, c)
		}
	}
	return set
}

// deepestPlace sweeps over the ends of all spans. A deepest place is always one where a span begins.
func deepestPlace(candidates []Candidate) (at Place, found bool) {
	firsts, lasts := make([]Place, len(candidates)), make([]Place, len(candidates))
	for i, c := range candidates {
		firsts[i], lasts[i] = c.First, c.last()
	}
	slices.Sort(firsts)
	slices.Sort(lasts)
	ended, most := 0, 0
	for begun, first := range firsts {
		for lasts[ended] < first {
			ended++
		}
		if depth := begun + 1 - ended; depth > most {
			at, most = first, depth
		}
	}
	return at, most > 0
}
