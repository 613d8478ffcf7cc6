package fetch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/cache"
	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

const (
	// searchesAtATime bounds the searches by time of one request, which read segments.
	searchesAtATime = 8
	// searchedSegments is how many segments a search by time asks for; the first one has the record, but
	// where the log begins in its midst.
	searchedSegments = 2
)

// ListOffsets finds offsets; see record.proto.
func (s *Service) ListOffsets(ctx context.Context, req *dataplanev1.ListOffsetsRequest) (*dataplanev1.ListOffsetsResponse, error) {
	if err := s.authorize(ctx); err != nil {
		return nil, err
	}
	topics := s.resolver()
	res := &dataplanev1.ListOffsetsResponse{}
	var wanted []*wanted
	for i, e := range req.GetPartitions() {
		if e.GetPosition().GetOffset() < 0 {
			return nil, refusal.Invalid(fmt.Sprintf("partitions[%d].position.offset", i), "offset %d is negative", e.GetPosition().GetOffset())
		}
		t, err := topics.target(ctx, e)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		w := newWanted(t, e.GetPosition())
		res.Offsets = append(res.Offsets, w.listed)
		if err != nil {
			w.listed.TopicId, w.listed.Refusal = e.GetTopicId(), s.refusalOf(ctx, t, err)
			continue
		}
		wanted = append(wanted, w)
	}
	if err := s.list(ctx, wanted); err != nil {
		return nil, err
	}
	if r := res.GetOffsets()[0].GetRefusal(); r != nil && len(res.GetOffsets()) == 1 {
		return nil, refusal.Error(r)
	}
	return res, nil
}

// wanted is a position that is looked for, and what was found.
type wanted struct {
	target   target
	position *dataplanev1.OffsetPosition
	listed   *dataplanev1.ListedOffset
}

func newWanted(t target, p *dataplanev1.OffsetPosition) *wanted {
	t.offset = p.GetOffset()
	return &wanted{target: t, position: p, listed: &dataplanev1.ListedOffset{TopicId: t.id.Topic.String(), Partition: t.id.Number}}
}

func (w *wanted) byTime() bool {
	_, ok := w.position.GetPosition().(*dataplanev1.OffsetPosition_TimestampMs)
	return ok
}

func (w *wanted) query() lookup.Query {
	if w.byTime() {
		return lookup.Query{Partition: w.target.id, By: lookup.ByTime, At: w.position.GetTimestampMs(), MaxSegments: searchedSegments}
	}
	return lookup.Query{Partition: w.target.id}
}

// list finds all that is wanted, by lookups that start now (P4: asking for the end). Refusals stay with
// their entries; the error is the context's.
func (s *Service) list(ctx context.Context, all []*wanted) error {
	if len(all) == 0 {
		return nil
	}
	queries := make([]lookup.Query, len(all))
	for i, w := range all {
		queries[i] = w.query()
	}
	answers, err := s.coalescer.Ask(ctx, queries...)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	searches, searchCtx := errgroup.WithContext(ctx)
	searches.SetLimit(searchesAtATime)
	for i, w := range all {
		if err != nil {
			w.listed.Refusal = s.refusalOf(ctx, w.target, err)
			continue
		}
		if w.settle(answers[i]) || !w.byTime() {
			continue
		}
		searches.Go(func() error {
			if err := s.searchTwice(searchCtx, w, answers[i]); err != nil && searchCtx.Err() == nil {
				w.listed.Refusal = s.refusalOf(ctx, w.target, err)
			}
			return searchCtx.Err()
		})
	}
	return searches.Wait()
}

