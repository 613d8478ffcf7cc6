package rebalance

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// Store is what deciding needs of the catalog.
type Store interface {
	Shapes(ctx context.Context) (map[store.AgentGroup]store.Shape, error)
	Reshaped() <-chan struct{}
	PlacementInput(ctx context.Context, agentGroup store.AgentGroup) (*store.PlacementInput, error)
	PartitionLoads(ctx context.Context, agentGroup store.AgentGroup) (map[store.PartitionID]int64, error)
	MovePartitions(ctx context.Context, agentGroup store.AgentGroup, transfers []store.Transfer) (store.Moved, error)
	Census(ctx context.Context) (store.Census, error)
	PlacementCandidate(name string) store.PlacementCandidate
}

// Config of a rebalancer.
type Config struct {
	// Name of this replica, which `cluster status` shows; required.
	Name string
	// Interval between two looks; default 200 ms, 10 ms to 1 s (a candidate that is silent for longer than store.CandidateSilence loses its lead).
	Interval time.Duration
	// Changes counts what has changed in placement, as this process has heard; a watch.Hub does. While it stays as it was the one that leads looks every
	// second only. nil: always at the interval.
	Changes func() uint64
	// LoadInterval is the least time between two plans of an agent group for nothing but other loads; default 30 s, at least Interval.
	LoadInterval time.Duration
	// Logger; default slog.Default().
	Logger *slog.Logger
	// Meter; default: nothing is measured.
	Meter metric.Meter
}

func (c Config) withDefaults() Config {
	c.Interval = cmp.Or(c.Interval, 200*time.Millisecond)
	c.LoadInterval = cmp.Or(c.LoadInterval, 30*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Validate names the first field out of bounds.
func (c Config) Validate() error {
	c = c.withDefaults()
	switch {
	case c.Name == "":
		return fmt.Errorf("name: required")
	case c.Interval < 10*time.Millisecond || c.Interval > time.Second:
		return fmt.Errorf("interval %v: must be 10ms to 1s", c.Interval)
	case c.LoadInterval < c.Interval:
		return fmt.Errorf("load interval %v: must be at least the interval %v", c.LoadInterval, c.Interval)
	default:
		return nil
	}
}

// roundTimeout bounds what one round may take, so that a slow database costs the lead rather than hiding it.
const roundTimeout = 30 * time.Second

// Rebalancer is one replica's.
type Rebalancer struct {
	store   Store
	config  Config
	metrics *metrics
	leading bool
	groups  map[store.AgentGroup]*group // what is known while leading
	// countedAt is when partitions and sessions were counted last, counted the revisions of that time.
	countedAt time.Time
	counted   int64
	// lookedAt is when it last looked, seen what had changed by then; zero: the look failed.
	lookedAt time.Time
	seen     uint64
}

// New makes a rebalancer. An error: the configuration is out of bounds.
func New(s Store, config Config) (*Rebalancer, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	m, err := newMetrics(config.Meter)
	if err != nil {
		return nil, err
	}
	return &Rebalancer{store: s, config: config, metrics: m, groups: map[store.AgentGroup]*group{}}, nil
}

// Run stands by, or decides, until the context ends; then it gives the lead up and returns nil. A database out of reach is no error.
func (r *Rebalancer) Run(ctx context.Context) error {
	candidate := r.store.PlacementCandidate(r.config.Name)
	defer candidate.Close()
	defer r.metrics.leads(false)
	ticker := time.NewTicker(r.config.Interval)
	defer ticker.Stop()
	for called := true; ; {
		if called || r.due() {
			r.look(ctx, candidate)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			called = false
		case <-r.store.Reshaped(): // also while standing by, so that no old signal is left
			called = true
		}
	}
}

// quietFor is how long the one that leads does not look while nothing changes; well below store.CandidateSilence.
const quietFor = time.Second

// due says whether there may be something to do: a lead to take, a change, or moves that wait.
func (r *Rebalancer) due() bool {
	return !r.leading || r.config.Changes == nil || r.config.Changes() != r.seen || time.Since(r.lookedAt) >= quietFor ||
		slices.ContainsFunc(slices.Collect(maps.Values(r.groups)), (*group).waits)
}

// look does a round, if this replica leads.
func (r *Rebalancer) look(ctx context.Context, candidate store.PlacementCandidate) {
	r.lookedAt = time.Now()
	if r.config.Changes != nil {
		r.seen = r.config.Changes() // before it looks: what changes meanwhile is looked at again
	}
	if r.leads(ctx, candidate) {
		r.round(ctx)
	}
}

// Leading tells whether this replica decides placement now. Another may believe the same for a moment.
func (r *Rebalancer) Leading() bool {
	r.metrics.mu.Lock()
	defer r.metrics.mu.Unlock()
	return r.metrics.leading
}

// leads asks for the lead, or keeps it alive. Who begins to lead knows nothing of plans made before.
func (r *Rebalancer) leads(ctx context.Context, candidate store.PlacementCandidate) bool {
	leads, err := candidate.Leads(ctx)
	if ctx.Err() != nil {
		return false
	}
	if leads != r.leading {
		r.leading = leads
		clear(r.groups)
		r.countedAt = time.Time{}
		r.metrics.leads(leads)
		if leads {
			r.config.Logger.InfoContext(ctx, "this replica decides placement")
		} else {
			r.config.Logger.WarnContext(ctx, "this replica no longer decides placement", "error", err)
		}
	}
	return leads
}
