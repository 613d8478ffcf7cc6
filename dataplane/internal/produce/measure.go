package produce

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// measures are what the front door tells the meter.
type measures struct {
	unverified metric.Int64Counter
}

func (s *Service) register(meter metric.Meter) (err error) {
	s.measures.unverified, err = meter.Int64Counter("streamhouse.produce.verify.failures", metric.WithUnit("{batch}"),
		metric.WithDescription("Batches that were refused because a field of theirs is not true, by the reason."))
	if err != nil {
		return fmt.Errorf("measure produce: %w", err)
	}
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

// refusedBatch counts a batch that could not be verified.
func (s *Service) refusedBatch(ctx context.Context, reason recordbatch.Reason) {
	name := batchReasons[reason].String()
	s.measures.unverified.Add(ctx, 1, metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", name))))
}
