package compact

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"
)

type measures struct {
	read, written metric.Int64Counter
	gets          metric.Int64Counter
	segments      metric.Int64Counter
}

func newMeasures(meter metric.Meter) (*measures, error) {
	m := &measures{}
	for _, c := range []struct {
		to                      *metric.Int64Counter
		name, unit, description string
	}{
		{&m.read, "streamhouse.compaction.read", "By", "Bytes that compaction read from the bucket."},
		{&m.written, "streamhouse.compaction.written", "By", "Bytes of batches in objects that compaction wrote and committed."},
		{&m.gets, "streamhouse.compaction.gets", "{request}", "GETs of compaction."},
		{&m.segments, "streamhouse.compaction.segments.replaced", "{segment}", "Segments in whose place compaction put longer ones."},
	} {
		counter, err := meter.Int64Counter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.description))
		if err != nil {
			return nil, fmt.Errorf("meter %s: %w", c.name, err)
		}
		counter.Add(context.Background(), 0) // so that it is there before the first
		*c.to = counter
	}
	return m, nil
}

func (m *measures) add(ctx context.Context, d Done) {
	ctx = context.WithoutCancel(ctx)
	m.read.Add(ctx, d.BytesRead)
	m.written.Add(ctx, d.Bytes)
	m.gets.Add(ctx, d.Gets)
	m.segments.Add(ctx, d.Replaced)
}
