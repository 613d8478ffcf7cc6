package job

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// outcome of a job.
type outcome string

const (
	finished outcome = "done"
	lost     outcome = "lost"     // another agent has it, or it had ended
	givenUp  outcome = "given up" // it failed, or the agent stops
)

func outcomeOf(_ context.Context, err error) outcome {
	switch {
	case err == nil:
		return finished
	case refusal.Is(err, refusalv1.Reason_REASON_JOB_LOST):
		return lost
	default:
		return givenUp
	}
}

func kindName(kind controlplanev1.JobKind) string {
	return strings.ToLower(strings.TrimPrefix(kind.String(), "JOB_KIND_"))
}

type measures struct {
	jobs     metric.Int64Counter
	duration metric.Float64Histogram
}

func newMeasures(meter metric.Meter) (m *measures, err error) {
	m = &measures{}
	m.jobs, err = meter.Int64Counter("streamhouse.job.ended", metric.WithUnit("{job}"),
		metric.WithDescription("Jobs on the bucket that ended here, by kind (checkpoint, delete, sweep, compact, key_compact) and outcome (done, lost, given up)."))
	if err != nil {
		return nil, err
	}
	m.duration, err = meter.Float64Histogram("streamhouse.job.duration", metric.WithUnit("s"),
		metric.WithDescription("Time of jobs on the bucket, by kind."),
		metric.WithExplicitBucketBoundaries(.01, .03, .1, .3, 1, 3, 10, 30, 100, 300, 1000))
	return m, err
}

// begin has the counters at 0 before the first job ends, so that it is an increase.
func (m *measures) begin(ctx context.Context, kinds []controlplanev1.JobKind) {
	for _, kind := range kinds {
		for _, o := range []outcome{finished, lost, givenUp} {
			m.jobs.Add(ctx, 0, metric.WithAttributes(attribute.String("kind", kindName(kind)), attribute.String("outcome", string(o))))
		}
	}
}

func (m *measures) ended(ctx context.Context, kind controlplanev1.JobKind, o outcome, took time.Duration) {
	name := attribute.String("kind", kindName(kind))
	m.jobs.Add(ctx, 1, metric.WithAttributes(name, attribute.String("outcome", string(o))))
	m.duration.Record(ctx, took.Seconds(), metric.WithAttributes(name))
}
