package upkeep

import (
	"context"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// metrics are gauges of what the last look has seen; a replica that does not look shows none.
type metrics struct {
	mu     sync.Mutex // guards what follows
	states []store.UpkeepState
	sizes  []store.TableSize
}

func (m *metrics) set(states []store.UpkeepState, sizes []store.TableSize) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.states, m.sizes = states, sizes
}

func (m *metrics) clear() { m.set(nil, nil) }

// gauges makes gauges, and keeps the first error.
type gauges struct {
	meter metric.Meter
	all   []metric.Observable
	err   error
}

func (g *gauges) count(name, unit, description string) metric.Int64ObservableGauge {
	made, err := g.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
	if err != nil && g.err == nil {
		g.err = err
	}
	g.all = append(g.all, made)
	return made
}

func (g *gauges) seconds(name, description string) metric.Float64ObservableGauge {
	made, err := g.meter.Float64ObservableGauge(name, metric.WithUnit("s"), metric.WithDescription(description))
	if err != nil && g.err == nil {
		g.err = err
	}
	g.all = append(g.all, made)
	return made
}

func newMetrics(meter metric.Meter) (*metrics, error) {
	if meter == nil {
		meter = noop.Meter{}
	}
	m, g := &metrics{}, &gauges{meter: meter}
	work, catalog := m.work(g), m.catalog(g)
	if g.err != nil {
		return nil, g.err
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, state := range m.states {
			work(o, state)
		}
		for _, size := range m.sizes {
			catalog(o, size)
		}
		return nil
	}, g.all...)
	return m, err
}

// work makes the gauges of work on the bucket, and answers what shows an agent group's.
func (m *metrics) work(g *gauges) func(metric.Observer, store.UpkeepState) {
	checkpoint := g.seconds("streamhouse.checkpoint.age",
		"Age of the newest checkpoint in the bucket; where there is none, of the oldest topic.")
	sweep := g.seconds("streamhouse.sweep.behind", "Time since when the next part of the bucket has been due to be swept.")
	waiting := g.count("streamhouse.objects.waiting", "{object}", "Objects that nothing refers to and that are not deleted yet, by what they wait for.")
	age := g.seconds("streamhouse.objects.waiting.age", "Time for which the oldest of them has waited.")
	overdue := g.seconds("streamhouse.objects.overdue", "Time for which the oldest object that may be deleted could have been.")
	jobs := g.count("streamhouse.jobs.held", "{job}", "Jobs on the bucket that an agent has, or has left.")
	held := g.seconds("streamhouse.jobs.age", "Time since the oldest of them was claimed.")
	return func(o metric.Observer, state store.UpkeepState) {
		group := attribute.String("agent_group", string(state.AgentGroup))
		o.ObserveFloat64(checkpoint, state.CheckpointAge.Seconds(), metric.WithAttributes(group))
		o.ObserveFloat64(sweep, state.SweepBehind.Seconds(), metric.WithAttributes(group))
		o.ObserveFloat64(overdue, state.DeletionOverdue.Seconds(), metric.WithAttributes(group))
		for what, objects := range map[string]store.Waiting{"checkpoint": state.Freed, "deletion": state.Dated, "orphan deletion": state.Dead} {
			of := metric.WithAttributes(group, attribute.String("for", what))
			o.ObserveInt64(waiting, objects.Objects, of)
			o.ObserveFloat64(age, objects.Oldest.Seconds(), of)
		}
		for number := range controlplanev1.JobKind_name {
			if kind := controlplanev1.JobKind(number); kind != controlplanev1.JobKind_JOB_KIND_UNSPECIFIED {
				of := metric.WithAttributes(group, attribute.String("kind", kindName(kind)))
				o.ObserveInt64(jobs, state.Jobs[kind].Jobs, of)
				o.ObserveFloat64(held, state.Jobs[kind].Oldest.Seconds(), of)
			}
		}
	}
}

func kindName(kind controlplanev1.JobKind) string {
	return strings.ToLower(strings.TrimPrefix(kind.String(), "JOB_KIND_"))
}

// catalog makes the gauges of the catalog's size, and answers what shows a table's.
func (m *metrics) catalog(g *gauges) func(metric.Observer, store.TableSize) {
	rows := g.count("streamhouse.catalog.rows", "{row}", "Rows of the catalog's tables, as PostgreSQL estimates them.")
	dead := g.count("streamhouse.catalog.dead.rows", "{row}", "Dead rows that autovacuum has not cleared away yet, as PostgreSQL estimates them.")
	size := g.count("streamhouse.catalog.size", "By", "Bytes of the catalog's tables on disk, indexes included.")
	return func(o metric.Observer, s store.TableSize) {
		of := metric.WithAttributes(attribute.String("table", s.Name))
		o.ObserveInt64(rows, s.Rows, of)
		o.ObserveInt64(dead, s.DeadRows, of)
		o.ObserveInt64(size, s.Bytes, of)
	}
}
