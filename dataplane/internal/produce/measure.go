package produce

import (
	"context"
	"fmt"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// measures are what the front door tells the meter.
type measures struct {
	unverified, batches, records metric.Int64Counter
	stored, duplicate, buffered  metric.MeasurementOption
}

func (s *Service) register(meter metric.Meter) (err error) {
	s.measures.unverified, err = meter.Int64Counter("streamhouse.produce.verify.failures", metric.WithUnit("{batch}"),
		metric.WithDescription("Batches that were refused because a field of theirs is not true, by the reason."))
	if err != nil {
		return fmt.Errorf("measure produce: %w", err)
	}
	s.measures.batches, err = meter.Int64Counter("streamhouse.produce.batches", metric.WithUnit("{batch}"),
		metric.WithDescription("Batches, or plain records for one partition, of clients that were answered, by outcome: "+
			"stored, duplicate, buffered, or the reason of a refusal."))
	if err != nil {
		return fmt.Errorf("measure produce: %w", err)
	}
	s.measures.records, err = meter.Int64Counter("streamhouse.produce.records", metric.WithUnit("{record}"),
		metric.WithDescription("Records of clients that were acknowledged."))
	if err != nil {
		return fmt.Errorf("measure produce: %w", err)
	}
	s.measures.begin()
	held, err := meter.Int64ObservableGauge("streamhouse.produce.held", metric.WithUnit("By"),
		metric.WithDescription("Messages of calls that bring records and are not answered yet; bounded by max-buffered-bytes."))
	if err != nil {
		return fmt.Errorf("measure produce: %w", err)
	}
	buffered, err := meter.Int64ObservableGauge("streamhouse.ingest.buffered", metric.WithUnit("By"),
		metric.WithDescription("Batches that were appended and whose fate is open; bounded by max-buffered-bytes."))
	if err != nil {
		return fmt.Errorf("measure produce: %w", err)
	}
	overloaded, err := meter.Int64ObservableCounter("streamhouse.produce.overloaded", metric.WithUnit("{refusal}"),
		metric.WithDescription("Calls and batches that were told to come back, because this agent holds as many bytes as it may."))
	if err != nil {
		return fmt.Errorf("measure produce: %w", err)
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(held, s.Gate.Held())
		o.ObserveInt64(buffered, s.Desk.BufferedBytes())
		o.ObserveInt64(overloaded, s.Gate.Overloaded()+s.full.Load())
		return nil
	}, held, buffered, overloaded)
	if err != nil {
		return fmt.Errorf("measure produce: %w", err)
	}
	return nil
}

// begin has the counters at 0 before there is anything to count, so that the first is an increase.
func (m *measures) begin() {
	ctx := context.Background()
	m.stored, m.duplicate, m.buffered = outcomeLabel("stored"), outcomeLabel("duplicate"), outcomeLabel("buffered")
	for _, outcome := range []metric.MeasurementOption{m.stored, m.duplicate, m.buffered} {
		m.batches.Add(ctx, 0, outcome)
	}
	m.records.Add(ctx, 0)
	for _, reason := range batchReasons {
		m.unverified.Add(ctx, 0, reasonLabel(reason))
	}
}

func reasonLabel(reason refusalv1.Reason) metric.MeasurementOption {
	name := strings.ToLower(strings.TrimPrefix(reason.String(), "REASON_"))
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", name)))
}

func outcomeLabel(name string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("outcome", name)))
}

// answered counts what became of a client's batches.
func (s *Service) answered(ctx context.Context, entries []*entry) {
	var records, stored, duplicate, buffered int64
	for _, e := range entries {
		switch out := e.outcome; {
		case out.GetRefusal() != nil:
			reason := strings.ToLower(strings.TrimPrefix(out.GetRefusal().GetReason().String(), "REASON_"))
			s.measures.batches.Add(ctx, 1, outcomeLabel(reason))
			continue
		case out.GetBuffered() != nil:
			buffered++
		case out.GetStored().GetDuplicate():
			duplicate++
		default:
			stored++
		}
		records += int64(e.batch.Header.RecordCount)
	}
	s.measures.add(ctx, stored, s.measures.stored)
	s.measures.add(ctx, duplicate, s.measures.duplicate)
	s.measures.add(ctx, buffered, s.measures.buffered)
	if records > 0 {
		s.measures.records.Add(ctx, records)
	}
}

func (m *measures) add(ctx context.Context, batches int64, outcome metric.MeasurementOption) {
	if batches > 0 {
		m.batches.Add(ctx, batches, outcome)
	}
}

// refusedBatch counts a batch that could not be verified.
func (s *Service) refusedBatch(ctx context.Context, reason recordbatch.Reason) {
	s.measures.unverified.Add(ctx, 1, reasonLabel(batchReasons[reason]))
}
