package fetch

import (
	"context"
	"fmt"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
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

// doubtPatience bounds how long a reader waits for the catalog's word on what is known here already.
const doubtPatience = 200 * time.Millisecond

// locate finds each target. What the index does not have it asks the catalog for, with a lookup that starts
// now: so "nothing there" and "out of range" are never said from memory (P4). The error is the context's.
func (s *Service) locate(ctx context.Context, targets []target) ([]place, error) {
	places := make([]place, len(targets))
	halted := s.config.Halted != nil && s.config.Halted()
	var asked, unsure, aged, doubted []int
	for i, t := range targets {
		places[i].state, places[i].segments = s.index.Find(t.id, t.offset, locatedSegments)
		switch {
		case len(places[i].segments) == 0:
			asked = append(asked, i)
		case halted:
			unsure = append(unsure, i)
		case t.topic.KeysRequired && s.index.Aged(t.id):
			aged = append(aged, i)
		case s.index.Doubtful(t.id):
			doubted = append(doubted, i)
		}
	}
	if err := s.ask(ctx, targets, asked, places); err != nil {
		return nil, err
	}
	if err := s.assure(ctx, targets, unsure, places); err != nil {
		return nil, err
	}
	if err := s.renew(ctx, targets, aged, places); err != nil {
		return nil, err
	}
	return places, s.confirm(ctx, targets, doubted, places)
}

// assure asks a catalog that was halted when it was last heard of. As long as it is, what was acknowledged is still at its offset, and is read from what is
// known here. Once it has been adopted it may have given the offset to another record: then its word counts, and where it cannot be asked nothing is read
// (P2).
func (s *Service) assure(ctx context.Context, targets []target, which []int, places []place) error {
	if len(which) == 0 {
		return nil
	}
	known := make([]place, len(which))
	for i, at := range which {
		known[i] = places[at]
	}
	if err := s.ask(ctx, targets, which, places); err != nil {
		return err
	}
	for i, at := range which {
		if places[at].refusal.GetReason() == refusalv1.Reason_REASON_CATALOG_HALTED {
			places[at] = known[i]
		}
	}
	return nil
}

// renew asks the catalog whether compaction by key has put other segments in the place of those that are known. As with confirm, a catalog that does not
// answer keeps nobody from reading: what was replaced was committed, too.
func (s *Service) renew(ctx context.Context, targets []target, which []int, places []place) error {
	if len(which) == 0 || !s.watch.FailingSince().IsZero() {
		return nil
	}
	queries := make([]lookup.Query, len(which))
	for i, at := range which {
		queries[i] = lookup.Query{Partition: targets[at].id, By: lookup.ByOffset, At: targets[at].offset, MaxSegments: locatedSegments}
	}
	bounded, cancel := context.WithTimeout(ctx, doubtPatience)
	defer cancel()
	answers, err := s.coalescer.Ask(bounded, queries...)
	if err != nil {
		return ctx.Err()
	}
	for i, at := range which {
		s.index.Renew(targets[at].id, answers[i].Segments)
		if places[at], err = placeOf(targets[at], answers[i]); err != nil {
			places[at].refusal = s.refusalOf(ctx, targets[at], err)
		}
	}
	return nil
}

// confirm asks the catalog whether partitions that nobody has read for a while still begin where they did: their records may have been
// deleted. A catalog that does not answer keeps nobody from reading what was committed.
func (s *Service) confirm(ctx context.Context, targets []target, which []int, places []place) error {
	if len(which) == 0 || !s.watch.FailingSince().IsZero() {
		return nil
	}
	queries := make([]lookup.Query, len(which))
	for i, at := range which {
		queries[i] = lookup.Query{Partition: targets[at].id}
	}
	bounded, cancel := context.WithTimeout(ctx, doubtPatience)
	defer cancel()
	answers, err := s.coalescer.Ask(bounded, queries...)
	if err != nil {
		return ctx.Err()
	}
	for i, at := range which {
		switch t := targets[at]; {
		case answers[i].Refusal != nil:
			places[at] = place{refusal: about(t, answers[i].Refusal)}
		case t.offset < answers[i].State.LogStart:
			places[at] = place{state: answers[i].State, refusal: outOfRange(t, answers[i].State)}
		}
	}
	return nil
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
