package tracing_test

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/streamhouse/streamhouse/serve/tracing"
)

// recorder keeps what ends.
func recorder(t testing.TB, share float64) (*tracing.Tracer, *tracetest.SpanRecorder) {
	t.Helper()
	r := tracetest.NewSpanRecorder()
	p := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(r))
	t.Cleanup(func() { _ = p.Shutdown(context.Background()) })
	return tracing.New(p, share), r
}

func TestWhatCarriesOthersOnIsLinkedToAllOfThemWithinABound(t *testing.T) {
	t.Parallel()
	tracer, ended := recorder(t, 1)
	var links tracing.Links
	var calls []trace.Span
	for range tracing.MaxLinks + 3 {
		_, call := tracer.Rare(t.Context(), "call")
		links.Add(call)
		links.Add(call) // a call with several batches
		calls = append(calls, call)
	}
	links.Add(nil)
	_, flush := tracer.Carry(t.Context(), &links, "flush")
	flush.End()
	got := ended.Ended()[0]
	if len(got.Links()) != tracing.MaxLinks || got.Links()[1].SpanContext.SpanID() != calls[1].SpanContext().SpanID() {
		t.Errorf("%d links", len(got.Links()))
	}
	if got.Parent().SpanID() != calls[0].SpanContext().SpanID() {
		t.Error("it is not the child of the first")
	}
	if want := attribute.Int(tracing.DroppedLinks, 3); got.Attributes()[0] != want {
		t.Errorf("attributes %v", got.Attributes())
	}
	for i, call := range calls {
		call.End()
		back := ended.Ended()[i+1].Links()
		if i < tracing.MaxLinks != (len(back) == 1 && back[0].SpanContext.SpanID() == got.SpanContext().SpanID()) {
			t.Fatalf("call %d has the links %v", i, back)
		}
	}
}

func TestNothingIsBegunWhereNothingIsTraced(t *testing.T) {
	t.Parallel()
	tracer, _ := recorder(t, 0)
	for name, tracer := range map[string]*tracing.Tracer{"nil": nil, "a share of 0": tracer} {
		if ctx, span := tracer.Inside(t.Context(), "x", trace.SpanKindClient); ctx != t.Context() || span.IsRecording() {
			t.Errorf("%s: inside", name)
		}
		if ctx, span := tracer.Rare(t.Context(), "x"); ctx != t.Context() || span.IsRecording() {
			t.Errorf("%s: rare", name)
		}
		if ctx, span := tracer.Carry(t.Context(), new(tracing.Links), "x"); ctx != t.Context() || span.IsRecording() {
			t.Errorf("%s: carry", name)
		}
		if tracing.Of(t.Context()) != nil {
			t.Errorf("%s: of", name)
		}
	}
}

// What is not sampled costs no allocation, whatever the tracer.
func TestWhatIsNotTracedAllocatesNothing(t *testing.T) {
	tracer, _ := recorder(t, 0)
	ctx := t.Context()
	var links tracing.Links
	if n := testing.AllocsPerRun(100, func() {
		ctx, span := tracer.Inside(ctx, "put", trace.SpanKindClient)
		links.Add(tracing.Of(ctx))
		_, carried := tracer.Carry(ctx, &links, "flush")
		carried.End()
		span.End()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
