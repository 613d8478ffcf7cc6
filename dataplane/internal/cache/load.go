package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

const (
	// maxSpanBytes is how much one GET reads for several segments: as much as an object that was sealed by
	// its size.
	maxSpanBytes = 8 << 20
	// maxGapBytes is read and thrown away to save a GET: less than a GET's time to the first byte is worth.
	maxGapBytes = 256 << 10
	// maxSpansAtATime bounds the GETs of one Load.
	maxSpansAtATime = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// flight is a segment that is being read, by the Load that made it.
type flight struct {
	key    key
	crc32c uint32
	done   chan struct{} // closed after bytes and err are set
	bytes  []byte
	err    error // errAbandoned: its Load was cancelled, somebody else shall try
}

var errAbandoned = errors.New("load was cancelled")

// Result is one segment's bytes, which nobody may change, or why they are not to be had: ErrMissing,
// ErrCorrupt, ErrBucket, or the error of the context.
type Result struct {
	Bytes []byte
	Err   error
}

// Load returns the bytes of each segment, in order. Those that are not here are read from the bucket.
func (c *Cache) Load(ctx context.Context, segments []lookup.Segment) []Result {
	results := make([]Result, len(segments))
	todo := make([]int, len(segments))
	for i := range todo {
		todo[i] = i
	}
	for len(todo) > 0 {
		flights, mine := c.board(segments, todo, results)
		c.fetch(ctx, mine)
		var again []int
		for i, f := range flights {
			if await(ctx, f, &results[i]) {
				again = append(again, i)
			}
		}
		todo = again
	}
	return results
}

// board answers what is here, and finds or makes a flight for the rest, by index; mine are those made
// here, which the caller must fetch.
func (c *Cache) board(segments []lookup.Segment, todo []int, results []Result) (flights map[int]*flight, mine []*flight) {
	flights = make(map[int]*flight)
	held := make(map[int]*item)
	defer func() {
		for i, it := range held {
			results[i] = Result{Bytes: it.read()} // may copy, so not under the lock
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range todo {
		k := keyOf(segments[i])
		if it := c.recent.get(k); it != nil {
			it.uses++
			held[i] = it
			continue
		}
		if b, ok := c.used.GetIfPresent(k); ok {
			results[i] = Result{Bytes: b}
			continue
		}
		f := c.flights[k]
		if f == nil {
			f = &flight{key: k, crc32c: segments[i].CRC32C, done: make(chan struct{})}
			c.flights[k] = f
			mine = append(mine, f)
		}
		flights[i] = f
	}
	return flights, mine
}

// await waits for a flight; true: it was abandoned, board anew.
func await(ctx context.Context, f *flight, result *Result) (again bool) {
	select {
	case <-f.done:
	case <-ctx.Done():
		result.Err = ctx.Err()
		return false
	}
	if errors.Is(f.err, errAbandoned) {
		result.Err = ctx.Err()
		return result.Err == nil
	}
	*result = Result{Bytes: f.bytes, Err: f.err}
	return false
}

// fetch completes all of its flights.
func (c *Cache) fetch(ctx context.Context, flights []*flight) {
	all := spans(flights, maxGapBytes, maxSpanBytes)
	if len(all) == 1 {
		c.fetchSpan(ctx, all[0])
		return
	}
	var g errgroup.Group
	g.SetLimit(maxSpansAtATime)
	for _, s := range all {
		g.Go(func() error {
			c.fetchSpan(ctx, s)
			return nil
		})
	}
	_ = g.Wait() // every flight has its own error
}

func (c *Cache) fetchSpan(ctx context.Context, s *span) {
	weight := min(s.size, c.config.LoadBytes)
	if err := c.loading.Acquire(ctx, weight); err != nil {
		c.landAll(s, errAbandoned)
		return
	}
	b, err := c.get(ctx, s.object, s.position, s.size)
	c.loading.Release(weight)
	switch {
	case errors.Is(err, objectstore.ErrOutOfRange) && len(s.flights) > 1:
		for _, f := range s.flights { // one of them reaches beyond the object, the others are good
			c.fetchSpan(ctx, &span{object: s.object, position: f.key.position, size: int64(f.key.size), flights: []*flight{f}})
		}
		return
	case err != nil:
		c.landAll(s, err)
		return
	}
	for _, f := range s.flights {
		at := f.key.position - s.position
		part := b[at : at+int64(f.key.size) : at+int64(f.key.size)]
		if len(s.flights) > 1 {
			part = bytes.Clone(part) // else the last one kept would keep all
		}
		part, err = c.checked(ctx, f, part)
		c.land(f, part, err)
	}
}

// checked holds the bytes against the catalog's checksum, and reads them once more before it gives up.
func (c *Cache) checked(ctx context.Context, f *flight, b []byte) ([]byte, error) {
	if crc32.Checksum(b, castagnoli) == f.crc32c {
		return b, nil
	}
	log := c.log.With(slog.String("object_key", f.key.object), slog.Int64("byte_position", f.key.position), slog.Int("size_bytes", int(f.key.size)))
	log.WarnContext(ctx, "segment differs from its checksum, reading it again")
	b, err := c.get(ctx, f.key.object, f.key.position, int64(f.key.size))
	if err != nil {
		return nil, err
	}
	if crc32.Checksum(b, castagnoli) != f.crc32c {
		log.ErrorContext(ctx, "segment is damaged in the bucket")
		return nil, fmt.Errorf("%w: %d bytes at %d of %q", ErrCorrupt, f.key.size, f.key.position, f.key.object)
	}
	return b, nil
}

func (c *Cache) get(ctx context.Context, object string, position, size int64) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, c.config.LoadTimeout)
	defer cancel()
	b := make([]byte, size)
	err := c.bucket.GetRange(limited, object, position, b)
	switch {
	case err == nil:
		return b, nil
	case ctx.Err() != nil:
		return nil, errAbandoned
	case errors.Is(err, objectstore.ErrNotFound), errors.Is(err, objectstore.ErrOutOfRange):
		return nil, fmt.Errorf("%w: %w", ErrMissing, err)
	default:
		return nil, fmt.Errorf("%w: %w", ErrBucket, err)
	}
}

func (c *Cache) landAll(s *span, err error) {
	for _, f := range s.flights {
		c.land(f, nil, err)
	}
}

// land completes a flight. Its bytes are in the ring before it is gone from flights, so that nobody
// finds neither.
func (c *Cache) land(f *flight, b []byte, err error) {
	f.bytes, f.err = b, err
	var dropped []*item
	c.mu.Lock()
	if err == nil {
		dropped = c.recent.put(&item{key: f.key, parts: [][]byte{b}})
	}
	delete(c.flights, f.key)
	c.mu.Unlock()
	c.keep(dropped)
	close(f.done)
}
