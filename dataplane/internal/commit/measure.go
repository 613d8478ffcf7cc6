package commit

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// Measures are what all committers of an agent tell the meter.
type Measures struct {
	duration, objects           metric.Float64Histogram
	segments                    metric.Int64Counter
	committed, deposed, refused metric.MeasurementOption
}

// NewMeasures prepares them. An error comes from the meter.
func NewMeasures(meter metric.Meter) (m *Measures, err error) {
	result := func(name string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("result", name)))
	}
	m = &Measures{committed: result("committed"), deposed: result("fenced"), refused: result("refused")}
	m.duration, err = meter.Float64Histogram("streamhouse.commit.duration", metric.WithUnit("s"),
		metric.WithDescription("Time from the first attempt of a commit to its answer."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 5))
	if err != nil {
		return nil, fmt.Errorf("measure commits: %w", err)
	}
	m.objects, err = meter.Float64Histogram("streamhouse.commit.objects", metric.WithUnit("{object}"),
		metric.WithDescription("Objects that one commit names."), metric.WithExplicitBucketBoundaries(1, 2, 4, 8, 16, 32, 64, 100))
	if err != nil {
		return nil, fmt.Errorf("measure commits: %w", err)
	}
	m.segments, err = meter.Int64Counter("streamhouse.commit.segments", metric.WithUnit("{segment}"),
		metric.WithDescription("Segments by the catalog's verdict: committed, fenced (another agent leads), refused."))
	if err != nil {
		return nil, fmt.Errorf("measure commits: %w", err)
	}
	for _, verdict := range []metric.MeasurementOption{m.committed, m.deposed, m.refused} {
		m.segments.Add(context.Background(), 0, verdict) // so that the first is an increase, which an alert may wait for
	}
	return m, nil
}

func (m *Measures) answered(ctx context.Context, req *controlplanev1.CommitRequest, effect ingest.Effect, took time.Duration) {
	m.duration.Record(ctx, took.Seconds())
	m.objects.Record(ctx, float64(len(req.GetObjects())))
	m.segments.Add(ctx, int64(len(effect.Committed)), m.committed)
	for _, f := range effect.Failed {
		verdict := m.refused
		if f.Outcome.GetResult() == controlplanev1.SegmentResult_SEGMENT_RESULT_FENCED {
			verdict = m.deposed
		}
		m.segments.Add(ctx, 1, verdict)
	}
}
