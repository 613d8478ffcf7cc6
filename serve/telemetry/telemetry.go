package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/streamhouse/streamhouse/serve/tracing"
)

const (
	// maxSeries bounds the label sets of one instrument; what is beyond it is counted in one series that says so.
	maxSeries = 2000
	// maxScrapes bounds the scrapes in progress: anyone may ask.
	maxScrapes    = 4
	scrapeTimeout = 10 * time.Second
	scope         = "github.com/streamhouse/streamhouse"
)

// Identity is what is measured: it stands with every export.
type Identity struct {
	// Service is the program, e.g. "streamhouse-agent"; Version that of its binary.
	Service, Version string
	// Attributes say which one of its kind it is, e.g. agent id, zone, agent group.
	Attributes map[string]string
}

// Provider makes meters and a tracer. The zero Provider is not valid; see New.
type Provider struct {
	meters  *sdkmetric.MeterProvider
	spans   *sdktrace.TracerProvider // nil: nothing is traced
	tracer  *tracing.Tracer
	scrapes http.Handler // nil: nothing is served
}

// New makes a provider; it reaches nobody before the first export. A Provider must be closed. log hears of exports that came to nothing.
func New(config Config, who Identity, log *slog.Logger) (*Provider, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config = config.withEnvironment(os.Getenv)
	p, about := &Provider{}, describe(who)
	options := []sdkmetric.Option{sdkmetric.WithResource(about), sdkmetric.WithCardinalityLimit(maxSeries)}
	if config.Metrics {
		reader, err := p.serve(log)
		if err != nil {
			return nil, err
		}
		options = append(options, sdkmetric.WithReader(reader))
	}
	if config.OTLPEndpoint != "" {
		reader, err := export(config, log)
		if err != nil {
			return nil, err
		}
		options = append(options, sdkmetric.WithReader(reader))
		if err := p.trace(config, about, log); err != nil {
			return nil, err
		}
	}
	p.meters = sdkmetric.NewMeterProvider(options...)
	if err := errors.Join(runtime.Start(runtime.WithMeterProvider(p.meters)), measureProcess(p.Meter())); err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	return p, nil
}

// Meter makes instruments. Names are streamhouse.<area>.<thing>.
func (p *Provider) Meter() metric.Meter { return p.meters.Meter(scope) }

// Tracer begins spans. It is nil where no collector is configured: a nil one traces nothing.
func (p *Provider) Tracer() *tracing.Tracer { return p.tracer }

// Mount adds GET /metrics, which needs no API key, if it is to be served.
func (p *Provider) Mount(mux *http.ServeMux) {
	if p.scrapes != nil {
		mux.Handle("GET /metrics", p.scrapes)
	}
}

// Close exports once more, within the context, and stops. Meters and tracer go on working and find nothing.
func (p *Provider) Close(ctx context.Context) error {
	var spans error
	if p.spans != nil {
		spans = p.spans.Shutdown(ctx)
	}
	return errors.Join(p.meters.Shutdown(ctx), spans)
}

func describe(who Identity) *resource.Resource {
	host, _ := os.Hostname() // without a name it is none
	attributes := []attribute.KeyValue{
		attribute.String("service.name", who.Service), attribute.String("service.version", who.Version), attribute.String("host.name", host),
	}
	for name, value := range who.Attributes {
		attributes = append(attributes, attribute.String(name, value))
	}
	own := resource.NewSchemaless(attributes...)
	// OTEL_RESOURCE_ATTRIBUTES may add what we do not say; what it has that cannot be read is left out.
	others, err := resource.New(context.Background(), resource.WithFromEnv())
	if err != nil {
		return own
	}
	all, err := resource.Merge(others, own) // the latter's values win
	if err != nil {
		return own
	}
	return all
}

// serve makes the reader behind /metrics.
func (p *Provider) serve(log *slog.Logger) (sdkmetric.Reader, error) {
	registry := prometheus.NewRegistry()
	reader, err := otelprometheus.New(
		otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo(),
		otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes))
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	p.scrapes = promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout,
		EnableOpenMetrics: true, // for who asks for it: only that format has room for the traces behind a histogram
	})
	return reader, nil
}
