// Package traces is a small collector for a cluster on one's own machine: it takes OTLP over HTTP, keeps the newest spans in memory, and draws a trace as
// a tree, so that a trace can be looked at without any other product. Nothing here is meant for production: spans are lost with the process.
// Read: traces.go, tree.go.
package traces

import (
	"cmp"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	// maxSpans are kept; the oldest give way.
	maxSpans = 50_000
	// maxBody bounds one export.
	maxBody       = 16 << 20
	headerTimeout = 10 * time.Second
	stopTimeout   = time.Second
)

// Span is a span as people see it. Stable.
type Span struct {
	TraceID    string            `json:"trace_id"`
	SpanID     string            `json:"span_id"`
	ParentID   string            `json:"parent_id,omitempty"`
	Name       string            `json:"name"`
	Service    string            `json:"service"`
	Instance   string            `json:"instance,omitempty"`
	Start      time.Time         `json:"start"`
	DurationUs int64             `json:"duration_us"`
	Failed     bool              `json:"failed,omitempty"`
	Attributes map[string]string `json:"attributes"`
	Links      []Link            `json:"links,omitempty"`
}

// Link is another span that a span is about.
type Link struct {
	TraceID string `json:"trace_id"`
	SpanID  string `json:"span_id"`
}

// Summary is a trace in a list. Stable.
type Summary struct {
	TraceID    string    `json:"trace_id"`
	Start      time.Time `json:"start"`
	DurationUs int64     `json:"duration_us"`
	Spans      int       `json:"spans"`
	Root       string    `json:"root"`
	Service    string    `json:"service"`
	Failed     bool      `json:"failed,omitempty"`
}

// Collector keeps spans. Make it with Listen, and Run it.
type Collector struct {
	listener net.Listener

	mu    sync.Mutex // guards all below
	spans []Span     // a ring once it is full
	next  int        // where the next one goes then
}

// Listen binds a free port of this machine.
func Listen() (*Collector, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("collect traces: %w", err)
	}
	return &Collector{listener: listener}, nil
}

// URL is its base URL, for --otlp-endpoint.
func (c *Collector) URL() string { return "http://" + c.listener.Addr().String() }

// Run serves until the context ends.
func (c *Collector) Run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", c.take)
	mux.HandleFunc("POST /v1/metrics", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxBody))
	})
	mux.HandleFunc("GET /traces", c.serveList)
	mux.HandleFunc("GET /traces/{id}", func(w http.ResponseWriter, r *http.Request) { writeJSON(w, c.Trace(r.PathValue("id"))) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	})
	err := server.Serve(c.listener)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("collect traces: %w", err)
}

func (c *Collector) serveList(w http.ResponseWriter, r *http.Request) {
	most, err := strconv.Atoi(cmp.Or(r.URL.Query().Get("limit"), "20"))
	if err != nil || most < 1 {
		http.Error(w, "limit: must be a number above 0", http.StatusBadRequest)
		return
	}
	writeJSON(w, c.List(most))
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value) //nolint:errchkjson // all of it can be encoded; a caller that has gone away wants no answer
}

// take is the OTLP receiver.
func (c *Collector) take(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(http.MaxBytesReader(w, r.Body, maxBody))
	if r.Header.Get("Content-Encoding") == "gzip" {
		plain, err := gzip.NewReader(body)
		if err != nil {
			http.Error(w, "not gzip", http.StatusBadRequest)
			return
		}
		body = io.LimitReader(plain, maxBody)
	}
	raw, err := io.ReadAll(body)
	var data tracev1.TracesData // the same on the wire as an ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(raw, &data) != nil {
		http.Error(w, "not OTLP in protobuf", http.StatusBadRequest)
		return
	}
	for _, of := range data.GetResourceSpans() {
		about := attributes(of.GetResource().GetAttributes())
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.add(spanOf(s, about["service.name"], about["service.instance.id"]))
			}
		}
	}
}

func spanOf(s *tracev1.Span, service, instance string) Span {
	out := Span{
		TraceID: hex.EncodeToString(s.GetTraceId()), SpanID: hex.EncodeToString(s.GetSpanId()), ParentID: hex.EncodeToString(s.GetParentSpanId()),
		Name: s.GetName(), Service: service, Instance: instance, Start: time.Unix(0, int64(s.GetStartTimeUnixNano())).UTC(),
		DurationUs: int64(s.GetEndTimeUnixNano()-s.GetStartTimeUnixNano()) / 1000,
		Failed:     s.GetStatus().GetCode() == tracev1.Status_STATUS_CODE_ERROR, Attributes: attributes(s.GetAttributes()),
	}
	for _, l := range s.GetLinks() {
		out.Links = append(out.Links, Link{TraceID: hex.EncodeToString(l.GetTraceId()), SpanID: hex.EncodeToString(l.GetSpanId())})
	}
	return out
}

func attributes(list []*commonv1.KeyValue) map[string]string {
	all := make(map[string]string, len(list))
	for _, a := range list {
		switch v := a.GetValue().GetValue().(type) {
		case *commonv1.AnyValue_StringValue:
			all[a.GetKey()] = v.StringValue
		case *commonv1.AnyValue_IntValue:
			all[a.GetKey()] = strconv.FormatInt(v.IntValue, 10)
		case *commonv1.AnyValue_BoolValue:
			all[a.GetKey()] = strconv.FormatBool(v.BoolValue)
		case *commonv1.AnyValue_DoubleValue:
			all[a.GetKey()] = strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
		case *commonv1.AnyValue_ArrayValue:
			var parts []string
			for _, one := range v.ArrayValue.GetValues() {
				parts = append(parts, one.GetStringValue())
			}
			all[a.GetKey()] = strings.Join(parts, " ")
		}
	}
	return all
}

func (c *Collector) add(s Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spans) < maxSpans {
		c.spans = append(c.spans, s)
		return
	}
	c.spans[c.next] = s
	c.next = (c.next + 1) % maxSpans
}

// Trace is what is kept of a trace, or of all whose id begins so, by start.
func (c *Collector) Trace(id string) []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := []Span{}
	for _, s := range c.spans {
		if id != "" && len(s.TraceID) >= len(id) && s.TraceID[:len(id)] == id {
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return all
}

// List is the newest traces, the newest first.
func (c *Collector) List(most int) []Summary {
	c.mu.Lock()
	defer c.mu.Unlock()
	byID := map[string]*Summary{}
	ends := map[string]time.Time{}
	for _, s := range c.spans {
		t := byID[s.TraceID]
		if t == nil {
			t = &Summary{TraceID: s.TraceID, Start: s.Start, Root: s.Name, Service: s.Service}
			byID[s.TraceID] = t
		}
		t.Spans++
		t.Failed = t.Failed || s.Failed
		if s.Start.Before(t.Start) {
			t.Start, t.Root, t.Service = s.Start, s.Name, s.Service
		}
		if end := s.Start.Add(time.Duration(s.DurationUs) * time.Microsecond); end.After(ends[s.TraceID]) {
			ends[s.TraceID] = end
		}
	}
	all := make([]Summary, 0, len(byID))
	for id, t := range byID {
		t.DurationUs = ends[id].Sub(t.Start).Microseconds()
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b Summary) int { return cmp.Or(b.Start.Compare(a.Start), cmp.Compare(a.TraceID, b.TraceID)) })
	return all[:min(most, len(all))]
}
