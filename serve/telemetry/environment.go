package telemetry

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/streamhouse/streamhouse/serve/secret"
)

// withEnvironment fills what the configuration leaves open from OpenTelemetry's own variables. What they say and we cannot use (another
// protocol's endpoint, a sampler that we do not have) is left out: they are for every program of the machine, and may be meant for others.
func (c Config) withEnvironment(get func(string) string) Config {
	if get("OTEL_SDK_DISABLED") == "true" {
		c.OTLPEndpoint = ""
		return c
	}
	if c.OTLPEndpoint == "" {
		c.OTLPEndpoint = get("OTEL_EXPORTER_OTLP_ENDPOINT")
		if p := get("OTEL_EXPORTER_OTLP_PROTOCOL"); p != "" && p != "http/protobuf" || c.Validate() != nil {
			c.OTLPEndpoint = ""
		}
	}
	if c.OTLPEndpoint != "" && c.OTLPHeaders.Empty() {
		headers := secret.New(unescape(get("OTEL_EXPORTER_OTLP_HEADERS")))
		if (Config{OTLPHeaders: headers}).Validate() == nil {
			c.OTLPHeaders = headers
		}
	}
	if c.TraceSample == defaultSample {
		c.TraceSample = sampler(get("OTEL_TRACES_SAMPLER"), get("OTEL_TRACES_SAMPLER_ARG"))
	}
	return c
}

// unescape: values of that variable are encoded as in a URL.
func unescape(headers string) string {
	pairs := strings.Split(headers, ",")
	for i, pair := range pairs {
		if plain, err := url.PathUnescape(pair); err == nil {
			pairs[i] = plain
		}
	}
	return strings.Join(pairs, ",")
}

// sampler is the share that OTEL_TRACES_SAMPLER stands for.
func sampler(name, argument string) float64 {
	switch strings.TrimPrefix(name, "parentbased_") {
	case "always_on":
		return 1
	case "always_off":
		return 0
	case "traceidratio":
		if argument == "" {
			return 1
		}
		if share, err := strconv.ParseFloat(argument, 64); err == nil && share >= 0 && share <= 1 {
			return share
		}
	}
	return defaultSample
}
