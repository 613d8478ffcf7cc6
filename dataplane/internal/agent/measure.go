package agent

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/streamhouse/streamhouse/dataplane/internal/lease"
)

// measure has the meter look at what the agent holds and hands over.
func (a *Agent) measure(handed *lease.Handed) error {
	meter := a.deps.Meter
	held, err := meter.Int64ObservableGauge("streamhouse.leases.held", metric.WithUnit("{partition}"),
		metric.WithDescription("Partitions that this agent leads."))
	if err != nil {
		return fmt.Errorf("meter leases: %w", err)
	}
	ended, err := meter.Int64ObservableCounter("streamhouse.leases.handoffs", metric.WithUnit("{partition}"),
		metric.WithDescription("Partitions that this agent has handed over or given back."))
	if err != nil {
		return fmt.Errorf("meter leases: %w", err)
	}
	forwards, err := meter.Int64ObservableCounter("streamhouse.produce.forwards", metric.WithUnit("{call}"),
		metric.WithDescription("Calls to other agents for producers that asked here."))
	if err != nil {
		return fmt.Errorf("meter leases: %w", err)
	}
	ahead, err := meter.Int64ObservableGauge("streamhouse.flush.queue", metric.WithUnit("{object}"),
		metric.WithDescription("Sealed objects that are not settled yet: they wait for an upload or a commit, or are on their way."))
	if err != nil {
		return fmt.Errorf("meter leases: %w", err)
	}
	limit, err := meter.Int64ObservableGauge("streamhouse.memory.limit", metric.WithUnit("By"),
		metric.WithDescription("Budgets of memory: produce (max-buffered-bytes) and cache (cache-bytes)."))
	if err != nil {
		return fmt.Errorf("meter leases: %w", err)
	}
	budget := func(of string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("of", of)))
	}
	produceBudget, cacheBudget := budget("produce"), budget("cache")
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(held, int64(a.desk.HeldCount()))
		o.ObserveInt64(ended, int64(handed.Count()))
		o.ObserveInt64(forwards, a.produce.Forwards())
		o.ObserveInt64(ahead, int64(a.desk.ObjectsAhead()))
		o.ObserveInt64(limit, int64(a.config.MaxBufferedBytes), produceBudget)
		o.ObserveInt64(limit, a.config.Fetch.Cache.MaxBytes, cacheBudget)
		return nil
	}, held, ended, forwards, ahead, limit)
	if err != nil {
		return fmt.Errorf("meter leases: %w", err)
	}
	return nil
}
