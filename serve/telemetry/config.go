// Package telemetry makes a process's meters and its tracer, and takes what they found out of it: metrics as Prometheus' text at /metrics of the
// listener, to anyone who reaches it; metrics and spans as OTLP to a collector, if one is configured. The Go runtime and the process are measured
// here; everything else is measured where it happens, through a metric.Meter. What is traced is decided in package tracing.
// Nothing here knows what a number means, and no label may have unbounded values: never a client, never a topic with its partition.
//
// Promises: none. A collector that is slow or gone costs no caller anything.
// Read: config.go, environment.go, telemetry.go, export.go, traces.go, process.go.
package telemetry

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/streamhouse/streamhouse/serve/secret"
)

// Config of what leaves the process. The tags are those of package config.
type Config struct {
	Metrics      bool          `default:"true"        help:"Serve metrics at /metrics of the listener, in Prometheus' format. They need no API key and name no topic: who reaches the port reads them."                  negatable:""`
	OTLPEndpoint string        `help:"Base URL of an OpenTelemetry collector, e.g. http://localhost:4318; metrics are posted to /v1/metrics below it, spans to /v1/traces (OTLP over HTTP, protobuf). Empty: OTEL_EXPORTER_OTLP_ENDPOINT; if that is empty, too, none." placeholder:"URL"`
	OTLPHeaders  secret.Secret `help:"Headers for the collector, e.g. authorization=Bearer x,tenant=y. Empty: OTEL_EXPORTER_OTLP_HEADERS."                                                                                                   placeholder:"NAME=VALUE,..."`
	OTLPInterval time.Duration `default:"15s"         help:"Time between two exports to the collector, 1s to 10m."`
	TraceSample  float64       `default:"0.01"        help:"Share of clients' calls that begin a trace, 0 to 1, where a collector is configured. Calls that come with a trace follow it, whatever this says; 0: nothing else is traced."     placeholder:"SHARE"`
}

// DefaultConfig serves /metrics and exports nothing.
func DefaultConfig() Config {
	return Config{Metrics: true, OTLPInterval: 15 * time.Second, TraceSample: defaultSample}
}

const (
	defaultSample = 0.01

	minInterval = time.Second
	maxInterval = 10 * time.Minute
)

// Validate says what is wrong.
func (c Config) Validate() error {
	var faults []error
	if c.OTLPEndpoint != "" {
		u, err := url.Parse(c.OTLPEndpoint)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			faults = append(faults, fmt.Errorf("otlp-endpoint: %q must be http://host[:port][/path] or https://host[:port][/path]", c.OTLPEndpoint))
		}
		if c.OTLPInterval < minInterval || c.OTLPInterval > maxInterval {
			faults = append(faults, fmt.Errorf("otlp-interval: %v is not between %v and %v", c.OTLPInterval, minInterval, maxInterval))
		}
	}
	if !(c.TraceSample >= 0 && c.TraceSample <= 1) { // NaN is not
		faults = append(faults, fmt.Errorf("trace-sample: %v is not between 0 and 1", c.TraceSample))
	}
	if _, err := c.headers(); err != nil {
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

var errHeaders = errors.New("otlp-headers: must be name=value, separated by commas") // the value is a secret: it is not shown

func (c Config) headers() (map[string]string, error) {
	headers := map[string]string{}
	if c.OTLPHeaders.Empty() {
		return headers, nil
	}
	for pair := range strings.SplitSeq(c.OTLPHeaders.Reveal(), ",") {
		name, value, found := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		if !found || name == "" || strings.ContainsAny(name+value, "\r\n") {
			return nil, errHeaders
		}
		headers[name] = strings.TrimSpace(value)
	}
	return headers, nil
}
