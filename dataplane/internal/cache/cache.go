package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/semaphore"

	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
)

var (
	// ErrMissing says that the bucket has no such object, or a shorter one: ask the catalog again before
	// anyone is told.
	ErrMissing = errors.New("object is missing")
	// ErrCorrupt says that the bytes differ from the catalog's checksum, twice.
	ErrCorrupt = errors.New("segment is damaged")
	// ErrBucket wraps why the bucket gave no answer.
	ErrBucket = errors.New("bucket unavailable")
)

// Bucket is what is read; package objectstore's Store is one, and these are its errors.
type Bucket interface {
	// GetRange fills dst from the object's bytes at position on.
	GetRange(ctx context.Context, key string, position int64, dst []byte) error
}

// Config bounds the cache. A zero field means its default.
type Config struct {
	MaxBytes    int64         // of segments kept by use; default 256 MiB, at least 1 MiB
	RecentBytes int64         // of segments kept because they are new; default 128 MiB, at least 1 MiB
	LoadBytes   int64         // that are being read at a time; default 128 MiB, at least 16 MiB
	LoadTimeout time.Duration // of one GET with its retries; default 20 s, 1 s to 2 min
}

func (c Config) orDefaults() Config {
	if c.MaxBytes == 0 {
		c.MaxBytes = 256 << 20
	}
	if c.RecentBytes == 0 {
		c.RecentBytes = 128 << 20
	}
	if c.LoadBytes == 0 {
		c.LoadBytes = 128 << 20
	}
	if c.LoadTimeout == 0 {
		c.LoadTimeout = 20 * time.Second
	}
	return c
}

// Validate reports the first field out of its bounds.
func (c Config) Validate() error {
	c = c.orDefaults()
	switch {
	case c.MaxBytes < 1<<20:
		return fmt.Errorf("cache bytes %d: must be at least 1 MiB", c.MaxBytes)
	case c.RecentBytes < 1<<20:
		return fmt.Errorf("recent cache bytes %d: must be at least 1 MiB", c.RecentBytes)
	case c.LoadBytes < 16<<20:
		return fmt.Errorf("bytes loaded at a time %d: must be at least 16 MiB", c.LoadBytes)
	case c.LoadTimeout < time.Second || c.LoadTimeout > 2*time.Minute:
		return fmt.Errorf("load timeout %s: must be between 1s and 2m", c.LoadTimeout)
	}
	return nil
}

// key names the bytes of a segment: they never change.
type key struct {
	object   string
	position int64
	size     int32
}

func keyOf(s lookup.Segment) key {
	return key{object: s.ObjectKey, position: s.Position, size: s.SizeBytes}
}

// Cache is safe for concurrent use. It has no goroutine of its own: whoever loads does so in its own call.
type Cache struct {
	bucket  Bucket
	config  Config
	log     *slog.Logger
	used    *otter.Cache[key, []byte]
	loading *semaphore.Weighted // bytes

	mu      sync.Mutex
	recent  *ring
	flights map[key]*flight
}

// New returns an empty cache.
func New(bucket Bucket, config Config, log *slog.Logger) (*Cache, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.orDefaults()
	used, err := otter.New(&otter.Options[key, []byte]{
		MaximumWeight: uint64(config.MaxBytes),
		Weigher:       func(k key, _ []byte) uint32 { return uint32(k.size) },
		Executor:      func(fn func()) { fn() }, // its upkeep is short, and no goroutine is left behind
	})
	if err != nil {
		return nil, fmt.Errorf("make segment cache: %w", err)
	}
	return &Cache{
		bucket: bucket, config: config, log: log, used: used,
		loading: semaphore.NewWeighted(config.LoadBytes),
		recent:  newRing(config.RecentBytes), flights: make(map[key]*flight),
	}, nil
}

// Committed remembers the bytes of a segment that this agent has just committed.
func (c *Cache) Committed(s partition.Committed) {
	if len(s.Batches) == 0 {
		return
	}
	c.add(&item{key: key{object: s.ObjectKey, position: s.BytePosition, size: s.SizeBytes}, parts: s.Batches})
}

func (c *Cache) add(i *item) {
	c.mu.Lock()
	dropped := c.recent.put(i)
	c.mu.Unlock()
	c.keep(dropped)
}

// keep moves on what was used more than once.
func (c *Cache) keep(dropped []*item) {
	for _, d := range dropped {
		if d.uses > 1 { // nobody counts any more: it is out of the ring
			c.used.Set(d.key, d.read())
		}
	}
}

// Bytes is what is held now.
func (c *Cache) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.recent.size + int64(c.used.WeightedSize())
}
