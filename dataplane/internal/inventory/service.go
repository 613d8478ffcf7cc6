package inventory

import (
	"context"
	"errors"
	"strings"
	"time"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

// streams is how many calls read at a time; others wait for their turn.
const streams = 8

// retryWait is the advice to a caller while the bucket is out of reach.
const retryWait = time.Second

// Service is the BucketService of one agent.
type Service struct {
	bucket     string
	agentGroup string
	store      objectstore.Store
	turns      chan struct{} // capacity streams: held while a call reads
}

var _ dataplanev1connect.BucketServiceHandler = (*Service)(nil)

// New returns the service of an agent group's prefix in the bucket of that name.
func New(bucket, agentGroup string, store objectstore.Store) *Service {
	return &Service{bucket: bucket, agentGroup: agentGroup, store: store, turns: make(chan struct{}, streams)}
}

// DescribeBucket reaches nothing.
func (s *Service) DescribeBucket(context.Context, *dataplanev1.DescribeBucketRequest) (*dataplanev1.DescribeBucketResponse, error) {
	return &dataplanev1.DescribeBucketResponse{Bucket: s.bucket, AgentGroup: s.agentGroup}, nil
}

// turn waits until this call may read.
func (s *Service) turn(ctx context.Context) (done func(), err error) {
	select {
	case s.turns <- struct{}{}:
		return func() { <-s.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// mine refuses keys of other agent groups (P7).
func (s *Service) mine(keys ...string) error {
	for _, key := range keys {
		if !strings.HasPrefix(key, object.GroupPrefix(s.agentGroup)) {
			return refusal.Newf(refusalv1.Reason_REASON_INVALID, "key %q is not the agent group %s's: ask an agent of its group", key, s.agentGroup)
		}
	}
	return nil
}

// unavailable is a bucket that does not answer; the caller's own end stays what it is.
func unavailable(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return err
	}
	return refusal.Error(&refusalv1.Refusal{
		Reason: refusalv1.Reason_REASON_BUCKET_UNAVAILABLE, RetryAfterMs: retryWait.Milliseconds(), Message: "the bucket does not answer: try again",
	}).WithCause(err)
}
