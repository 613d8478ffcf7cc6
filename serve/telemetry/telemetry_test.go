package telemetry_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metricsv1 "go.opentelemetry.io/proto/otlp/metrics/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/streamhouse/streamhouse/serve/secret"
	"github.com/streamhouse/streamhouse/serve/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var who = telemetry.Identity{Service: "streamhouse-test", Version: "v1", Attributes: map[string]string{"streamhouse.zone": "a"}}

func provider(t *testing.T, config telemetry.Config, log io.Writer) *telemetry.Provider {
	t.Helper()
	p, err := telemetry.New(config, who, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(t.Context()) })
	return p
}

func count(t *testing.T, p *telemetry.Provider, n int64) {
	t.Helper()
	counter, err := p.Meter().Int64Counter("streamhouse.test.bytes", metric.WithUnit("By"))
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), n, metric.WithAttributeSet(attribute.NewSet(attribute.String("zone", "a"))))
}

func TestMetricsAreServedToAnyone(t *testing.T) {
	t.Parallel()
	p := provider(t, telemetry.DefaultConfig(), io.Discard)
	count(t, p, 7)
	mux := http.NewServeMux()
	p.Mount(mux)
	response := httptest.NewRecorder()
	mux.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text := response.Body.String()
	for _, want := range []string{
		`streamhouse_test_bytes_total{zone="a"} 7`, `service_name="streamhouse-test"`, `streamhouse_zone="a"`,
		"go_goroutine_count", `process_cpu_time_seconds_total{cpu_mode="user"}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

// TestWhoAsksForOpenMetricsGetsTheTracesBehindAHistogram: what was recorded within a traced call has that call's trace id beside it.
func TestWhoAsksForOpenMetricsGetsTheTracesBehindAHistogram(t *testing.T) {
	t.Parallel()
	p := provider(t, telemetry.DefaultConfig(), io.Discard)
	took, err := p.Meter().Float64Histogram("streamhouse.test.duration", metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	call := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{0xab}, SpanID: trace.SpanID{0xcd}, TraceFlags: trace.FlagsSampled})
	took.Record(trace.ContextWithSpanContext(t.Context(), call), 0.5)
	mux := http.NewServeMux()
	p.Mount(mux)
	for accept, wanted := range map[string]bool{"application/openmetrics-text; version=1.0.0": true, "text/plain": false} {
		request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		request.Header.Set("Accept", accept)
		response := httptest.NewRecorder()
		mux.ServeHTTP(response, request)
		if got := strings.Contains(response.Body.String(), `trace_id="`+call.TraceID().String()+`"`); got != wanted {
			t.Errorf("%s: trace %v\n%s", accept, got, response.Body.String())
		}
	}
}

func TestNoMetricsIsNoMetrics(t *testing.T) {
	t.Parallel()
	p := provider(t, telemetry.Config{}, io.Discard)
	count(t, p, 7)
	mux := http.NewServeMux()
	p.Mount(mux)
	response := httptest.NewRecorder()
	mux.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if response.Code != http.StatusNotFound {
		t.Errorf("status %d", response.Code)
	}
}

// collector takes OTLP exports, or refuses them.
type collector struct {
	*httptest.Server

	mu     sync.Mutex
	refuse bool
	header http.Header
	got    []*metricsv1.ResourceMetrics
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		var export collectorv1.ExportMetricsServiceRequest
		if c.refuse || r.URL.Path != "/v1/metrics" || proto.Unmarshal(body, &export) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.header, c.got = r.Header, append(c.got, export.GetResourceMetrics()...)
	}))
	t.Cleanup(c.Close)
	return c
}

func TestMetricsGoToACollector(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	p := provider(t, telemetry.Config{
		OTLPEndpoint: c.URL + "/", OTLPHeaders: secret.New("authorization=Bearer x,tenant=y"), OTLPInterval: time.Minute,
	}, io.Discard)
	count(t, p, 7)
	if err := p.Close(t.Context()); err != nil { // the last export is at the close
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.header.Get("Authorization") != "Bearer x" || c.header.Get("Tenant") != "y" {
		t.Errorf("headers %v", c.header)
	}
	if !strings.Contains(c.got[0].GetResource().String(), "streamhouse-test") || !exported(c.got[0], "streamhouse.test.bytes") {
		t.Errorf("exported %v", c.got)
	}
}

func exported(metrics *metricsv1.ResourceMetrics, name string) bool {
	for _, scope := range metrics.GetScopeMetrics() {
		for _, m := range scope.GetMetrics() {
			if m.GetName() == name {
				return true
			}
		}
	}
	return false
}

func TestABrokenCollectorIsSaidOnceAndCostsNothing(t *testing.T) {
	t.Parallel()
	c := newCollector(t)
	c.refuse = true
	var log strings.Builder
	p := provider(t, telemetry.Config{OTLPEndpoint: c.URL, OTLPInterval: time.Minute}, &log)
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	if n := strings.Count(log.String(), "metrics are not exported"); n != 1 {
		t.Errorf("said %d times: %s", n, log.String())
	}
}

func TestConfigSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, bad := range []telemetry.Config{
		{OTLPEndpoint: "localhost:4318", OTLPInterval: time.Minute},
		{OTLPEndpoint: "ftp://localhost", OTLPInterval: time.Minute},
		{OTLPEndpoint: "http://localhost:4318"},
		{OTLPEndpoint: "http://localhost:4318", OTLPInterval: time.Hour},
		{OTLPHeaders: secret.New("nonsense")},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
	if err := telemetry.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
}
