package objectstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// writes are the operations that leave something behind.
var writes = map[string]bool{
	"put": true, "delete": true, "create upload": true, "upload part": true, "complete upload": true, "abort upload": true,
}

// retry makes attempts, which move so many bytes, until one has a definite outcome, they are used up, or ctx ends.
func (s *S3) retry(ctx context.Context, op, key string, bytes int64, attempt func(context.Context) error) error {
	failure := &OpError{Op: op, Key: key}
	if err := ctx.Err(); err != nil {
		failure.Err = unavailable(err)
		return failure
	}
	for {
		failure.Attempts++
		err := s.attempt(ctx, bytes, attempt)
		if err == nil {
			return nil
		}
		v := classify(err)
		failure.MayHaveArrived = writes[op] && (failure.MayHaveArrived || v.mayHaveArrived) && !v.surelyNot
		if !v.again {
			failure.Err = v.err
			return failure
		}
		failure.Err = unavailable(err)
		if failure.Attempts == s.cfg.Attempts {
			return failure
		}
		if ended := s.backOff(ctx, failure.Attempts); ended != nil {
			failure.Err = unavailable(errors.Join(ended, err))
			return failure
		}
	}
}

// slowest is the rate below which an attempt is given up, after its AttemptTimeout.
const slowest = 1 << 20 // bytes a second

func (s *S3) attempt(ctx context.Context, bytes int64, attempt func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.AttemptTimeout+time.Duration(bytes)*time.Second/slowest)
	defer cancel()
	return attempt(ctx)
}

// backOff waits before attempt done+1, with full jitter so that clients that failed together do not return together.
func (s *S3) backOff(ctx context.Context, done int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	limit := min(s.cfg.BackoffBase<<(done-1), s.cfg.BackoffMax)
	timer := time.NewTimer(rand.N(limit) + 1)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }

func refuse(op, key, format string, args ...any) error {
	return &OpError{Op: op, Key: key, Err: fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))}
}
