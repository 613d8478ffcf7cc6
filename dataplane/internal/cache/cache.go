package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"golang.org/x/sync/semaphore"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
)

var (
	// ErrMissing says that the bucket has no such object, or a shorter one: ask the catalog again before
	// anyone is told.
	ErrMissing = errors.New("object is missing")
	// ErrOutside says, beside ErrMissing, that the object is shorter.
	ErrOutside = objectstore.ErrOutOfRange
	// ErrCorrupt says that the bytes differ from the catalog's checksum, twice.
	ErrCorrupt = errors.New("segment is damaged")
	// ErrBucket wraps why the bucket gave no answer.
	ErrBucket = errors.New("bucket unavailable")
)

// Bucket is what is read; package objectstore's Store is one, and these are its errors.
type Bucket interface {
	// GetRange fills dst from the object's bytes at position on.
	GetRange(ctx context.Context, key string, position int64, dst []byte) error
	// GetTail reads the object's last len(dst) bytes, or all of a smaller one, into dst[:n]; size is the object's.
	GetTail(ctx context.Context, key string, dst []byte) (n int, size int64, err error)
}

// Zone is the agents that share one cache, each of them the owner of some objects.
type Zone interface {
	// Owner is the address of the agent that reads this object from the bucket for all; empty: this one does.
	Owner(object string) string
	// Read asks an owner for size bytes, at most MaxRangeBytes, of an object. whole: all of the object will be wanted soon. After any error
	// the bucket is asked.
	Read(ctx context.Context, owner, object string, position int64, size int32, whole bool) ([]byte, error)
}

// Config bounds the cache. A zero field means its default.
type Config struct {
	Zone        Zone          // nil: this agent shares with nobody
	Meter       metric.Meter  // nil: nothing is measured
	MaxBytes    int64         // kept by use; default 256 MiB, at least 1 MiB
	RecentBytes int64         // kept because they are new; default half of MaxBytes, at least 1 MiB
	LoadBytes   int64         // that are being read from the bucket at a time; default 128 MiB, at least 16 MiB
	LoadTimeout time.Duration // of one GET with its retries; default 20 s, 1 s to 2 min
}

func (c Config) orDefaults() Config {
	if c.Meter == nil {
		c.Meter = noop.Meter{}
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 256 << 20
	}
	if c.RecentBytes == 0 {
		c.RecentBytes = max(c.MaxBytes/2, 1<<20)
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

// Cache is safe for concurrent use. Whoever loads does so in its own call, in goroutines that end with it.
type Cache struct {
	bucket  Bucket
	config  Config
	log     *slog.Logger
	used    *otter.Cache[*blob, struct{}] // decides which of those inUsed is dropped; never called with mu held
	loading *semaphore.Weighted           // bytes
	hedges  *hedger
	counts  counts

	duration metric.Float64Histogram // of GETs, seconds

	mu      sync.Mutex
	held    blobs
	flights map[route]*flight
	touched touches
}

// New returns an empty cache.
func New(bucket Bucket, config Config, log *slog.Logger) (*Cache, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.orDefaults()
	c := &Cache{
		bucket: bucket, config: config, log: log, loading: semaphore.NewWeighted(config.LoadBytes), hedges: newHedger(),
		held: blobs{byObject: make(map[string][]*blob), maxRing: config.RecentBytes}, flights: make(map[route]*flight),
		touched: touches{objects: make(map[string]*touch), wholeAt: time.Now()},
	}
	var err error
	c.duration, err = config.Meter.Float64Histogram("streamhouse.cache.get.duration", metric.WithUnit("s"),
		metric.WithDescription("Time of GETs, retries and hedges included."),
		metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10))
	if err != nil {
		return nil, fmt.Errorf("meter GETs: %w", err)
	}
	c.used, err = otter.New(&otter.Options[*blob, struct{}]{
		MaximumWeight: uint64(config.MaxBytes),
		Weigher:       func(b *blob, _ struct{}) uint32 { return uint32(b.size) },
		OnDeletion:    func(e otter.DeletionEvent[*blob, struct{}]) { c.dropped(e.Key) },
		Executor:      func(fn func()) { fn() }, // its upkeep is short, and no goroutine is left behind
	})
	if err != nil {
		return nil, fmt.Errorf("make segment cache: %w", err)
	}
	return c, nil
}

// dropped is told what the cache by use lets go.
func (c *Cache) dropped(b *blob) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held.forget(b)
}

// Committed remembers the bytes of a segment that this agent has just committed.
func (c *Cache) Committed(s partition.Committed) {
	if len(s.Batches) == 0 {
		return
	}
	c.add(&blob{object: s.ObjectKey, position: s.BytePosition, size: int64(s.SizeBytes), trusted: true, parts: s.Batches})
}

func (c *Cache) add(b *blob) {
	c.mu.Lock()
	moved := c.held.put(b)
	c.mu.Unlock()
	for _, m := range moved {
		c.used.Set(m, struct{}{})
	}
}

// RecentBytes bounds what is kept because it is new.
func (c *Cache) RecentBytes() int64 { return c.config.RecentBytes }

// Bytes is what is held now.
func (c *Cache) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held.ringSize + int64(c.used.WeightedSize())
}
