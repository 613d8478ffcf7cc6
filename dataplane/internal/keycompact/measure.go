package keycompact

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"
)

type measures struct {
	read, written, removed metric.Int64Counter
}

func newMeasures(meter metric.Meter) (*measures, error) {
	m := &measures{}
	for _, c := range []struct {
		to                      *metric.Int64Counter
		name, unit, description string
	}{
		{&m.read, "streamhouse.key_compaction.read", "By", "Bytes that compaction by key read from the bucket."},
		{&m.written, "streamhouse.key_compaction.written", "By", "Bytes of batches in objects that compaction by key wrote and committed."},
		{&m.removed, "streamhouse.key_compaction.records.removed", "{record}", "Records that compaction by key left out of what it wrote."},
	} {
		counter, err := meter.Int64Counter(c.name, metric.WithUnit(c.unit), metric.WithDescription(c.description))
		if err != nil {
			return nil, fmt.Errorf("meter %s: %w", c.name, err)
		}
		*c.to = counter
	}
	return m, nil
}

func (m *measures) add(ctx context.Context, d Done) {
	ctx = context.WithoutCancel(ctx)
	m.read.Add(ctx, d.BytesRead)
	m.written.Add(ctx, d.BytesWritten)
	m.removed.Add(ctx, d.Removed)
}
