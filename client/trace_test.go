package client

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

func TestTraceContextIsReadFromHeaders(t *testing.T) {
	t.Parallel()
	id, span := strings.Repeat("ab", 16), strings.Repeat("cd", 8)
	for text, want := range map[string]struct{ valid, sampled bool }{
		"00-" + id + "-" + span + "-01":                      {true, true},
		"00-" + id + "-" + span + "-00":                      {true, false},
		"01-" + id + "-" + span + "-01-more":                 {true, true},
		"00-" + id + "-" + span + "-01-more":                 {},
		"ff-" + id + "-" + span + "-01":                      {},
		"00-" + strings.Repeat("0", 32) + "-" + span + "-01": {},
		"00-" + id + "-" + strings.Repeat("0", 16) + "-01":   {},
		"00-" + strings.Repeat("x", 32) + "-" + span + "-01": {},
		"00-" + id + "-" + span:                              {},
		"":                                                   {},
		strings.Repeat("-", 55):                              {},
	} {
		r := &Record{Headers: []Header{{Key: "other"}, {Key: "traceparent", Value: []byte(text)}}}
		got := r.SpanContext()
		if got.IsValid() != want.valid || got.IsSampled() != want.sampled {
			t.Errorf("%q: valid %v, sampled %v", text, got.IsValid(), got.IsSampled())
		}
		if want.valid && (got.TraceID().String() != id || got.SpanID().String() != span || !got.IsRemote()) {
			t.Errorf("%q: %v", text, got)
		}
		if want.valid && text[:2] == "00" && parentOf(got) != text {
			t.Errorf("%q is written as %q", text, parentOf(got))
		}
	}
}

// Outside of a sampled trace the SDK makes nothing.
func TestWhatIsNotTracedAllocatesNothing(t *testing.T) {
	traced, err := newTracing(&config{tracers: noop.NewTracerProvider()})
	if err != nil {
		t.Fatal(err)
	}
	unsampled := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}}))
	records := []*Record{{Headers: []Header{{Key: "h"}}}, {}}
	for name, ctx := range map[string]context.Context{"no span": t.Context(), "a span that is not sampled": unsampled} {
		if n := testing.AllocsPerRun(100, func() {
			if traced.wanted(ctx) {
				t.Errorf("%s: traced", name)
			}
			traced.received(ctx, "t", records)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestTheShareOfTracesHasBounds(t *testing.T) {
	t.Parallel()
	for _, share := range []float64{-0.1, 1.1} {
		if _, err := New(WithTraceSample(share)); err == nil {
			t.Errorf("%v is taken", share)
		}
	}
}
