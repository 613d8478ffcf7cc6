package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// MaxLinks bounds the links of a span; those beyond are counted.
const MaxLinks = 128

// DroppedLinks is the attribute that counts the links that a span has no room for.
const DroppedLinks = "streamhouse.dropped_links"

// Links are the spans that a piece of work carries on. The zero Links has none. One goroutine at a time uses it.
type Links struct {
	spans   []trace.Span
	last    trace.Span
	dropped int
}

// Add adds a span, once if it comes several times in a row; nil adds nothing.
func (l *Links) Add(span trace.Span) {
	if span == nil || span == l.last {
		return
	}
	l.last = span
	if len(l.spans) == MaxLinks {
		l.dropped++
		return
	}
	l.spans = append(l.spans, span)
}

// None tells whether there are no links.
func (l *Links) None() bool { return len(l.spans) == 0 }

// Carry begins a span for work that carries others on: the child of the first, linked to all of them; and it is linked from all of them that
// have not ended. Without any, nothing is begun.
func (t *Tracer) Carry(ctx context.Context, l *Links, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	if t == nil || l.None() {
		return ctx, none
	}
	links := make([]trace.Link, len(l.spans))
	for i, s := range l.spans {
		links[i] = trace.Link{SpanContext: s.SpanContext()}
	}
	ctx = trace.ContextWithSpanContext(ctx, l.spans[0].SpanContext())
	ctx, span := t.tracer.Start(ctx, name, append(options, trace.WithLinks(links...))...)
	if l.dropped > 0 {
		span.SetAttributes(attribute.Int(DroppedLinks, l.dropped))
	}
	for _, s := range l.spans {
		s.AddLink(trace.Link{SpanContext: span.SpanContext()})
	}
	return ctx, span
}
