package traces

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func text(key, value string) *commonv1.KeyValue {
	return &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: value}}}
}

func exported(trace, id, parent byte, name string, start, end uint64) *tracev1.Span {
	s := &tracev1.Span{
		TraceId: bytes.Repeat([]byte{trace}, 16), SpanId: bytes.Repeat([]byte{id}, 8), Name: name, StartTimeUnixNano: start, EndTimeUnixNano: end,
	}
	if parent != 0 {
		s.ParentSpanId = bytes.Repeat([]byte{parent}, 8)
	}
	return s
}

func post(t *testing.T, url string, body []byte) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func get[T any](t *testing.T, url string) (answer T) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestWhatIsExportedIsListedAndDrawn(t *testing.T) {
	c, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	flush := exported(1, 3, 2, "flush", 3000, 9000)
	flush.Attributes = []*commonv1.KeyValue{text("streamhouse.flush.reason", "idle"), text("host.name", "h")}
	flush.Links = []*tracev1.Span_Link{{TraceId: bytes.Repeat([]byte{2}, 16), SpanId: bytes.Repeat([]byte{9}, 8)}}
	flush.Status = &tracev1.Status{Code: tracev1.Status_STATUS_CODE_ERROR}
	body, err := proto.Marshal(&tracev1.TracesData{ResourceSpans: []*tracev1.ResourceSpans{{
		Resource: &resourcev1.Resource{Attributes: []*commonv1.KeyValue{text("service.name", "agent")}},
		ScopeSpans: []*tracev1.ScopeSpans{{Spans: []*tracev1.Span{
			flush, exported(1, 4, 2, "first", 2500, 2600), exported(1, 2, 1, "produce", 2000, 12000), exported(1, 5, 3, "put", 4000, 8000),
			exported(2, 9, 0, "later", 20000, 30000),
		}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if status := post(t, c.URL()+"/v1/traces", body); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	if status := post(t, c.URL()+"/v1/traces", []byte("nonsense")); status != http.StatusBadRequest {
		t.Errorf("nonsense: status %d", status)
	}
	list := get[[]Summary](t, c.URL()+"/traces")
	if len(list) != 2 || list[0].Root != "later" || list[1].Root != "produce" || list[1].Spans != 4 || !list[1].Failed || list[1].DurationUs != 10 {
		t.Errorf("list %+v", list)
	}
	if len(get[[]Summary](t, c.URL()+"/traces?limit=1")) != 1 {
		t.Error("the limit is not kept")
	}
	lines := Tree(get[[]Span](t, c.URL()+"/traces/0101"))
	var drawn []string
	for _, l := range lines {
		drawn = append(drawn, l.Tree)
	}
	want := []string{"produce", "├─ first", "└─ flush", "   └─ put"}
	if strings.Join(drawn, "\n") != strings.Join(want, "\n") {
		t.Errorf("drawn\n%s\nwant\n%s", strings.Join(drawn, "\n"), strings.Join(want, "\n"))
	}
	if got := lines[2].Details(); got != "FAILED flush.reason=idle → trace 02020202" || lines[2].After != time.Microsecond {
		t.Errorf("details %q, after %v", got, lines[2].After)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTheOldestSpansGiveWay(t *testing.T) {
	c := &Collector{}
	for i := range maxSpans + 10 {
		c.add(Span{TraceID: "t", SpanID: string(rune(i))})
	}
	if len(c.spans) != maxSpans || c.next != 10 {
		t.Errorf("%d spans, next %d", len(c.spans), c.next)
	}
}

func TestACircleEnds(t *testing.T) {
	lines := Tree([]Span{{SpanID: "a", ParentID: "b"}, {SpanID: "b", ParentID: "a"}, {SpanID: "c", ParentID: "c"}})
	if len(lines) != 1 || lines[0].SpanID != "c" {
		t.Errorf("drawn %v", lines)
	}
}
