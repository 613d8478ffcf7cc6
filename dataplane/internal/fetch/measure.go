package fetch

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// shown is a metric that is read when somebody asks for it.
type shown struct {
	name, unit, what string
	gauge            bool
	values           []value
}

// value is one of its numbers, with the label that tells it from the others; empty: there is only this one.
type value struct {
	label string
	read  func() int64
}

func one(read func() int64) []value { return []value{{read: read}} }

// measured are the metrics of reading; see docs/metrics.md.
func (s *Service) measured() []shown {
	c := s.cache
	return []shown{
		{
			name: "streamhouse.fetch.records", unit: "{record}", what: "Records given to consumers.",
			values: one(s.records.Load),
		},
		{
			name: "streamhouse.fetch.waiting", unit: "{partition}", what: "Partitions that somebody waits for.", gauge: true,
			values: one(func() int64 { return int64(s.index.Waiting()) }),
		},
		{
			name: "streamhouse.fetch.lookups", unit: "{call}", what: "Lookups in the catalog, by result.",
			values: []value{{"ok", s.coalescer.Answered}, {"failed", s.coalescer.Failed}},
		},
		{
			name: "streamhouse.cache.segments", unit: "{segment}", what: "Segments read from memory (hit), or not found there (miss).",
			values: []value{{"hit", func() int64 { return c.Counts().Hits }}, {"miss", func() int64 { return c.Counts().Misses }}},
		},
		{
			name: "streamhouse.cache.held", unit: "By", what: "Bytes that the cache holds.", gauge: true,
			values: one(c.Bytes),
		},
		{
			name: "streamhouse.cache.get.bytes", unit: "By", what: "Bytes that GETs asked the bucket for, hedges included.",
			values: one(func() int64 { return c.Counts().GetBytes }),
		},
		{
			name: "streamhouse.cache.gets", unit: "{get}", what: "GETs of the bucket: first tries, hedges, and those of the hedges that were faster (won).",
			values: []value{
				{"first", func() int64 { return c.Counts().Gets - c.Counts().Hedges }},
				{"hedge", func() int64 { return c.Counts().Hedges }},
				{"won", func() int64 { return c.Counts().HedgesWon }},
			},
		},
		{
			name: "streamhouse.cache.zone.reads", unit: "{call}", what: "Reads through another agent of the zone: all, and those that the bucket served after all.",
			values: []value{{"asked", func() int64 { return c.Counts().Asked }}, {"unserved", func() int64 { return c.Counts().Unserved }}},
		},
		{
			name: "streamhouse.notices", unit: "{notice}", what: "Commit notices: sent to other agents, received, replaced by newer ones (coalesced).",
			values: []value{{"sent", s.board.Sent}, {"coalesced", s.board.Coalesced}, {"received", s.heard}},
		},
		{
			name: "streamhouse.notices.streams", unit: "{stream}", what: "Agents that this one listens to.", gauge: true,
			values: one(s.streams),
		},
	}
}

func (s *Service) heard() int64 {
	if s.listener == nil {
		return 0
	}
	return s.listener.Heard()
}

func (s *Service) streams() int64 {
	if s.listener == nil {
		return 0
	}
	return s.listener.Streams()
}

// show has a meter read the service.
func (s *Service) show(meter metric.Meter) error {
	for _, m := range s.measured() {
		if err := m.register(meter); err != nil {
			return fmt.Errorf("meter %s: %w", m.name, err)
		}
	}
	return nil
}

func (m shown) register(meter metric.Meter) error {
	observe := func(_ context.Context, o metric.Int64Observer) error {
		for _, v := range m.values {
			if v.label == "" {
				o.Observe(v.read())
				continue
			}
			o.Observe(v.read(), metric.WithAttributes(attribute.String("result", v.label)))
		}
		return nil
	}
	unit, what := metric.WithUnit(m.unit), metric.WithDescription(m.what)
	var err error
	if m.gauge {
		_, err = meter.Int64ObservableGauge(m.name, unit, what, metric.WithInt64Callback(observe))
	} else {
		_, err = meter.Int64ObservableCounter(m.name, unit, what, metric.WithInt64Callback(observe))
	}
	return err
}
