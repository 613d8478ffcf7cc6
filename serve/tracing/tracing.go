// Package tracing decides what is traced, and begins the spans of it. Everything that makes spans is handed a *Tracer; a nil one traces nothing.
//
// What is not traced costs nothing: whether something is, is decided before anything is made for it, by a look at the caller's header or at
// the context, and at the root of a trace by lot. So the zero case allocates nothing and takes no lock, whatever the tracer behind it does.
//
//	a call that comes with a trace          is traced if its caller says so (W3C traceparent)
//	a call of a client that comes without   begins a trace for a share of all (Config of package telemetry)
//	a call of another part without          begins none: its caller has decided
//	work that carries many calls on         is traced if one of them is: its span is that one's child, and linked to all, up to MaxLinks
//	rare work of a part's own               begins a trace whenever anything is traced at all
//
// No span has a record's key or value, an API key, or what a caller has sent; attributes are named as the fields of proto/ are.
//
// Promises: none. Read: tracing.go, links.go, rpc.go.
package tracing

import (
	"context"
	"math/rand/v2"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Scope is the name of the instrumentation.
const Scope = "github.com/streamhouse/streamhouse"

// Tracer begins spans. It is safe for concurrent use; nil traces nothing.
type Tracer struct {
	provider trace.TracerProvider
	tracer   trace.Tracer
	share    float64
}

// New returns a tracer whose spans go to provider, which must record whatever is begun: the choice is made here. share is the part of the calls
// without a trace of their own that begin one, 0 to 1.
func New(provider trace.TracerProvider, share float64) *Tracer {
	return &Tracer{provider: provider, tracer: provider.Tracer(Scope), share: share}
}

// none is a span that records nothing. It is one value, so that handing it out allocates nothing.
var none trace.Span = noop.Span{}

// None is a span that records nothing.
func None() trace.Span { return none }

// Sampled tells whether the context is in a trace that is kept.
func Sampled(ctx context.Context) bool { return trace.SpanContextFromContext(ctx).IsSampled() }

// Of is the context's span if it is kept, else nil.
func Of(ctx context.Context) trace.Span {
	if span := trace.SpanFromContext(ctx); span.SpanContext().IsSampled() {
		return span
	}
	return nil
}

// Inside begins a span within the context's, if that is kept; else the context is returned as it is, with a span that records nothing. The
// caller ends the span. Attributes are set by the caller where the span IsRecording: arguments that are made for nothing would be a cost.
func (t *Tracer) Inside(ctx context.Context, name string, kind trace.SpanKind) (context.Context, trace.Span) {
	if t == nil || !Sampled(ctx) {
		return ctx, none
	}
	return t.tracer.Start(ctx, name, trace.WithSpanKind(kind)) //nolint:spancheck // the caller ends it
}

// Rare begins a span for work of this process's own that happens seldom: a trace of its own, unless the context has one.
func (t *Tracer) Rare(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	if t == nil || (t.share == 0 && !Sampled(ctx)) {
		return ctx, none
	}
	return t.tracer.Start(ctx, name, options...) //nolint:spancheck // the caller ends it
}

// lot tells whether a call without a trace begins one.
func (t *Tracer) lot() bool { return t.share > 0 && (t.share >= 1 || rand.Float64() < t.share) }

// Fail ends nothing; it notes an error in a span: its type, never its text, which may hold what a caller has sent.
func Fail(span trace.Span, kind string) {
	if span.IsRecording() {
		span.SetStatus(codes.Error, "")
		span.SetAttributes(attribute.String("error.type", kind))
	}
}
