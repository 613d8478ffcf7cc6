package postgres

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/streamhouse/streamhouse/controlplane/internal/lease"
)

// afterVacancy: the tenure before had ended when this one began. The others are package lease's.
const afterVacancy = "vacant"

// What a judge finds.
const verdictSuspected, verdictEnded = "suspected", "ended"

// meters count what transactions have changed. The zero one counts nothing.
type meters struct{ tenures, sessions metric.Int64Counter }

// tenuresBegan counts tenures by what ended the one before.
func (m meters) tenuresBegan(ctx context.Context, granted map[string]int) {
	if m.tenures == nil {
		return
	}
	for after, n := range granted {
		m.tenures.Add(ctx, int64(n), metric.WithAttributes(attribute.String("after", after)))
	}
}

// judged counts sessions that this replica has found silent or gone.
func (m meters) judged(ctx context.Context, verdict string, sessions int) {
	if m.sessions != nil && sessions > 0 {
		m.sessions.Add(ctx, int64(sessions), metric.WithAttributes(attribute.String("verdict", verdict)))
	}
}

// Measure has the meter count what changes, and look at the pool of connections, under OpenTelemetry's names where there are some. Call it before
// anything else.
func (s *Store) Measure(meter metric.Meter) (err error) {
	if s.meters.tenures, err = meter.Int64Counter("streamhouse.leases.tenures", metric.WithUnit("{tenure}"),
		metric.WithDescription("Tenures that began, each with an epoch of its own, "+
			"by what ended the one before: vacant (it had ended), taken over, session ended, resigned.")); err != nil {
		return fmt.Errorf("measure leases: %w", err)
	}
	if s.meters.sessions, err = meter.Int64Counter("streamhouse.sessions.judged", metric.WithUnit("{session}"),
		metric.WithDescription("Sessions of agents that this replica has judged: "+
			"suspected (their partitions may be led by others) or ended (silence).")); err != nil {
		return fmt.Errorf("measure sessions: %w", err)
	}
	s.meters.begin(context.Background())
	return s.measurePool(meter)
}

// begin has the counters at 0 before there is anything to count, so that the first is an increase, which an alert may wait for.
func (m meters) begin(ctx context.Context) {
	for _, after := range []string{afterVacancy, lease.EndTakenOver, lease.EndSessionEnded, lease.EndResigned} {
		m.tenures.Add(ctx, 0, metric.WithAttributes(attribute.String("after", after)))
	}
	for _, verdict := range []string{verdictSuspected, verdictEnded} {
		m.sessions.Add(ctx, 0, metric.WithAttributes(attribute.String("verdict", verdict)))
	}
}

func (s *Store) measurePool(meter metric.Meter) error {
	pool := attribute.String("db.client.connection.pool.name", "catalog")
	of := metric.WithAttributeSet(attribute.NewSet(pool))
	state := func(name string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(pool, attribute.String("db.client.connection.state", name)))
	}
	idle, used := state("idle"), state("used")
	var faults [5]error
	var count, most metric.Int64ObservableUpDownCounter
	var timeouts, waits metric.Int64ObservableCounter
	var waited metric.Float64ObservableCounter
	count, faults[0] = meter.Int64ObservableUpDownCounter("db.client.connection.count", metric.WithUnit("{connection}"),
		metric.WithDescription("Connections to PostgreSQL by state: idle or used."))
	most, faults[1] = meter.Int64ObservableUpDownCounter("db.client.connection.max", metric.WithUnit("{connection}"),
		metric.WithDescription("Most connections to PostgreSQL; pool-size."))
	timeouts, faults[2] = meter.Int64ObservableCounter("streamhouse.db.pool.abandoned", metric.WithUnit("{call}"),
		metric.WithDescription("Waits for a connection that ended without one, because the call's time was up."))
	waits, faults[3] = meter.Int64ObservableCounter("streamhouse.db.pool.waits", metric.WithUnit("{call}"),
		metric.WithDescription("Calls that found no idle connection and waited for one."))
	waited, faults[4] = meter.Float64ObservableCounter("streamhouse.db.pool.wait.time", metric.WithUnit("s"),
		metric.WithDescription("Time that calls have waited for a connection."))
	if err := errors.Join(faults[:]...); err != nil {
		return fmt.Errorf("measure pool: %w", err)
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		stat := s.pool.Stat()
		o.ObserveInt64(count, int64(stat.IdleConns()), idle)
		o.ObserveInt64(count, int64(stat.TotalConns()-stat.IdleConns()), used)
		o.ObserveInt64(most, int64(stat.MaxConns()), of)
		o.ObserveInt64(timeouts, stat.CanceledAcquireCount(), of)
		o.ObserveInt64(waits, stat.EmptyAcquireCount(), of)
		o.ObserveFloat64(waited, stat.EmptyAcquireWaitTime().Seconds(), of)
		return nil
	}, count, most, timeouts, waits, waited)
	if err != nil {
		return fmt.Errorf("measure pool: %w", err)
	}
	return nil
}
