package yardstick

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

// StoreConfig of a measurement of the bucket.
type StoreConfig struct {
	// AgentGroup is whose prefix the objects get.
	AgentGroup string
	// Bytes of an object, 1 to 256 MiB; Concurrency of calls, 1 to 256.
	Bytes       int
	Concurrency int
	// Duration of the PUTs, and of the GETs after them, 100 ms to 10 min.
	Duration time.Duration
	// Every is the least time from the start of one call to that of the next of a goroutine, at most 10 s; 0: back to back. A machine that
	// rests between two calls is slower at each.
	Every time.Duration
	// MaxTotalBytes ends the PUTs early.
	MaxTotalBytes int64
}

// Validate says what is out of bounds.
func (c StoreConfig) Validate() error {
	var faults []error
	if c.Bytes < 1 || c.Bytes > 256<<20 {
		faults = append(faults, errors.New("bytes: must be between 1 and 256 MiB"))
	}
	if c.Concurrency < 1 || c.Concurrency > 256 {
		faults = append(faults, errors.New("concurrency: must be between 1 and 256"))
	}
	if c.Duration < 100*time.Millisecond || c.Duration > 10*time.Minute {
		faults = append(faults, errors.New("duration: must be between 100ms and 10m"))
	}
	if c.Every < 0 || c.Every > 10*time.Second {
		faults = append(faults, errors.New("every: must be between 0 and 10s"))
	}
	if c.MaxTotalBytes < int64(c.Bytes) {
		faults = append(faults, errors.New("max-total-bytes: must be at least bytes"))
	}
	return errors.Join(append(faults, object.ValidateAgentGroup(c.AgentGroup))...)
}

// Rate is what calls of one kind achieved; the package comment has the units.
type Rate struct {
	Operations       int64   `json:"operations"`
	Bytes            int64   `json:"bytes"`
	Seconds          float64 `json:"seconds"`
	MBPerSecond      float64 `json:"mb_per_second"`
	P50MS            float64 `json:"p50_ms"`
	P99MS            float64 `json:"p99_ms"`
	CPUSecondsPerGiB float64 `json:"cpu_seconds_per_gib"`
}

// StoreResult is what the bucket can do.
type StoreResult struct {
	ObjectBytes int  `json:"object_bytes"`
	Concurrency int  `json:"concurrency"`
	Put         Rate `json:"put"`
	Get         Rate `json:"get"`
}

// Store measures PUTs and GETs, and deletes what it put.
func Store(ctx context.Context, store objectstore.Store, c StoreConfig) (result StoreResult, err error) {
	if err := c.Validate(); err != nil {
		return StoreResult{}, err
	}
	r := &storeRun{StoreConfig: c, store: store, prefix: object.GroupPrefix(c.AgentGroup) + "bench/" + crand.Text() + "/"}
	body := make([]byte, c.Bytes)
	if _, err := crand.Read(body); err != nil {
		return StoreResult{}, fmt.Errorf("make an object: %w", err)
	}
	defer func() { err = errors.Join(err, r.cleanUp(context.WithoutCancel(ctx))) }()
	result = StoreResult{ObjectBytes: c.Bytes, Concurrency: c.Concurrency}
	sum, most := objectstore.Checksum(body), c.MaxTotalBytes/int64(c.Bytes)
	result.Put, err = r.measure(ctx, most, func(ctx context.Context, n int64, _ []byte) error {
		return store.Put(ctx, r.key(n), [][]byte{body}, sum)
	})
	if err != nil {
		return result, err
	}
	stored := result.Put.Operations
	result.Get, err = r.measure(ctx, 1<<62, func(ctx context.Context, _ int64, dst []byte) error {
		return store.GetRange(ctx, r.key(rand.Int64N(stored)), 0, dst)
	})
	return result, err
}

type storeRun struct {
	StoreConfig

	store  objectstore.Store
	prefix string
}

func (r *storeRun) key(n int64) string { return fmt.Sprintf("%s%d", r.prefix, n) }

// measure repeats a call from as many goroutines as asked for, until the time is over or most calls were made. Each goroutine has a buffer.
func (r *storeRun) measure(ctx context.Context, most int64, call func(context.Context, int64, []byte) error) (Rate, error) {
	before, err := cpuTime()
	if err != nil {
		return Rate{}, err
	}
	var next atomic.Int64
	took := make([][]time.Duration, r.Concurrency)
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for i := range took {
		group.Go(func() error {
			dst := make([]byte, r.Bytes)
			for time.Since(began) < r.Duration {
				n := next.Add(1) - 1
				if n >= most {
					return nil
				}
				start := time.Now()
				if err := call(ctx, n, dst); err != nil {
					return err
				}
				took[i] = append(took[i], time.Since(start))
				if err := rest(ctx, r.Every-time.Since(start)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Rate{}, fmt.Errorf("measure the bucket: %w", err)
	}
	elapsed := time.Since(began)
	after, err := cpuTime()
	return r.rate(slices.Concat(took...), elapsed, after-before), err
}

// rest waits; not at all, for 0 or less.
func rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (r *storeRun) rate(took []time.Duration, elapsed, cpu time.Duration) Rate {
	slices.Sort(took)
	at := func(q float64) float64 {
		if len(took) == 0 {
			return 0
		}
		return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000
	}
	bytes := int64(len(took)) * int64(r.Bytes)
	return Rate{
		Operations: int64(len(took)), Bytes: bytes, Seconds: elapsed.Seconds(), MBPerSecond: float64(bytes) / 1e6 / elapsed.Seconds(),
		P50MS: at(0.5), P99MS: at(0.99), CPUSecondsPerGiB: perGiB(cpu, bytes),
	}
}

// cleanUp deletes everything that was put.
func (r *storeRun) cleanUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		page, err := r.store.List(ctx, r.prefix, "", objectstore.MaxListLimit)
		if err != nil || len(page.Objects) == 0 {
			return err
		}
		keys := make([]string, len(page.Objects))
		for i, o := range page.Objects {
			keys[i] = o.Key
		}
		if err := r.store.Delete(ctx, keys); err != nil {
			return err
		}
	}
}
