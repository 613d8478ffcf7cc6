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

// Provider makes meters. The zero Provider is not valid; see New.
type Provider struct {
	meters  *sdkmetric.MeterProvider
	scrapes http.Handler // nil: nothing is served
}

// New makes a provider; it reaches nobody before the first export. A Provider must be closed. log hears of exports that came to nothing.
func New(config Config, who Identity, log *slog.Logger) (*Provider, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	p := &Provider{}
	options := []sdkmetric.Option{sdkmetric.WithResource(describe(who)), sdkmetric.WithCardinalityLimit(maxSeries)}
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
	}
	p.meters = sdkmetric.NewMeterProvider(options...)
	if err := errors.Join(runtime.Start(runtime.WithMeterProvider(p.meters)), measureProcess(p.Meter())); err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	return p, nil
}

// Meter makes instruments. Names are streamhouse.<area>.<thing>.
func (p *Provider) Meter() metric.Meter { return p.meters.Meter(scope) }

// Mount adds GET /metrics, which needs no API key, if it is to be served.
func (p *Provider) Mount(mux *http.ServeMux) {
	if p.scrapes != nil {
		mux.Handle("GET /metrics", p.scrapes)
	}
}

// Close exports once more, within the context, and stops. Meters go on working and measure nothing.
func (p *Provider) Close(ctx context.Context) error { return p.meters.Shutdown(ctx) }

func describe(who Identity) *resource.Resource {
	host, _ := os.Hostname() // without a name it is none
	attributes := []attribute.KeyValue{
		attribute.String("service.name", who.Service), attribute.String("service.version", who.Version), attribute.String("host.name", host),
	}
	for name, value := range who.Attributes {
		attributes = append(attributes, attribute.String(name, value))
	}
	return resource.NewSchemaless(attributes...)
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
	})
	return reader, nil
}
