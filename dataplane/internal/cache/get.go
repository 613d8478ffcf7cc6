package cache

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

// counts are what Counts says.
type counts struct {
	hits, misses, gets, getBytes, hedged, wins, asked, unserved atomic.Int64
}

// Counts are totals since the start.
type Counts struct {
	Hits, Misses            int64 // segments that were held here, and that were not
	Gets, Hedges, HedgesWon int64 // requests to the bucket; of these second tries, and those that were faster
	GetBytes                int64 // that these asked for
	Asked, Unserved         int64 // requests to owners, and those that the bucket had to serve after all
}

// Counts is what has been counted until now.
func (c *Cache) Counts() Counts {
	n := &c.counts
	return Counts{
		Hits: n.hits.Load(), Misses: n.misses.Load(), Gets: n.gets.Load(), Hedges: n.hedged.Load(), HedgesWon: n.wins.Load(),
		GetBytes: n.getBytes.Load(), Asked: n.asked.Load(), Unserved: n.unserved.Load(),
	}
}

// get reads a range from the bucket. Errors: errAbandoned, ErrMissing, ErrBucket.
func (c *Cache) get(ctx context.Context, object string, position, size int64) ([]byte, error) {
	return c.limited(ctx, size, func(ctx context.Context) ([]byte, error) {
		b := make([]byte, size) // one for each attempt: the loser may still write to its own
		return b, c.bucket.GetRange(ctx, object, position, b)
	})
}

// getWhole reads all of an object. Errors: errLarge, and those of get.
func (c *Cache) getWhole(ctx context.Context, s *span) (*blob, error) {
	var b []byte
	var err error
	if s.objectBytes > 0 {
		b, err = c.get(ctx, s.object, 0, s.objectBytes)
	} else {
		b, err = c.limited(ctx, maxWholeBytes, func(ctx context.Context) ([]byte, error) { return c.tail(ctx, s.object) })
	}
	if errors.Is(err, errLarge) {
		c.mu.Lock()
		c.touched.setLarge(s.object)
		c.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	whole := newBlob(s.object, 0, b)
	whole.whole = true
	return whole, nil
}

// tail reads all of an object whose size is unknown.
func (c *Cache) tail(ctx context.Context, object string) ([]byte, error) {
	b := make([]byte, maxWholeBytes)
	n, size, err := c.bucket.GetTail(ctx, object, b)
	switch {
	case err != nil:
		return nil, err
	case size > int64(n):
		return nil, errLarge
	case n < maxWholeBytes/2:
		return append(make([]byte, 0, n), b[:n]...), nil // else a small object would hold the memory of a large one
	}
	return b[:n:n], nil
}

// limited runs a GET within the bytes that may be read at a time, and within its timeout.
func (c *Cache) limited(ctx context.Context, size int64, get func(context.Context) ([]byte, error)) ([]byte, error) {
	weight := min(size, c.config.LoadBytes)
	if err := c.loading.Acquire(ctx, weight); err != nil {
		return nil, errAbandoned
	}
	defer c.loading.Release(weight)
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, c.config.LoadTimeout)
	defer cancel()
	b, err := c.hedges.run(limited, size, func(ctx context.Context) ([]byte, error) {
		c.counts.gets.Add(1)
		c.counts.getBytes.Add(size)
		return get(ctx)
	}, &c.counts)
	c.duration.Record(ctx, time.Since(began).Seconds())
	switch {
	case err == nil:
		return b, nil
	case ctx.Err() != nil:
		return nil, errAbandoned
	case errors.Is(err, errLarge):
		return nil, err
	case final(err):
		return nil, fmt.Errorf("%w: %w", ErrMissing, err)
	default:
		return nil, fmt.Errorf("%w: %w", ErrBucket, err)
	}
}

// final tells whether asking once more would be answered in the same way.
func final(err error) bool {
	return errors.Is(err, objectstore.ErrNotFound) || errors.Is(err, objectstore.ErrOutOfRange) || errors.Is(err, errLarge)
}

// wholeFor is how long after a reader wanted all of an object the others' parts of new objects are taken for parts of the same: else an
// object would be read twice whenever the reader of a part comes first. It is so at the start, too.
const wholeFor = 30 * time.Second

// maxTouched bounds the objects of which it is remembered what was wanted of them.
const maxTouched = 1024

// touches remembers which owned objects were read in part. Not for concurrent use.
type touches struct {
	objects map[string]*touch
	order   []string // oldest first
	wholeAt time.Time
}

type touch struct {
	position int64
	several  bool
	large    bool
}

// touch notes that an object was read at a position, and tells whether all of it should be read: it is wanted whole, or two readers have
// wanted different parts of it, or just now somebody wanted all of another one.
func (t *touches) touch(object string, position int64, whole bool) bool {
	if whole {
		t.wholeAt = time.Now()
	}
	whole = whole || time.Since(t.wholeAt) < wholeFor
	was := t.objects[object]
	if was == nil {
		if whole {
			return true
		}
		t.add(object, &touch{position: position})
		return false
	}
	was.several = was.several || was.position != position
	return !was.large && (whole || was.several)
}

func (t *touches) setLarge(object string) {
	if was := t.objects[object]; was != nil {
		was.large = true
		return
	}
	t.add(object, &touch{large: true})
}

func (t *touches) add(object string, made *touch) {
	if len(t.order) == maxTouched {
		delete(t.objects, t.order[0])
		t.order = t.order[1:]
	}
	t.objects[object] = made
	t.order = append(t.order, object)
}
