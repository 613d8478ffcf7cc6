package listen

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// durations are the bounds of the histogram's buckets, in seconds.
var durations = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

// measure counts calls in progress, and times those that have ended by method and status code. A nil meter measures nothing.
func measure(meter metric.Meter) (connect.ServerInterceptor, error) {
	if meter == nil {
		meter = noop.Meter{}
	}
	took, err := meter.Float64Histogram("streamhouse.rpc.duration", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(durations...),
		metric.WithDescription("Time that calls took, waiting on purpose included, by method and status code. Streams: until they ended."))
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	active, err := meter.Int64UpDownCounter("streamhouse.rpc.active", metric.WithUnit("{call}"),
		metric.WithDescription("Calls in progress, streams included."))
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	refused, err := meter.Int64Counter("streamhouse.rpc.refusals", metric.WithUnit("{refusal}"),
		metric.WithDescription("Calls that were refused, by the reason in the refusal."))
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	labels := &rpcLabels{}
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			began := time.Now()
			active.Add(ctx, 1)
			defer active.Add(ctx, -1)
			err := next(ctx, spec, stream)
			took.Record(ctx, time.Since(began).Seconds(), labels.of(spec.Procedure, err))
			if why, ok := refusal.Of(err); ok {
				refused.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", reasonName(why.GetReason()))))
			}
			return err
		}
	}, nil
}

func reasonName(reason refusalv1.Reason) string {
	return strings.ToLower(strings.TrimPrefix(reason.String(), "REASON_"))
}

// rpcLabels remembers label sets: there are as many as methods and codes.
type rpcLabels struct{ known sync.Map } // rpcLabel → metric.MeasurementOption

type rpcLabel struct {
	procedure string
	code      connect.Code // 0: ok
}

func (l *rpcLabels) of(procedure string, err error) metric.MeasurementOption {
	label := rpcLabel{procedure: procedure}
	if err != nil {
		label.code = connect.CodeOf(err)
	}
	if known, ok := l.known.Load(label); ok {
		return known.(metric.MeasurementOption) //nolint:forcetypeassert // nothing else is stored
	}
	code := "ok"
	if err != nil {
		code = label.code.String()
	}
	made := metric.WithAttributeSet(attribute.NewSet(
		attribute.String("method", strings.TrimPrefix(procedure, "/")), attribute.String("code", code)))
	l.known.Store(label, made)
	return made
}
