package tracing_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// span is what was exported of one, with the service that did.
type span struct {
	*tracev1.Span

	service string
}

func (s span) id() string     { return hex.EncodeToString(s.GetSpanId()) }
func (s span) parent() string { return hex.EncodeToString(s.GetParentSpanId()) }
func (s span) trace() string  { return hex.EncodeToString(s.GetTraceId()) }

// links lists the ids of the spans that it is linked to.
func (s span) links() []string {
	var all []string
	for _, l := range s.GetLinks() {
		all = append(all, hex.EncodeToString(l.GetSpanId()))
	}
	return all
}

func (s span) attribute(key string) (*commonv1.AnyValue, bool) {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == key {
			return a.GetValue(), true
		}
	}
	return nil, false
}

func (s span) String() string {
	return fmt.Sprintf("%s: %s %s (%s < %s, %d links)", s.service, s.GetName(), s.GetKind(), s.id(), s.parent(), len(s.GetLinks()))
}

// collector takes OTLP over HTTP, as any product would.
type collector struct {
	*httptest.Server

	mu      sync.Mutex
	spans   []span
	raw     bytes.Buffer  // all that was exported as traces
	arrived chan struct{} // closed, and replaced, when something comes
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{arrived: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", c.take)
	mux.HandleFunc("POST /v1/metrics", func(http.ResponseWriter, *http.Request) {})
	c.Server = httptest.NewServer(mux)
	t.Cleanup(c.Close)
	return c
}

func (c *collector) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var data tracev1.TracesData // the same on the wire as an ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(body, &data) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.Write(body)
	for _, of := range data.GetResourceSpans() {
		service := ""
		for _, a := range of.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, span{Span: s, service: service})
			}
		}
	}
	close(c.arrived)
	c.arrived = make(chan struct{})
}

// all returns what has come so far, and what closes when more does.
func (c *collector) all() (spans []span, more <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans), c.arrived
}

// find waits for a span.
func (c *collector) find(ctx context.Context, t *testing.T, what string, wanted func(span) bool) span {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		spans, more := c.all()
		for _, s := range spans {
			if wanted(s) {
				return s
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatalf("no %s among\n%v", what, spans)
		}
	}
}

// comes says whether there is such a span within a time.
func (c *collector) comes(ctx context.Context, within time.Duration, wanted func(span) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		spans, more := c.all()
		if slices.ContainsFunc(spans, wanted) {
			return true
		}
		select {
		case <-more:
		case <-ctx.Done():
			return false
		}
	}
}

// under waits for a span of a service with this name and parent.
func (c *collector) under(ctx context.Context, t *testing.T, parent span, service, name string, kind tracev1.Span_SpanKind) span {
	t.Helper()
	return c.find(ctx, t, service+": "+name+" under "+parent.String(), func(s span) bool {
		return s.service == service && s.GetName() == name && s.GetKind() == kind && s.parent() == parent.id() && s.trace() == parent.trace()
	})
}
