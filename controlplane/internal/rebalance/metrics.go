package rebalance

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// countGap is the least time between two counts of partitions and sessions.
const countGap = 5 * time.Second

// metrics of placement. Gauges are those of the replica that decides; the others show none.
type metrics struct {
	started  metric.Int64Counter
	duration metric.Float64Histogram

	mu      sync.Mutex // guards what follows
	leading bool
	census  store.Census
	// leaderless is how long partitions were without a leader, added up until passed.
	leaderless time.Duration
	passed     time.Time
}

func newMetrics(meter metric.Meter) (*metrics, error) {
	if meter == nil {
		meter = noop.Meter{}
	}
	m := &metrics{}
	var err error
	if m.started, err = meter.Int64Counter("streamhouse.placement.moves", metric.WithUnit("{move}"),
		metric.WithDescription("Partitions that were assigned to another agent to balance.")); err != nil {
		return nil, err
	}
	if m.duration, err = meter.Float64Histogram("streamhouse.placement.plan.duration", metric.WithUnit("s"),
		metric.WithDescription("Time to read an agent group and to plan it.")); err != nil {
		return nil, err
	}
	m.started.Add(context.Background(), 0) // so that it is there before the first
	return m, m.observe(meter)
}

func (m *metrics) observe(meter metric.Meter) error {
	gauge := func(name, unit, description string) metric.Int64ObservableGauge {
		g, _ := meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		return g
	}
	leader := gauge("streamhouse.placement.leader", "1", "1 on the replica that decides placement, else 0.")
	partitions := gauge("streamhouse.placement.partitions", "{partition}", "Partitions by agent group and whether somebody leads them.")
	leaderless, err := meter.Float64ObservableCounter("streamhouse.placement.leaderless.time", metric.WithUnit("s"),
		metric.WithDescription("Time without a leader, added up over all partitions, as the counts of partitions have seen it."))
	if err != nil {
		return err
	}
	moving := gauge("streamhouse.placement.moving", "{partition}", "Partitions whose leader is not who should lead: hand-offs under way.")
	epoch := gauge("streamhouse.placement.epoch", "{epoch}", "Greatest epoch of an agent group's partitions.")
	sessions := gauge("streamhouse.placement.sessions", "{session}", "Sessions that live, by agent group and state.")
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.pass(time.Now())
		o.ObserveInt64(leader, oneIf(m.leading))
		o.ObserveFloat64(leaderless, m.leaderless.Seconds())
		for key, n := range m.partitions() {
			o.ObserveInt64(partitions, n, metric.WithAttributes(agentGroup(key.agentGroup), attribute.Bool("led", key.led)))
		}
		for name, n := range m.moving() {
			o.ObserveInt64(moving, n, metric.WithAttributes(agentGroup(name)))
		}
		for name, greatest := range m.epochs() {
			o.ObserveInt64(epoch, greatest, metric.WithAttributes(agentGroup(name)))
		}
		for name, states := range m.census.Sessions {
			for state, n := range states {
				text := strings.ToLower(strings.TrimPrefix(state.String(), "AGENT_STATE_"))
				o.ObserveInt64(sessions, int64(n), metric.WithAttributes(agentGroup(name), attribute.String("state", text)))
			}
		}
		return nil
	}, leader, leaderless, partitions, moving, epoch, sessions)
	return err
}

func agentGroup(name store.AgentGroup) attribute.KeyValue {
	return attribute.String("agent_group", string(name))
}

func oneIf(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

type ledKey struct {
	agentGroup store.AgentGroup
	led        bool
}

// partitions has a number for both, also where it is 0: an alert on leaderless partitions wants to see it. Requires: mu.
func (m *metrics) partitions() map[ledKey]int64 {
	counts := map[ledKey]int64{}
	for _, tally := range m.census.Partitions {
		counts[ledKey{tally.AgentGroup, tally.Led}] += int64(tally.Partitions)
		counts[ledKey{tally.AgentGroup, !tally.Led}] += 0
	}
	return counts
}

// pass adds up the time without a leader since it was last added up. Requires: mu.
func (m *metrics) pass(now time.Time) {
	if !m.passed.IsZero() {
		for _, tally := range m.census.Partitions {
			if !tally.Led {
				m.leaderless += time.Duration(tally.Partitions) * now.Sub(m.passed)
			}
		}
	}
	m.passed = now
}

// moving counts by agent group. Requires: mu.
func (m *metrics) moving() map[store.AgentGroup]int64 {
	counts := map[store.AgentGroup]int64{}
	for _, tally := range m.census.Partitions {
		counts[tally.AgentGroup] += int64(tally.Moving)
	}
	return counts
}

// epochs has the greatest of each agent group. Requires: mu.
func (m *metrics) epochs() map[store.AgentGroup]int64 {
	greatest := map[store.AgentGroup]int64{}
	for _, tally := range m.census.Partitions {
		greatest[tally.AgentGroup] = max(greatest[tally.AgentGroup], int64(tally.Epoch))
	}
	return greatest
}

func (m *metrics) leads(leading bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pass(time.Now())
	m.leading, m.census = leading, store.Census{}
}

func (m *metrics) planned(ctx context.Context, took time.Duration) {
	m.duration.Record(ctx, took.Seconds())
}

func (m *metrics) moved(ctx context.Context, partitions int) { m.started.Add(ctx, int64(partitions)) }

// count counts partitions and sessions for the gauges, not too often, and only after something has changed.
func (r *Rebalancer) count(ctx context.Context, shapes map[store.AgentGroup]store.Shape) error {
	var revisions int64
	for _, shape := range shapes {
		revisions += shape.Revision
	}
	if time.Since(r.countedAt) < countGap || (!r.countedAt.IsZero() && revisions == r.counted) {
		return nil
	}
	census, err := r.store.Census(ctx)
	if err != nil {
		return fmt.Errorf("count: %w", err)
	}
	r.countedAt, r.counted = time.Now(), revisions
	r.metrics.mu.Lock()
	defer r.metrics.mu.Unlock()
	r.metrics.pass(time.Now())
	r.metrics.census = census
	return nil
}
