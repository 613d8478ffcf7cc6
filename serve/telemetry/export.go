package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// exportTimeout bounds one export, repeats included.
const exportTimeout = 10 * time.Second

// export makes the reader that posts to a collector. It has a goroutine, which Shutdown ends.
func export(config Config, log *slog.Logger) (sdkmetric.Reader, error) {
	headers, err := config.headers()
	if err != nil {
		return nil, err
	}
	exporter, err := otlpmetrichttp.New(context.Background(), // it connects with the first export
		otlpmetrichttp.WithEndpointURL(strings.TrimSuffix(config.OTLPEndpoint, "/")+"/v1/metrics"),
		otlpmetrichttp.WithHeaders(headers), otlpmetrichttp.WithTimeout(exportTimeout),
		otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: exportTimeout, MaxElapsedTime: exportTimeout}),
	)
	if err != nil {
		return nil, fmt.Errorf("otlp-endpoint: %w", err)
	}
	return sdkmetric.NewPeriodicReader(&said{Exporter: exporter, log: log},
		sdkmetric.WithInterval(config.OTLPInterval), sdkmetric.WithTimeout(exportTimeout)), nil
}

// said is an exporter whose failures are logged, once until it works again, and go no further: the SDK would hand them to a handler of the whole
// process.
type said struct {
	sdkmetric.Exporter
	log    *slog.Logger
	broken atomic.Bool
}

// Export sends one collection. It returns no error.
func (s *said) Export(ctx context.Context, metrics *metricdata.ResourceMetrics) error {
	err := s.Exporter.Export(ctx, metrics)
	if was := s.broken.Swap(err != nil); err != nil && !was {
		s.log.WarnContext(ctx, "metrics are not exported", slog.Any("error", err))
	} else if err == nil && was {
		s.log.InfoContext(ctx, "metrics are exported again")
	}
	return nil
}
