package server

import (
	"context"
	"time"

	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3response"
)

// slow holds every PUT of an object back.
type slow struct {
	backend.Backend

	delay time.Duration
}

// PutObject stores the object after the delay, unless ctx ends before.
func (s slow) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	timer := time.NewTimer(s.delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return s.Backend.PutObject(ctx, in)
	case <-ctx.Done():
		return s3response.PutObjectOutput{}, ctx.Err()
	}
}
