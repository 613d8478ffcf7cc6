package agent

import (
	"context"
	"fmt"

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
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(held, int64(a.desk.HeldCount()))
		o.ObserveInt64(ended, int64(handed.Count()))
		o.ObserveInt64(forwards, a.produce.Forwards())
		return nil
	}, held, ended, forwards)
	if err != nil {
		return fmt.Errorf("meter leases: %w", err)
	}
	return nil
}
