package upkeep

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

const (
	// DefaultInterval between two looks.
	DefaultInterval = 15 * time.Second
	// standby is the time between two questions whether this replica leads, while it does not.
	standby = time.Second
	// lookTimeout bounds one look.
	lookTimeout = 10 * time.Second
)

// Config of a watcher.
type Config struct {
	// Interval between two looks, give or take a tenth; default DefaultInterval.
	Interval time.Duration
	// CheckpointInterval is the age at which a checkpoint is followed by another: what is behind is measured by it. Default 10 min.
	CheckpointInterval time.Duration
	// Leads tells whether this replica is the one that looks; nil: it is.
	Leads func() bool
	// Logger; default slog.Default().
	Logger *slog.Logger
	// Meter; default: nothing is measured.
	Meter metric.Meter
}

func (c Config) withDefaults() Config {
	c.Interval = cmp.Or(c.Interval, DefaultInterval)
	c.CheckpointInterval = cmp.Or(c.CheckpointInterval, 10*time.Minute)
	if c.Leads == nil {
		c.Leads = func() bool { return true }
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Watcher is one replica's.
type Watcher struct {
	store      store.Upkeeps
	config     Config
	metrics    *metrics
	complaints map[subject]*complaint
}

// New makes a watcher. An error comes from the meter.
func New(s store.Upkeeps, config Config) (*Watcher, error) {
	config = config.withDefaults()
	m, err := newMetrics(config.Meter)
	if err != nil {
		return nil, err
	}
	return &Watcher{store: s, config: config, metrics: m, complaints: map[subject]*complaint{}}, nil
}

// Run looks now and again until the context ends; then it returns nil. A database out of reach is no error: the gauges keep what was seen last.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.metrics.clear()
	for pause := standby; rest(ctx, pause); {
		if !w.config.Leads() {
			w.metrics.clear()
			clear(w.complaints)
			pause = standby
			continue
		}
		w.look(ctx)
		pause = w.config.Interval*9/10 + rand.N(w.config.Interval/5)
	}
	return nil
}

func (w *Watcher) look(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	states, err := w.store.UpkeepStates(bounded)
	if err == nil {
		var sizes []store.TableSize
		if sizes, err = w.store.TableSizes(bounded); err == nil {
			w.metrics.set(states, sizes)
			w.judge(ctx, states)
		}
	}
	if err != nil && ctx.Err() == nil {
		w.config.Logger.WarnContext(ctx, "looking at the work on the bucket failed", slog.Any("error", err))
	}
}

func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
