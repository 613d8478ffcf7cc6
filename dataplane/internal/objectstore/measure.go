package objectstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"

	"github.com/streamhouse/streamhouse/serve/tracing"
)

// Prices of 1,000 requests in dollars, by what S3 calls them. Deletions are free.
type Prices struct {
	// Write: PUT, COPY, POST, LIST, and every part of an upload in parts.
	Write float64
	// Read: GET, HEAD and all others.
	Read float64
}

// meters count every request to the bucket, where it leaves: attempts, repeats and hedges alike, so that the counts are those of the bill.
type meters struct {
	requests metric.Int64Counter
	bytes    metric.Int64Counter
	cost     metric.Float64Counter
	duration metric.Float64Histogram
	prices   Prices
	bucket   string
	tracer   *tracing.Tracer
	labels   sync.Map // label → metric.MeasurementOption: as many as operations and results

	sent, received metric.MeasurementOption
}

func newMeters(cfg Config) (m *meters, err error) {
	meter := cfg.Meter
	if meter == nil {
		meter = noop.Meter{}
	}
	direction := func(name string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(attribute.String("direction", name)))
	}
	m = &meters{prices: cfg.Prices, bucket: cfg.Bucket, tracer: cfg.Tracer, sent: direction("sent"), received: direction("received")}
	var faults [4]error
	m.requests, faults[0] = meter.Int64Counter("streamhouse.s3.requests", metric.WithUnit("{request}"),
		metric.WithDescription("Requests to the bucket, repeats and hedges included, by operation and result: ok, an HTTP status, or unanswered."))
	m.bytes, faults[1] = meter.Int64Counter("streamhouse.s3.bytes", metric.WithUnit("By"),
		metric.WithDescription("Bytes of objects that requests sent to the bucket or received from it."))
	m.cost, faults[2] = meter.Float64Counter("streamhouse.s3.cost", metric.WithUnit("{USD}"),
		metric.WithDescription("Dollars for the requests so far, at s3-write-price and s3-read-price."))
	m.duration, faults[3] = meter.Float64Histogram("streamhouse.s3.request.duration", metric.WithUnit("s"),
		metric.WithDescription("Time of a request until the bucket's answer begins, by operation."),
		metric.WithExplicitBucketBoundaries(.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30))
	if err := errors.Join(faults[:]...); err != nil {
		return nil, fmt.Errorf("measure the bucket: %w", err)
	}
	return m, nil
}

// attach has the SDK's client pass every request through here.
func (m *meters) attach(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("streamhouse", m.handle), middleware.After)
}

func (m *meters) handle(
	ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
) (middleware.InitializeOutput, middleware.Metadata, error) {
	operation := awsmiddleware.GetOperationName(ctx)
	name := "S3"
	if m.tracer != nil && tracing.Sampled(ctx) {
		name += "/" + operation
	}
	ctx, span := m.tracer.Inside(ctx, name, trace.SpanKindClient)
	defer span.End()
	began := time.Now()
	out, metadata, err := next.HandleInitialize(ctx, in)
	result := resultOf(err)
	m.count(ctx, operation, result, time.Since(began))
	if err == nil {
		m.countBytes(ctx, in.Parameters, out.Result)
	}
	if span.IsRecording() {
		span.SetAttributes(attribute.String("rpc.system.name", "aws-api"), attribute.String("rpc.method", name), attribute.String("aws.s3.bucket", m.bucket))
		if id, known := awsmiddleware.GetRequestIDMetadata(metadata); known {
			span.SetAttributes(attribute.String("aws.request_id", id))
		}
		if err != nil {
			tracing.Fail(span, result)
		}
	}
	return out, metadata, err
}

// resultOf is ok, the status of the answer, or that there was none.
func resultOf(err error) string {
	if err == nil {
		return "ok"
	}
	if answer, ok := errors.AsType[*awshttp.ResponseError](err); ok && answer.HTTPStatusCode() != 0 {
		return strconv.Itoa(answer.HTTPStatusCode())
	}
	return "unanswered"
}

type requestLabel struct{ operation, result string }

func (m *meters) count(ctx context.Context, operation, result string, took time.Duration) {
	m.requests.Add(ctx, 1, m.label(operation, result))
	m.duration.Record(ctx, took.Seconds(), m.label(operation, ""))
	if price := m.prices.of(operation); price > 0 && result != "unanswered" {
		m.cost.Add(ctx, price/1000)
	}
}

func (m *meters) label(operation, result string) metric.MeasurementOption {
	key := requestLabel{operation, result}
	if known, ok := m.labels.Load(key); ok {
		return known.(metric.MeasurementOption) //nolint:forcetypeassert // nothing else is stored
	}
	attributes := []attribute.KeyValue{attribute.String("operation", operation)}
	if result != "" {
		attributes = append(attributes, attribute.String("result", result))
	}
	made := metric.WithAttributeSet(attribute.NewSet(attributes...))
	m.labels.Store(key, made)
	return made
}

func (m *meters) countBytes(ctx context.Context, in, out any) {
	switch in := in.(type) {
	case *s3.PutObjectInput:
		m.bytes.Add(ctx, aws.ToInt64(in.ContentLength), m.sent)
	case *s3.UploadPartInput:
		m.bytes.Add(ctx, aws.ToInt64(in.ContentLength), m.sent)
	}
	if out, ok := out.(*s3.GetObjectOutput); ok {
		m.bytes.Add(ctx, aws.ToInt64(out.ContentLength), m.received)
	}
}

// of is the price of 1,000 requests. What is not known is taken for a write: they cost more.
func (p Prices) of(operation string) float64 {
	switch operation {
	case "DeleteObject", "DeleteObjects", "AbortMultipartUpload":
		return 0
	case "GetObject", "HeadObject", "HeadBucket":
		return p.Read
	default:
		return p.Write
	}
}
