package judge

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// Store is what a judge needs of the catalog.
type Store = store.Judging

// Config of a judge.
type Config struct {
	// Interval between ticks; default 1 s, at most 1 s (the pulse is old after 3 s).
	Interval time.Duration
	// SuspectAfter is the silence that makes a session suspect; default 2 s, at least 100 ms.
	SuspectAfter time.Duration
	// Logger; default slog.Default().
	Logger *slog.Logger
}

// stepTimeout bounds one call to the store.
const stepTimeout = 3 * time.Second

func (c Config) withDefaults() Config {
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if c.SuspectAfter == 0 {
		c.SuspectAfter = 2 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Validate names the first field out of bounds.
func (c Config) Validate() error {
	c = c.withDefaults()
	if c.Interval < 10*time.Millisecond || c.Interval > time.Second {
		return fmt.Errorf("judge interval %v: must be 10ms to 1s", c.Interval)
	}
	if c.SuspectAfter < 100*time.Millisecond {
		return fmt.Errorf("suspect-after %v: must be at least 100ms", c.SuspectAfter)
	}
	return nil
}

// Judge is one replica's judge.
type Judge struct {
	store  Store
	config Config
}

// New makes a judge. An error: the configuration is out of bounds.
func New(s Store, config Config) (*Judge, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &Judge{store: s, config: config.withDefaults()}, nil
}

// Run judges until the context ends; then it returns nil. A database that does not answer is no error: the pulse grows old, and what
// follows from that is decided when it answers again.
func (j *Judge) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { j.judge(ctx); return nil })
	g.Go(func() error { j.settle(ctx); return nil })
	g.Go(func() error { j.purge(ctx); return nil })
	return g.Wait()
}

// judge ticks. A tick is due one interval after the one before; after a late one the count starts anew.
func (j *Judge) judge(ctx context.Context) {
	due := time.Now().Add(j.config.Interval)
	timer := time.NewTimer(j.config.Interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := j.tick(ctx, due); err != nil && ctx.Err() == nil {
			j.config.Logger.WarnContext(ctx, "judge tick failed", "error", err)
		}
		due = due.Add(j.config.Interval)
		if now := time.Now(); Late(due, now) {
			due = now.Add(j.config.Interval)
		}
		timer.Reset(time.Until(due))
	}
}

// tick beats, and judges unless this judge is late itself. That is asked again right before each judgement: it may fall asleep on the way.
func (j *Judge) tick(ctx context.Context, due time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	pulse, err := j.store.Beat(ctx)
	if err != nil {
		return fmt.Errorf("beat: %w", err)
	}
	if pulse.QuietUntil.After(pulse.Now) || Late(due, time.Now()) {
		return nil
	}
	ended, err := j.store.EndSilent(ctx)
	if err != nil {
		return fmt.Errorf("end silent sessions: %w", err)
	}
	if Late(due, time.Now()) {
		return nil
	}
	suspected, err := j.store.SuspectSilent(ctx, j.config.SuspectAfter)
	if err != nil {
		return fmt.Errorf("suspect silent sessions: %w", err)
	}
	if ended+suspected > 0 {
		j.config.Logger.InfoContext(ctx, "sessions went silent", "ended", ended, "suspected", suspected)
	}
	return nil
}

// settle gives partitions new homes: at once after this process changed a session or a topic, else within an interval.
func (j *Judge) settle(ctx context.Context) {
	ticker := time.NewTicker(j.config.Interval)
	defer ticker.Stop()
	for {
		if err := j.settleAll(ctx); err != nil && ctx.Err() == nil {
			j.config.Logger.WarnContext(ctx, "assigning partitions failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-j.store.Unsettled():
		}
	}
}

func (j *Judge) settleAll(ctx context.Context) error {
	agentGroups, err := j.store.UnsettledAgentGroups(ctx)
	if err != nil {
		return fmt.Errorf("list unsettled agent groups: %w", err)
	}
	for _, agentGroup := range agentGroups {
		for more := true; more; {
			var assigned int
			if assigned, more, err = j.store.AssignOrphans(ctx, agentGroup); err != nil {
				return fmt.Errorf("assign orphans of agent group %s: %w", agentGroup, err)
			}
			if assigned > 0 {
				j.config.Logger.InfoContext(ctx, "partitions assigned", "agent_group", agentGroup, "partitions", assigned)
			}
		}
	}
	return nil
}

// purge removes what deleted topics left, a batch at a time.
func (j *Judge) purge(ctx context.Context) {
	ticker := time.NewTicker(j.config.Interval)
	defer ticker.Stop()
	for {
		_, more, err := j.store.PurgeDeleted(ctx)
		if err != nil && ctx.Err() == nil {
			j.config.Logger.WarnContext(ctx, "purging deleted topics failed", "error", err)
		}
		if err == nil && more && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
