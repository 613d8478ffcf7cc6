package objectstore

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/streamhouse/streamhouse/serve/secret"
	"github.com/streamhouse/streamhouse/serve/tracing"
)

// Config says where the bucket is and how patient to be. Zero takes the default.
type Config struct {
	// Bucket is required.
	Bucket string
	// Endpoint is a URL, http or https; empty: AWS's for the region.
	Endpoint string
	// Region; empty: that of the environment, else us-east-1.
	Region string
	// PathStyle puts the bucket into the path, not into the host name; most servers but AWS want it.
	PathStyle bool
	// AccessKey and SecretKey; both empty: the SDK's chain (environment, profile, instance or task role).
	AccessKey string
	SecretKey secret.Secret

	// Attempts of one call, 1 to 20; default 5.
	Attempts int
	// AttemptTimeout bounds one attempt, 100 ms to 10 min, plus a second for each MiB that it moves; default 5 s.
	AttemptTimeout time.Duration
	// BackoffBase and BackoffMax bound the wait before attempt n: random in 0 to
	// min(BackoffMax, BackoffBase * 2^(n-2)). 1 ms to 1 min; defaults 50 ms and 2 s.
	BackoffBase time.Duration
	BackoffMax  time.Duration
	// MaxConnections open to the store, busy and idle, 1 to 4096; default 128. A call waits for a free one.
	MaxConnections int
	// Transport replaces the tuned HTTP transport; for tests with faults. MaxConnections does not reach it.
	Transport http.RoundTripper

	// Meter measures requests, Prices says what they cost, Tracer makes spans of them. Without them nothing does.
	Meter  metric.Meter
	Prices Prices
	Tracer *tracing.Tracer
}

func (c Config) withDefaults() Config {
	setDefault(&c.Attempts, 5)
	setDefault(&c.AttemptTimeout, 5*time.Second)
	setDefault(&c.BackoffBase, 50*time.Millisecond)
	setDefault(&c.BackoffMax, 2*time.Second)
	setDefault(&c.MaxConnections, 128)
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate says what is missing or out of bounds.
func (c Config) Validate() error {
	if c.Bucket == "" {
		return errors.New("bucket is required")
	}
	if (c.AccessKey == "") != c.SecretKey.Empty() {
		return errors.New("access key and secret key go together: give both or neither")
	}
	if err := validateEndpoint(c.Endpoint); err != nil {
		return err
	}
	c = c.withDefaults()
	return errors.Join(
		within("attempts", c.Attempts, 1, 20),
		within("attempt timeout", c.AttemptTimeout, 100*time.Millisecond, 10*time.Minute),
		within("backoff base", c.BackoffBase, time.Millisecond, time.Minute),
		within("backoff max", c.BackoffMax, c.BackoffBase, time.Minute),
		within("max connections", c.MaxConnections, 1, 4096),
	)
}

func validateEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return errors.New("endpoint must be a URL with http or https and a host") // not echoed: it may carry a password
	}
	return nil
}

func within[T int | time.Duration](name string, value, least, greatest T) error {
	if value < least || value > greatest {
		return fmt.Errorf("%s is %v: want %v to %v", name, value, least, greatest)
	}
	return nil
}
