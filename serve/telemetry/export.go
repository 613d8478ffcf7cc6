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

// exportTimeout bounds one export, repeats included; retryAfter is the first wait between them.
const (
	exportTimeout = 10 * time.Second
	retryAfter    = time.Second
)

// export makes the reader that posts to a collector. It has a goroutine, which Shutdown ends.
func export(config Config, log *slog.Logger) (sdkmetric.Reader, error) {
	headers, err := config.headers()
	if err != nil {
		return nil, err
	}
	exporter, err := otlpmetrichttp.New(context.Background(), // it connects with the first export
		otlpmetrichttp.WithEndpointURL(strings.TrimSuffix(config.OTLPEndpoint, "/")+"/v1/metrics"),
		otlpmetrichttp.WithHeaders(headers), otlpmetrichttp.WithTimeout(exportTimeout),
		otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{Enabled: true, InitialInterval: retryAfter, MaxInterval: exportTimeout, MaxElapsedTime: exportTimeout}),
	)
	if err != nil {
		return nil, fmt.Errorf("otlp-endpoint: %w", err)
	}
	said := &saidMetrics{
		Exporter: exporter,
		saying:   saying{broke: "metrics are not exported", mended: "metrics are exported again", log: log},
	}
	return sdkmetric.NewPeriodicReader(said,
		sdkmetric.WithInterval(config.OTLPInterval), sdkmetric.WithTimeout(exportTimeout)), nil
}

// saying logs the failures of an exporter, once until it works again: the SDK would hand them to a handler of the whole process.
type saying struct {
	broke, mended string // the lines
	log           *slog.Logger
	broken        atomic.Bool
}

func (s *saying) say(ctx context.Context, err error) {
	if was := s.broken.Swap(err != nil); err != nil && !was {
		s.log.WarnContext(ctx, s.broke, slog.Any("error", err)) //nolint:sloglint // a constant of each exporter
	} else if err == nil && was {
		s.log.InfoContext(ctx, s.mended) //nolint:sloglint // likewise
	}
}

// saidMetrics is an exporter of metrics whose failures are logged and go no further.
type saidMetrics struct {
	sdkmetric.Exporter
	saying
}

// Export sends one collection. It returns no error.
func (s *saidMetrics) Export(ctx context.Context, metrics *metricdata.ResourceMetrics) error {
	s.say(ctx, s.Exporter.Export(ctx, metrics))
	return nil
}
