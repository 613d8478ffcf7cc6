package judge

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/serve/crashpoint"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/serve/tracing"
)

var afterPurge = crashpoint.Register("purge.after-page")

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
	// Tracer makes a span where partitions were assigned; nil: nothing does.
	Tracer *tracing.Tracer
}

const (
	// stepTimeout bounds the calls to the store of one tick.
	stepTimeout = 3 * time.Second
	// waitPause is how long partitions wait for hand-offs to end before they are looked at again.
	waitPause = 100 * time.Millisecond
	// lookAfter is how long after the moment of suspicion it is looked for: clocks of two machines run at slightly different speeds.
	lookAfter = 5 * time.Millisecond
)

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

// judge ticks, and looks for silence in between, when the next session may become suspect: a tick a second would add up to a second to every
// takeover. A tick is due one interval after the one before; after a late one the count starts anew.
func (j *Judge) judge(ctx context.Context) {
	h := hearing{after: j.config.SuspectAfter, since: time.Now()}
	due := time.Now().Add(j.config.Interval)
	for pause(ctx, time.Until(due)) {
		until := j.step(ctx, &h, due, j.tick)
		due = due.Add(j.config.Interval)
		if now := time.Now(); Late(due, now) {
			due = now.Add(j.config.Interval)
		}
		for until > 0 && time.Now().Add(until).Before(due) {
			look := time.Now().Add(until)
			if !pause(ctx, until) {
				return
			}
			until = j.step(ctx, &h, look, j.suspect)
		}
	}
}

func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(max(wait, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// step does one piece of work that was due, and returns when to look for silence next; 0: at the next tick.
func (j *Judge) step(ctx context.Context, h *hearing, due time.Time, work func(context.Context, *hearing, time.Time) (time.Duration, error)) time.Duration {
	bounded, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	until, err := work(bounded, h, due)
	if err != nil && ctx.Err() == nil {
		j.config.Logger.WarnContext(ctx, "judge tick failed", "error", err)
	}
	if now := time.Now(); err != nil || Late(due, now) {
		h.since = now
	}
	return until
}

// tick beats, and judges unless this judge is late itself. That is asked again right before each judgement: it may fall asleep on the way.
func (j *Judge) tick(ctx context.Context, h *hearing, due time.Time) (until time.Duration, err error) {
	pulse, err := j.store.Beat(ctx)
	if err != nil {
		return 0, fmt.Errorf("beat: %w", err)
	}
	if pulse.QuietUntil.After(pulse.Now) || Late(due, time.Now()) {
		return 0, nil
	}
	ended, err := j.store.EndSilent(ctx)
	if err != nil {
		return 0, fmt.Errorf("end silent sessions: %w", err)
	}
	if ended > 0 {
		j.config.Logger.InfoContext(ctx, "sessions went silent", "ended", ended)
	}
	return j.suspect(ctx, h, due)
}

// suspect judges silence that is no reason to end a session yet, and returns when to look again. Both are PostgreSQL's to say.
func (j *Judge) suspect(ctx context.Context, h *hearing, due time.Time) (until time.Duration, err error) {
	if now := time.Now(); Late(due, now) || !h.heard(now) {
		return 0, nil
	}
	suspected, err := j.store.SuspectSilent(ctx, j.config.SuspectAfter)
	if err != nil {
		return 0, fmt.Errorf("suspect silent sessions: %w", err)
	}
	if suspected > 0 {
		j.config.Logger.InfoContext(ctx, "sessions went silent", "suspected", suspected)
	}
	until, err = j.store.UntilSilent(ctx, j.config.SuspectAfter)
	if err != nil {
		return 0, fmt.Errorf("look for silence: %w", err)
	}
	if until <= 0 { // someone is silent whom nobody may suspect now
		return 0, nil
	}
	return until + lookAfter, nil
}

// settle gives partitions new homes: at once after this process changed a session or a topic, else within an interval; sooner where some wait
// for hand-offs to end.
func (j *Judge) settle(ctx context.Context) {
	for {
		wait := j.config.Interval
		waiting, err := j.settleAll(ctx)
		if err != nil && ctx.Err() == nil {
			j.config.Logger.WarnContext(ctx, "assigning partitions failed", "error", err)
		}
		if waiting {
			wait = min(wait, waitPause)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case <-j.store.Unsettled():
		}
	}
}

func (j *Judge) settleAll(ctx context.Context) (waiting bool, err error) {
	agentGroups, err := j.store.UnsettledAgentGroups(ctx)
	if err != nil {
		return false, fmt.Errorf("list unsettled agent groups: %w", err)
	}
	for _, agentGroup := range agentGroups {
		left, err := j.settleOne(ctx, agentGroup)
		if err != nil {
			return waiting, fmt.Errorf("assign orphans of agent group %s: %w", agentGroup, err)
		}
		waiting = waiting || left
	}
	return waiting, nil
}

// settleOne says whether some must wait.
func (j *Judge) settleOne(ctx context.Context, agentGroup store.AgentGroup) (waiting bool, err error) {
	for {
		began := time.Now()
		assigned, more, err := j.store.AssignOrphans(ctx, agentGroup)
		if assigned > 0 {
			j.trace(ctx, agentGroup, assigned, began)
			j.config.Logger.InfoContext(ctx, "partitions assigned", "agent_group", agentGroup, "partitions", assigned)
		}
		if err != nil || !more || assigned == 0 {
			return more, err
		}
	}
}

// trace makes the span afterwards: most times there is nothing to assign.
func (j *Judge) trace(ctx context.Context, agentGroup store.AgentGroup, assigned int, began time.Time) {
	_, span := j.config.Tracer.Rare(ctx, "assign", trace.WithTimestamp(began), trace.WithAttributes(
		attribute.String("streamhouse.agent_group", string(agentGroup)), attribute.Int("streamhouse.partitions", assigned)))
	span.End()
}

// purge removes what deleted topics left, a batch at a time.
func (j *Judge) purge(ctx context.Context) {
	ticker := time.NewTicker(j.config.Interval)
	defer ticker.Stop()
	for {
		purged, more, err := j.store.PurgeDeleted(ctx)
		if purged > 0 {
			afterPurge.Here()
		}
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
