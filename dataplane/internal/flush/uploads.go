package flush

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/serve/tracing"
)

// Uploads is the way to the bucket that the flushers of an agent's sessions share: what it may cost, how slow is too slow, how it is doing.
type Uploads struct {
	config Config
	budget *Budget
	hedger *hedger
	health *Health
	topics Topics          // nil: none needs a description
	tracer *tracing.Tracer // nil: nothing is traced

	size, duration metric.Float64Histogram
	hedges         metric.Int64Counter
	reasons        [8]metric.MeasurementOption // by ingest.Reason
}

// Topics sees to it that the bucket says what topics are; a *describe.Describer does.
type Topics interface {
	// Missing leaves the topics that have to be described; it waits for nothing.
	Missing(incarnation int32, topics func(yield func(object.UUID) bool)) []object.UUID
	// Describe returns when they are, or with an error when ctx has ended.
	Describe(ctx context.Context, incarnation int32, topics []object.UUID) error
}

// NewUploads prepares uploads to store. topics and tracer may be nil. An error comes from meter.
func NewUploads(store Store, topics Topics, config Config, meter metric.Meter, tracer *tracing.Tracer) (u *Uploads, err error) {
	u = &Uploads{
		config: config, topics: topics, tracer: tracer, budget: NewBudget(config.PutsPerSecond, config.PutBurst), hedger: newHedger(store), health: NewHealth(),
	}
	for _, r := range ingest.Reasons() {
		u.reasons[r] = metric.WithAttributeSet(attribute.NewSet(attribute.String("reason", r.String())))
	}
	u.size, err = meter.Float64Histogram("streamhouse.flush.object.size", metric.WithUnit("By"),
		metric.WithDescription("Size of uploaded objects; the count is that of PUTs. By why they were sealed: size, urgent, first, idle, linger."),
		metric.WithExplicitBucketBoundaries(1<<10, 8<<10, 64<<10, 256<<10, 1<<20, 4<<20, 8<<20, 16<<20, 64<<20))
	if err != nil {
		return nil, err
	}
	u.duration, err = meter.Float64Histogram("streamhouse.flush.put.duration", metric.WithUnit("s"),
		metric.WithDescription("Time of an upload until the bucket has the object, repeats included. By why it was sealed."),
		metric.WithExplicitBucketBoundaries(.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30))
	if err != nil {
		return nil, err
	}
	u.hedges, err = meter.Int64Counter("streamhouse.flush.put.hedges", metric.WithUnit("{put}"),
		metric.WithDescription("PUTs that were begun a second time because the first was slow."))
	if err != nil {
		return nil, err
	}
	u.hedges.Add(context.Background(), 0) // so that it is there before the first
	return u, nil
}

// Unfit tells whether an upload has been going on for 5 s without any upload succeeding.
func (u *Uploads) Unfit() bool { return u.health.Unfit(time.Now()) }

// describe has the topics of an object described, beside its upload. wait is to be called once, when that has ended: it tells whether the object may be
// committed, and returns when nothing is going on any more.
func (u *Uploads) describe(ctx context.Context, o *ingest.Object) (wait func(stored bool) bool) {
	var missing []object.UUID
	if u.topics != nil {
		missing = u.topics.Missing(o.Key.Incarnation, o.Topics)
	}
	if len(missing) == 0 {
		return func(stored bool) bool { return stored }
	}
	ctx, cancel := context.WithCancel(ctx)
	described := make(chan error, 1)
	go func() { described <- u.topics.Describe(ctx, o.Key.Incarnation, missing) }()
	return func(stored bool) bool {
		defer cancel()
		if !stored {
			cancel()
		}
		return <-described == nil && stored
	}
}

// put makes one attempt, hedged.
func (u *Uploads) put(ctx context.Context, sealed *object.Sealed) error {
	attempts, err := u.hedger.put(ctx, sealed.Key.String(), sealed.Body, sealed.SizeBytes, sealed.CRC32C)
	if attempts > 1 {
		u.hedges.Add(ctx, int64(attempts-1))
	}
	return err
}

func (u *Uploads) measure(ctx context.Context, o *ingest.Object, sealed *object.Sealed, took time.Duration) {
	why := u.reasons[o.Reason()]
	u.size.Record(ctx, float64(sealed.SizeBytes), why)
	u.duration.Record(ctx, took.Seconds(), why)
}

// begin begins the span of an upload, which carries on the traced calls that brought what is in it. It goes back to when the object was opened.
func (u *Uploads) begin(ctx context.Context, o *ingest.Object) (context.Context, trace.Span) {
	if o.Calls.None() {
		return ctx, tracing.None()
	}
	ctx, span := u.tracer.Carry(ctx, &o.Calls, "flush", trace.WithTimestamp(o.OpenedAt))
	if span.IsRecording() {
		o.Span = span
		span.AddEvent("sealed", trace.WithTimestamp(time.Now()))
		span.SetAttributes(attribute.String("streamhouse.object_key", o.Key.String()), attribute.String("streamhouse.flush.reason", o.Reason().String()),
			attribute.Int("streamhouse.segments", o.Segments()))
	}
	return ctx, span
}
