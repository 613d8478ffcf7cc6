package fetch

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/cache"
	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// retryAfter is when to come back to what is out of reach.
const retryAfter = 500 * time.Millisecond

// about names the target in a refusal. Reads write nothing, whatever a lookup says of records.
func about(t target, r *refusal.Refusal) *refusal.Refusal {
	number := t.id.Number
	r.Topic, r.Partition, r.Written = t.topic.Name, &number, refusalv1.Written_WRITTEN_UNSPECIFIED
	return r
}

func outOfRange(t target, s lookup.State) *refusal.Refusal {
	r := refusal.New(refusalv1.Reason_REASON_OUT_OF_RANGE, "offset %d is not between the log start %d and the end %d: choose another one",
		t.offset, s.LogStart, s.HighWatermark)
	r.Offsets = &refusalv1.Offsets{LogStartOffset: s.LogStart, HighWatermark: s.HighWatermark, NextOffset: s.HighWatermark}
	return about(t, r)
}

// refusalOf tells a reader why a partition could not be read. Faults of ours go to the log.
func (s *Service) refusalOf(ctx context.Context, t target, err error) *refusal.Refusal {
	if r, ok := refusal.Of(err); ok {
		return about(t, r)
	}
	switch {
	case errors.Is(err, lookup.ErrUnavailable):
		return about(t, withRetry(refusal.New(refusalv1.Reason_REASON_CATALOG_UNAVAILABLE, "the catalog is out of reach: try again")))
	case errors.Is(err, lookup.ErrOverloaded):
		return about(t, withRetry(refusal.New(refusalv1.Reason_REASON_OVERLOADED, "too many readers wait for the catalog: try again")))
	case errors.Is(err, cache.ErrBucket):
		return about(t, withRetry(refusal.New(refusalv1.Reason_REASON_BUCKET_UNAVAILABLE, "the bucket is out of reach: try again")))
	}
	s.log.ErrorContext(ctx, "partition could not be read", slog.String("topic", t.topic.Name),
		slog.String("topic_id", t.id.Topic.String()), slog.Int("partition", int(t.id.Number)), slog.Int64("offset", t.offset), slog.Any("error", err))
	return about(t, refusal.New(refusalv1.Reason_REASON_INTERNAL, refusal.InternalMessage))
}

func withRetry(r *refusal.Refusal) *refusal.Refusal {
	r.RetryAfterMs = retryAfter.Milliseconds()
	return r
}
