package fetch

import (
	"context"
	"fmt"

	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// locatedSegments is how many segments are asked for at a time: a far reader asks once in so many.
const locatedSegments = 100

// place is where a target's offset lies: in the first of these segments; or nowhere, and there is nothing yet
// or a refusal.
type place struct {
	state    lookup.State
	segments []lookup.Segment
	refusal  *refusal.Refusal
}

// locate finds each target. What the index does not have it asks the catalog for, with a lookup that starts
// now: so "nothing there" and "out of range" are never said from memory (P4). The error is the context's.
func (s *Service) locate(ctx context.Context, targets []target) ([]place, error) {
	places := make([]place, len(targets))
	var asked []int
	for i, t := range targets {
		places[i].state, places[i].segments = s.index.Find(t.id, t.offset, locatedSegments)
		if len(places[i].segments) == 0 {
			asked = append(asked, i)
		}
	}
	return places, s.ask(ctx, targets, asked, places)
}

// ask locates some of the targets past the index.
func (s *Service) ask(ctx context.Context, targets []target, which []int, places []place) error {
	if len(which) == 0 {
		return nil
	}
	queries := make([]lookup.Query, len(which))
	for i, at := range which {
		queries[i] = lookup.Query{Partition: targets[at].id, By: lookup.ByOffset, At: targets[at].offset, MaxSegments: locatedSegments}
	}
	answers, err := s.coalescer.Ask(ctx, queries...)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i, at := range which {
		if err != nil {
			places[at] = place{refusal: s.refusalOf(ctx, targets[at], err)}
			continue
		}
		if places[at], err = placeOf(targets[at], answers[i]); err != nil {
			places[at].refusal = s.refusalOf(ctx, targets[at], err)
			err = nil
		}
	}
	return nil
}

// placeOf judges an answer of the catalog. An error is a fault of the catalog.
func placeOf(t target, a lookup.Answer) (place, error) {
	p := place{state: a.State, segments: a.Segments}
	switch {
	case a.Refusal != nil:
		return place{refusal: about(t, a.Refusal)}, nil
	case t.offset < a.State.LogStart || t.offset > a.State.HighWatermark:
		return place{state: a.State, refusal: outOfRange(t, a.State)}, nil
	case t.offset == a.State.HighWatermark:
		return place{state: a.State}, nil
	case len(a.Segments) == 0 || a.Segments[0].BaseOffset > t.offset || a.Segments[0].End() <= t.offset:
		return place{state: a.State}, fmt.Errorf("catalog has no segment for offset %d of %s below the high watermark %d",
			t.offset, t.id, a.State.HighWatermark)
	}
	return p, nil
}
