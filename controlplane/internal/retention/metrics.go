package retention

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// metrics of retention, those of this replica's own work.
type metrics struct {
	passes   metric.Float64Histogram
	raised   metric.Int64Counter
	segments metric.Int64Counter
	bytes    metric.Int64Counter
}

func newMetrics(meter metric.Meter) (*metrics, error) {
	if meter == nil {
		meter = noop.Meter{}
	}
	m := &metrics{}
	var err error
	if m.passes, err = meter.Float64Histogram("streamhouse.retention.pass.duration", metric.WithUnit("s"),
		metric.WithDescription("Time that a pass over all partitions took, rests included.")); err != nil {
		return nil, err
	}
	counter := func(name, unit, description string) (metric.Int64Counter, error) {
		return meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
	}
	if m.raised, err = counter("streamhouse.retention.partitions", "{partition}", "Log starts that were raised."); err != nil {
		return nil, err
	}
	if m.segments, err = counter("streamhouse.retention.segments", "{segment}", "Segments that were removed."); err != nil {
		return nil, err
	}
	m.bytes, err = counter("streamhouse.retention.removed", "By", "Bytes of the segments that were removed, as stored.")
	return m, err
}

func (m *metrics) passed(ctx context.Context, took time.Duration, raised int, removed store.RemovedPage) {
	m.passes.Record(ctx, took.Seconds())
	m.raised.Add(ctx, int64(raised))
	m.segments.Add(ctx, int64(removed.Segments))
	m.bytes.Add(ctx, removed.Bytes)
}
