// Package telemetry makes a process's meters, and takes what they measured out of it: as Prometheus' text at /metrics of the listener, to anyone who
// reaches it, and as OTLP to a collector, if one is configured. The Go runtime and the process are measured here; everything else is measured
// where it happens, through a metric.Meter.
// Nothing here knows what a number means, and no label may have unbounded values: never a client, never a topic with its partition.
//
// Promises: none. A collector that is slow or gone costs no caller anything.
// Read: config.go, telemetry.go, export.go, process.go.
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
	OTLPEndpoint string        `help:"Base URL of an OpenTelemetry collector, e.g. http://localhost:4318; metrics are posted to /v1/metrics below it (OTLP over HTTP, protobuf). Empty: none."         placeholder:"URL"`
	OTLPHeaders  secret.Secret `help:"Headers for the collector, e.g. authorization=Bearer x,tenant=y."                                                                                                   placeholder:"NAME=VALUE,..."`
	OTLPInterval time.Duration `default:"15s"         help:"Time between two exports to the collector, 1s to 10m."`
}

// DefaultConfig serves /metrics and exports nothing.
func DefaultConfig() Config { return Config{Metrics: true, OTLPInterval: 15 * time.Second} }

const (
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
