package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/streamhouse/streamhouse/serve/tracing"
)

// Bounds of what waits for the collector. Spans beyond are dropped: whoever ends a span never waits.
const (
	maxQueuedSpans = 8192
	maxExportSpans = 512
	spanInterval   = time.Second
)

// trace makes the tracer. Its provider keeps all spans that are begun: package tracing has chosen before.
func (p *Provider) trace(config Config, about *resource.Resource, log *slog.Logger) error {
	headers, err := config.headers()
	if err != nil {
		return err
	}
	exporter, err := otlptracehttp.New(context.Background(), // it connects with the first export
		otlptracehttp.WithEndpointURL(strings.TrimSuffix(config.OTLPEndpoint, "/")+"/v1/traces"),
		otlptracehttp.WithHeaders(headers), otlptracehttp.WithTimeout(exportTimeout),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: retryAfter, MaxInterval: exportTimeout, MaxElapsedTime: exportTimeout}),
	)
	if err != nil {
		return fmt.Errorf("otlp-endpoint: %w", err)
	}
	p.spans = sdktrace.NewTracerProvider(
		sdktrace.WithResource(about), sdktrace.WithSampler(sdktrace.AlwaysSample()),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{
			AttributeValueLengthLimit: 1024, AttributeCountLimit: 64, EventCountLimit: 64, AttributePerEventCountLimit: 16,
			LinkCountLimit: 2 * tracing.MaxLinks, AttributePerLinkCountLimit: 16,
		}),
		sdktrace.WithBatcher(&saidSpans{SpanExporter: exporter, saying: saying{broke: "spans are not exported", mended: "spans are exported again", log: log}},
			sdktrace.WithMaxQueueSize(maxQueuedSpans), sdktrace.WithMaxExportBatchSize(maxExportSpans),
			sdktrace.WithBatchTimeout(spanInterval), sdktrace.WithExportTimeout(exportTimeout)),
	)
	p.tracer = tracing.New(p.spans, config.TraceSample)
	return nil
}

// saidSpans is an exporter of spans whose failures are logged and go no further.
type saidSpans struct {
	sdktrace.SpanExporter
	saying
}

// ExportSpans sends spans. It returns no error.
func (s *saidSpans) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	s.say(ctx, s.SpanExporter.ExportSpans(ctx, spans))
	return nil
}
