package cache

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

const (
	// maxSpanBytes is how much one GET reads for several segments: as much as an object that was sealed by its size, with its last batches.
	maxSpanBytes = 12 << 20
	// maxGapBytes is read and thrown away to save a GET: less than a GET's time to the first byte is worth.
	maxGapBytes = 256 << 10
	// maxSpansAtATime bounds the GETs of one load.
	maxSpansAtATime = 8
	// maxWholeBytes bounds the objects that are read whole: one that was sealed by its size, with its last batches and its footer.
	maxWholeBytes = 12 << 20
	// MaxRangeBytes is what one agent asks another for at a time.
	MaxRangeBytes = 3 << 20
)

// errLarge says that an object is not read whole.
var errLarge = errors.New("object is too large to be read whole")

// bring completes all of its flights.
func (c *Cache) bring(ctx context.Context, flights []*flight) {
	if len(flights) == 0 {
		return
	}
	all := spans(flights, maxGapBytes, maxSpanBytes)
	if len(all) == 1 {
		c.bringSpan(ctx, all[0])
		return
	}
	var g errgroup.Group
	g.SetLimit(maxSpansAtATime)
	for _, s := range all {
		g.Go(func() error {
			c.bringSpan(ctx, s)
			return nil
		})
	}
	_ = g.Wait() // every flight has its own error
}

func (c *Cache) bringSpan(ctx context.Context, s *span) {
	b, err := c.obtain(ctx, s)
	switch {
	case errors.Is(err, objectstore.ErrOutOfRange) && len(s.flights) > 1:
		for _, f := range s.flights { // one of them reaches beyond the object, the others are good
			c.bringSpan(ctx, spanOf(f))
		}
	case err != nil:
		for _, f := range s.flights {
			c.land(f, nil, err)
		}
	default:
		c.landSpan(ctx, s, b)
	}
}

// landSpan hands each flight its part. The blob is found before its flights are gone, so that nobody finds neither.
func (c *Cache) landSpan(ctx context.Context, s *span, b *blob) {
	bytes := make([][]byte, len(s.flights))
	errs := make([]error, len(s.flights))
	for i, f := range s.flights {
		bytes[i] = b.read(f.wish.part)
		if f.wish.sum != nil && !b.trusted {
			bytes[i], errs[i] = c.checked(ctx, f, b, bytes[i])
		}
	}
	c.mu.Lock()
	good := b.where != nowhere
	for _, f := range s.flights {
		if !f.wish.ahead {
			b.use(f.wish.part)
		}
	}
	c.mu.Unlock()
	if good && !b.kept {
		b.kept = true
		c.add(b)
	}
	for i, f := range s.flights {
		c.land(f, bytes[i], errs[i])
	}
}

// checked holds a part against the catalog's checksum, and reads it once more, straight from the bucket, before it gives up.
func (c *Cache) checked(ctx context.Context, f *flight, from *blob, b []byte) ([]byte, error) {
	w := f.wish
	right := crc32.Checksum(b, castagnoli) == *w.sum
	c.mu.Lock()
	if right {
		from.vouch(w.part)
	} else {
		c.held.forget(from)
	}
	c.mu.Unlock()
	if right {
		return b, nil
	}
	log := c.log.With(slog.String("object_key", w.object), slog.Int64("byte_position", w.part.position), slog.Int("size_bytes", int(w.part.size)))
	log.WarnContext(ctx, "segment differs from its checksum, reading it again")
	again, err := c.get(ctx, w.object, w.part.position, int64(w.part.size))
	if err != nil {
		return nil, err
	}
	if crc32.Checksum(again, castagnoli) != *w.sum {
		log.ErrorContext(ctx, "segment is damaged in the bucket")
		return nil, fmt.Errorf("%w: %d bytes at %d of %q", ErrCorrupt, w.part.size, w.part.position, w.object)
	}
	return again, nil
}

// obtain gets a span's bytes, from the owner of its object or from the bucket.
func (c *Cache) obtain(ctx context.Context, s *span) (*blob, error) {
	if s.owner != "" {
		c.counts.asked.Add(1)
		b, err := c.ask(ctx, s)
		if err == nil || ctx.Err() != nil {
			return b, abandonedIf(ctx, err)
		}
		c.counts.unserved.Add(1)
		c.log.DebugContext(ctx, "another agent did not serve an object, reading the bucket", slog.String("address", s.owner), slog.Any("error", err))
	}
	if s.whole {
		return c.getWhole(ctx, s)
	}
	if s.owner == "" && s.sharing != Alone {
		if b, err := c.own(ctx, s); err == nil || !errors.Is(err, errLarge) {
			return b, err
		}
	}
	b, err := c.get(ctx, s.object, s.position, s.size)
	if err != nil {
		return nil, err
	}
	return newBlob(s.object, s.position, b), nil
}

func abandonedIf(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errAbandoned
	}
	return err
}

// own reads all of an object that this agent owns, if more than this span of it is wanted; errLarge: it is not, or is too large.
func (c *Cache) own(ctx context.Context, s *span) (*blob, error) {
	c.mu.Lock()
	whole := c.touched.touch(s.object, s.position, s.sharing == Whole)
	c.mu.Unlock()
	if !whole || s.objectBytes > maxWholeBytes {
		return nil, errLarge
	}
	w := wish{object: s.object, part: wholePart, sharing: Whole, objectBytes: s.objectBytes, forPeer: true}
	r := c.load(ctx, []wish{w})[0]
	switch {
	case r.Err != nil && ctx.Err() != nil:
		return nil, errAbandoned
	case r.Err != nil:
		return nil, r.Err
	case s.end() > int64(len(r.Bytes)):
		return nil, fmt.Errorf("%w: %w: %d bytes at %d of %d of %q", ErrMissing, objectstore.ErrOutOfRange, s.size, s.position, len(r.Bytes), s.object)
	}
	c.mu.Lock()
	b := c.held.find(s.object, wholePart)
	c.mu.Unlock()
	if b == nil { // it has fallen out already
		b = newBlob(s.object, 0, r.Bytes)
		b.kept = true
	}
	return b, nil
}

// ask has the owner of the object send a span, in pieces.
func (c *Cache) ask(ctx context.Context, s *span) (*blob, error) {
	whole := make([]byte, 0, s.size)
	for at := s.position; at < s.end(); {
		n := int32(min(s.end()-at, MaxRangeBytes))
		b, err := c.config.Zone.Read(ctx, s.owner, s.object, at, n, s.sharing == Whole)
		if err != nil {
			return nil, err
		}
		if len(b) != int(n) {
			return nil, fmt.Errorf("%w: asked for %d bytes, answered %d", ErrBucket, n, len(b))
		}
		if int64(n) == s.size {
			return newBlob(s.object, s.position, b), nil
		}
		whole = append(whole, b...)
		at += int64(n)
	}
	return newBlob(s.object, s.position, whole), nil
}