// settle takes the answer; true: it refuses.
func (w *wanted) settle(a lookup.Answer) bool {
	if a.Refusal != nil {
		w.listed.Refusal = about(w.target, a.Refusal)
		return true
	}
	w.listed.LogStartOffset, w.listed.HighWatermark = a.State.LogStart, a.State.HighWatermark
	switch p := w.position.GetPosition().(type) {
	case *dataplanev1.OffsetPosition_Edge:
		w.listed.Offset = a.State.HighWatermark
		if p.Edge == dataplanev1.OffsetEdge_OFFSET_EDGE_EARLIEST {
			w.listed.Offset = a.State.LogStart
		}
	case *dataplanev1.OffsetPosition_Offset:
		if p.Offset < a.State.LogStart || p.Offset > a.State.HighWatermark {
			w.listed.Refusal = outOfRange(w.target, a.State)
			return true
		}
		w.listed.Offset = p.Offset
	}
	return false
}

// searchTwice searches, and where an object is missing asks the catalog again, past the index: it may have been
// compacted or expired meanwhile.
func (s *Service) searchTwice(ctx context.Context, w *wanted, a lookup.Answer) error {
	err := s.search(ctx, w, a)
	if !errors.Is(err, cache.ErrMissing) {
		return err
	}
	s.log.WarnContext(ctx, "object is missing, asking the catalog again", slog.String("partition", w.target.id.String()), slog.Any("error", err))
	s.index.Forget(w.target.id)
	answers, err := s.coalescer.Ask(ctx, w.query())
	if err != nil || w.settle(answers[0]) {
		return err
	}
	return s.search(ctx, w, answers[0])
}

// search looks for the first record at or after the time: in the first segments whose greatest timestamp
// reaches it, then in what follows, up to the high watermark of the answer; else it is the end.
func (s *Service) search(ctx context.Context, w *wanted, a lookup.Answer) error {
	w.listed.Offset = a.State.HighWatermark
	segments := a.Segments
	for len(segments) > 0 {
		end := segments[len(segments)-1].End()
		for _, segment := range segments {
			if segment.MaxTimestampMs < w.position.GetTimestampMs() {
				continue
			}
			found, err := s.searchSegment(ctx, w, segment, a.State)
			if err != nil || found {
				return err
			}
		}
		if end >= a.State.HighWatermark {
			return nil
		}
		next := w.target
		next.offset = end
		places, err := s.locate(ctx, []target{next})
		if err != nil {
			return err
		}
		if places[0].refusal != nil {
			w.listed.Refusal = places[0].refusal
			return nil
		}
		segments = places[0].segments
	}
	return nil
}

func (s *Service) searchSegment(ctx context.Context, w *wanted, segment lookup.Segment, state lookup.State) (bool, error) {
	loaded := s.cache.Load(ctx, []cache.Want{{Segment: segment}})[0]
	if loaded.Err != nil {
		return false, loaded.Err
	}
	offset, timestamp, found, err := firstAt(loaded.Bytes, w.position.GetTimestampMs(), state.LogStart)
	if err != nil {
		return false, fmt.Errorf("segment %q at %d: %w", segment.ObjectKey, segment.Position, err)
	}
	if found {
		w.listed.Offset, w.listed.TimestampMs = offset, &timestamp
	}
	return found, nil
}

// firstAt finds the first record from offset from on whose timestamp is at or after the time.
func firstAt(b []byte, timestampMs, from int64) (offset, timestamp int64, found bool, err error) {
	scratch := recordbatch.AcquireScratch()
	defer scratch.Release()
	for batch, err := range recordbatch.Split(b) {
		if err != nil {
			return 0, 0, false, err
		}
		h, err := recordbatch.ParseHeader(batch)
		if err != nil {
			return 0, 0, false, err
		}
		if h.MaxTimestamp < timestampMs || h.NextOffset() <= from {
			continue
		}
		info, err := recordbatch.Open(batch, recordbatch.Limits{}, scratch)
		if err != nil {
			return 0, 0, false, err
		}
		var v recordbatch.View
		r := recordbatch.NewReader(info)
		for r.Next(&v) {
			if v.Timestamp >= timestampMs && v.Offset >= from {
				return v.Offset, v.Timestamp, true, nil
			}
		}
		if err := r.Err(); err != nil {
			return 0, 0, false, err
		}
	}
	return 0, 0, false, nil
}
