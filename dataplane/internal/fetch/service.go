package fetch

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/dataplane/internal/cache"
	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	"github.com/streamhouse/streamhouse/dataplane/internal/notice"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
)

// Routes knows the topics of the agent group and who leads their partitions; package route's Table does.
type Routes interface {
	lookup.Leaders
	// Leader has no address where nobody is known to lead.
	Leader(p partition.ID) route.Leader
	// Agents are those that live, this one perhaps included.
	Agents() []route.Agent
	// ResolveTopic finds a topic by name, or by id where name is empty. Its errors are refusals, or the context's.
	ResolveTopic(ctx context.Context, name, id string) (route.Topic, error)
}

// Peers reaches other agents of the agent group; package peer's Peers does.
type Peers interface {
	// Client is that of the agent at an address. An error: it was out of reach a moment ago.
	Client(address string) (dataplanev1connect.PeerServiceClient, error)
	// Bulk is the same for calls whose answers are large.
	Bulk(address string) (dataplanev1connect.PeerServiceClient, error)
}

// Traffic counts bytes that go to other agents; package traffic's Book does.
type Traffic interface {
	// Shared went to an agent of a zone, from the cache that it shares.
	Shared(zone string, bytes int)
	// Noticed went to an agent of a zone, as notices.
	Noticed(zone string, bytes int)
}

// Config tunes reading. A zero field means its default.
type Config struct {
	Self            string        // id of this agent
	Zone            string        // its zone, whose agents share what they read
	Peers           Peers         // nil: other agents are never asked, and waiting readers rely on lookups alone
	Meter           metric.Meter  // nil: nothing is measured
	Traffic         Traffic       // nil: nobody counts
	Halted          func() bool   // whether the catalog was halted when it was last heard of; nil: it never is
	LookupInterval  time.Duration // between lookups for all who wait; default 1 s, 10 ms to 1 s
	SignOfLife      time.Duration // silence on a Consume stream before an empty message; default 5 s, 100 ms to 10 s
	CatalogPatience time.Duration // a stream that waits ends when lookups have failed for so long; default 10 s, at least 1 s
	Lookup          lookup.Config
	Index           lookup.IndexConfig
	Cache           cache.Config
}

func (c Config) orDefaults() Config {
	if c.LookupInterval == 0 {
		c.LookupInterval = time.Second
	}
	if c.SignOfLife == 0 {
		c.SignOfLife = 5 * time.Second
	}
	if c.CatalogPatience == 0 {
		c.CatalogPatience = 10 * time.Second
	}
	return c
}

// Validate reports the first field out of its bounds.
func (c Config) Validate() error {
	c = c.orDefaults()
	switch {
	case c.LookupInterval < 10*time.Millisecond || c.LookupInterval > time.Second:
		return fmt.Errorf("lookup interval %s: must be between 10ms and 1s", c.LookupInterval)
	case c.SignOfLife < 100*time.Millisecond || c.SignOfLife > 10*time.Second:
		return fmt.Errorf("sign of life %s: must be between 100ms and 10s", c.SignOfLife)
	case c.CatalogPatience < time.Second:
		return fmt.Errorf("catalog patience %s: must be at least 1s", c.CatalogPatience)
	}
	if err := c.Lookup.Validate(); err != nil {
		return err
	}
	return c.Cache.Validate()
}

// Service reads. It is a partition.Observer: what the write path commits is readable here at once.
type Service struct {
	group     string
	routes    Routes
	config    Config
	log       *slog.Logger
	index     *lookup.Index
	coalescer *lookup.Coalescer
	watch     *lookup.Watch
	cache     *cache.Cache
	ahead     *ahead
	board     *notice.Board
	listener  *notice.Listener // nil: no peers
	turn      atomic.Uint64    // whose turn it is to be read first
	records   atomic.Int64     // given to consumers

	leave    sync.Once
	leaving  chan struct{} // closed by Drain
	stop     sync.Once
	stopping chan struct{} // closed by Stop
}

var _ partition.Observer = (*Service)(nil)

// New returns a service for the topics of one agent group; it works while Run runs.
func New(group string, routes Routes, catalog lookup.Catalog, bucket cache.Bucket, config Config, log *slog.Logger) (*Service, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.orDefaults()
	index, err := lookup.NewIndex(config.Index)
	if err != nil {
		return nil, err
	}
	coalescer, err := lookup.NewCoalescer(catalog, index, config.Lookup)
	if err != nil {
		return nil, err
	}
	watch, err := lookup.NewWatch(coalescer, index, routes, config.LookupInterval, log)
	if err != nil {
		return nil, err
	}
	if config.Peers != nil {
		config.Cache.Zone = newZone(config.Self, config.Zone, config.Peers, routes)
	}
	config.Cache.Meter = config.Meter
	segments, err := cache.New(bucket, config.Cache, log)
	if err != nil {
		return nil, err
	}
	s := &Service{
		group: group, routes: routes, config: config, log: log,
		index: index, coalescer: coalescer, watch: watch, cache: segments, ahead: newAhead(segments, index, coalescer),
		board: notice.NewBoard(), leaving: make(chan struct{}), stopping: make(chan struct{}),
	}
	if config.Peers != nil {
		s.listener = notice.NewListener(config.Self, routes, index, watch.Moved, s.openNotices, log)
	}
	if config.Meter != nil {
		if err := s.show(config.Meter); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Run answers lookups until ctx ends; then it stops the readers, too.
func (s *Service) Run(ctx context.Context) error {
	defer s.Stop()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.coalescer.Run(ctx) })
	g.Go(func() error { return s.watch.Run(ctx) })
	g.Go(func() error { return s.ahead.run(ctx) })
	if s.listener != nil {
		g.Go(func() error { return s.listener.Run(ctx) })
	}
	return g.Wait()
}

// Drain sends readers elsewhere, for this agent will stop: streams end with MOVED, waiting fetches answer, and later ones wait only briefly.
// All that is asked for is still served.
func (s *Service) Drain() { s.leave.Do(func() { close(s.leaving) }) }

// Stop ends streams with NO_LEADER and lets waiting fetches answer; it does not wait for them. To be called
// before the listener is shut down, while Run still runs.
func (s *Service) Stop() { s.stop.Do(func() { close(s.stopping) }) }

// Coalescer asks the catalog with lookups that start after the question, also for the write path's refusals.
func (s *Service) Coalescer() *lookup.Coalescer { return s.coalescer }

// Committed makes a segment readable here at once.
func (s *Service) Committed(c partition.Committed) {
	s.cache.Committed(c)
	s.index.Committed(c)
	s.board.Committed(c)
}

// Led takes what this agent was told when it became leader.
func (s *Service) Led(p partition.ID, epoch partition.Epoch, logStartOffset, highWatermark int64) {
	s.index.Led(p, epoch, logStartOffset, highWatermark)
	s.board.Led(p, epoch, logStartOffset, highWatermark)
}

// Adopted says that this agent's session is of this incarnation: what earlier ones knew is not the catalog's any more. To be called before Halted
// says that the catalog serves.
func (s *Service) Adopted(incarnation int32) { s.index.Adopted(incarnation) }

// Moved has the catalog asked for those who wait, here and on other agents: no more commits of this agent will wake them.
func (s *Service) Moved(p partition.ID, epoch partition.Epoch) {
	s.watch.Moved(p)
	s.board.Moved(p, epoch)
}
