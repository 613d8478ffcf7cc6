package client

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"slices"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// WithTracerProvider makes the SDK take part in traces. A record that is produced in a sampled span's context gets a span of its own ("send"),
// whose W3C context travels in the record's header "traceparent"; the requests that carry it on are traced, too, into the agents and the
// control plane. A consumer that polls such records makes a span ("receive") that is linked to theirs; see also [Record.SpanContext]. What is
// not in a sampled trace costs nothing and gets no header. The SDK needs OpenTelemetry's API alone; the provider is the program's.
func WithTracerProvider(p trace.TracerProvider) Option {
	return clientOption(func(c *config) { c.tracers = p })
}

// WithTraceSample has the SDK begin traces for a share of the records that are produced, and of the fetches, outside of any span: 0 to 1.
// Default: 0. The provider's sampler should keep what is begun.
func WithTraceSample(share float64) Option {
	return clientOption(func(c *config) { c.traceShare = share })
}

const (
	// maxLinks bounds the records that a span is linked to; those beyond are counted.
	maxLinks = 128
	// parentHeader and stateHeader are W3C's, in records and requests.
	parentHeader, stateHeader = "traceparent", "tracestate"
	droppedLinks              = "streamhouse.dropped_links"
)

// tracing makes the SDK's spans. nil traces nothing.
type tracing struct {
	tracer trace.Tracer
	share  float64
}

func newTracing(c *config) (*tracing, error) {
	if !(c.traceShare >= 0 && c.traceShare <= 1) { // NaN is not
		return nil, failure(ReasonMisconfigured, "trace sample %v: must be 0 to 1", c.traceShare)
	}
	if c.tracers == nil {
		return nil, nil //nolint:nilnil // nothing is traced
	}
	return &tracing{tracer: c.tracers.Tracer("github.com/streamhouse/streamhouse/client"), share: c.traceShare}, nil
}

// wanted tells whether something in this context is traced. It allocates nothing.
func (t *tracing) wanted(ctx context.Context) bool {
	if t == nil {
		return false
	}
	if parent := trace.SpanContextFromContext(ctx); parent.IsValid() {
		return parent.IsSampled()
	}
	return t.share > 0 && (t.share >= 1 || rand.Float64() < t.share)
}

// sending is a record with its span. It goes through the producer in place of the caller's, which gets no header.
type sending struct {
	record Record
	span   trace.Span
	caller *Record
	done   func(*Record, error)
	orphan func(*Record, *Error)
}

// send begins a record's span; nil: the provider does not want it.
func (t *tracing) send(ctx context.Context, r *Record, done func(*Record, error), orphan func(*Record, *Error)) *sending {
	_, span := t.tracer.Start(ctx, "send "+r.Topic, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		attribute.String("messaging.system", "streamhouse"), attribute.String("messaging.operation.name", "send"),
		attribute.String("messaging.operation.type", "send"), attribute.String("messaging.destination.name", r.Topic),
	))
	if !span.SpanContext().IsSampled() {
		span.End()
		return nil
	}
	s := &sending{record: *r, span: span, caller: r, done: done, orphan: orphan}
	s.record.sending = s
	if _, has := headerOf(r, parentHeader); !has { // else whoever produces has put one there
		s.record.Headers = append(slices.Clip(r.Headers), traceHeaders(span.SpanContext())...)
	}
	return s
}

// plain takes the header away again: the record has no room for it.
func (s *sending) plain() *Record {
	s.record.Headers = s.caller.Headers
	return &s.record
}

// answer is the done of the record.
func (s *sending) answer(r *Record, err error) {
	s.caller.Timestamp, s.caller.Partition, s.caller.Offset = r.Timestamp, r.Partition, r.Offset
	s.span.SetAttributes(attribute.Int("streamhouse.partition", int(r.Partition)), attribute.Int64("streamhouse.offset", r.Offset))
	failed(s.span, err)
	s.span.End()
	switch {
	case s.done != nil:
		s.done(s.caller, err)
	case err != nil:
		s.orphan(s.caller, err.(*Error)) //nolint:forcetypeassert,errorlint // the producer's errors are
	}
}

// failed notes why, by name: texts may hold what is nobody else's business.
func failed(span trace.Span, err error) {
	if err == nil {
		return
	}
	kind := "error"
	if e, ok := err.(*Error); ok { //nolint:errorlint // the producer's errors are
		kind = e.Reason.String()
	}
	span.SetStatus(codes.Error, "")
	span.SetAttributes(attribute.String("error.type", kind))
}

// request begins the span of a Produce request: the child of its first traced record's, linked to all of them, and from all of them.
func (t *tracing) request(ctx context.Context, a *attempt) (context.Context, trace.Span) {
	if t == nil {
		return ctx, nil
	}
	var records []trace.Span
	dropped := 0
	for _, e := range a.entries {
		dropped += e.batch.untraced
		room := min(maxLinks-len(records), len(e.batch.spans))
		records = append(records, e.batch.spans[:room]...)
		dropped += len(e.batch.spans) - room
	}
	if len(records) == 0 {
		return ctx, nil
	}
	links := make([]trace.Link, len(records))
	for i, s := range records {
		links[i].SpanContext = s.SpanContext()
	}
	ctx, span := t.tracer.Start(trace.ContextWithSpan(ctx, records[0]), "streamhouse.dataplane.v1.RecordService/Produce",
		trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(links...), trace.WithAttributes(
			attribute.String("server.address", a.route.url), attribute.Int("streamhouse.batches", len(a.entries)), attribute.Int(droppedLinks, dropped)))
	for _, s := range records {
		s.AddLink(trace.Link{SpanContext: span.SpanContext()})
	}
	return ctx, span
}

// endRequest ends it, by the first error of its batches.
func endRequest(span trace.Span, errs []*Error) {
	if span == nil {
		return
	}
	for _, e := range errs {
		if e != nil {
			failed(span, e)
			break
		}
	}
	span.End()
}

// fetch begins the span of a fetch, if it is one of the share that is traced.
func (t *tracing) fetch(ctx context.Context, agent, topic string) (context.Context, trace.Span) {
	if !t.wanted(ctx) {
		return ctx, nil
	}
	return t.tracer.Start(ctx, "streamhouse.dataplane.v1.RecordService/Fetch", //nolint:spancheck // the caller ends it
		trace.WithSpanKind(trace.SpanKindClient),
		trace.WithAttributes(attribute.String("server.address", agent), attribute.String("messaging.destination.name", topic)))
}

// received makes the span of a poll that brought traced records: within the caller's, if it has one, else a trace of its own, linked to theirs.
func (t *tracing) received(ctx context.Context, topic string, rs []*Record) {
	if t == nil {
		return
	}
	var links []trace.Link
	traced := 0
	for _, r := range rs {
		if len(r.Headers) == 0 {
			continue
		}
		from := r.SpanContext()
		if !from.IsSampled() {
			continue
		}
		if traced++; len(links) < maxLinks {
			links = append(links, trace.Link{SpanContext: from, Attributes: []attribute.KeyValue{
				attribute.Int("streamhouse.partition", int(r.Partition)), attribute.Int64("streamhouse.offset", r.Offset),
			}})
		}
	}
	if traced == 0 {
		return
	}
	_, span := t.tracer.Start(ctx, "receive "+topic, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...), trace.WithAttributes(
		attribute.String("messaging.system", "streamhouse"), attribute.String("messaging.operation.name", "receive"),
		attribute.String("messaging.operation.type", "receive"), attribute.String("messaging.destination.name", topic),
		attribute.Int("messaging.batch.message_count", len(rs)), attribute.Int(droppedLinks, traced-len(links))))
	span.End()
}

// SpanContext is the W3C trace context in the record's headers, so that a span of the program's own can be linked to the producer's, or made
// its child ([trace.ContextWithRemoteSpanContext]). It is not valid where there is none.
func (r *Record) SpanContext() trace.SpanContext {
	parent, ok := headerOf(r, parentHeader)
	if !ok {
		return trace.SpanContext{}
	}
	config, ok := parseParent(parent)
	if !ok {
		return trace.SpanContext{}
	}
	if text, ok := headerOf(r, stateHeader); ok {
		if state, err := trace.ParseTraceState(string(text)); err == nil {
			config.TraceState = state
		}
	}
	return trace.NewSpanContext(config)
}

func headerOf(r *Record, key string) ([]byte, bool) {
	for i := range r.Headers {
		if r.Headers[i].Key == key {
			return r.Headers[i].Value, true
		}
	}
	return nil, false
}

// parseParent reads "00-<32 hex>-<16 hex>-<2 hex>"; later versions may go on after that.
func parseParent(text []byte) (trace.SpanContextConfig, bool) {
	const size = 2 + 1 + 32 + 1 + 16 + 1 + 2
	config := trace.SpanContextConfig{Remote: true}
	if len(text) < size || text[2] != '-' || text[35] != '-' || text[52] != '-' || (len(text) > size && text[size] != '-') {
		return config, false
	}
	var version, flags [1]byte
	for _, part := range []struct{ to, from []byte }{
		{version[:], text[:2]}, {config.TraceID[:], text[3:35]}, {config.SpanID[:], text[36:52]}, {flags[:], text[53:55]},
	} {
		if _, err := hex.Decode(part.to, part.from); err != nil {
			return config, false
		}
	}
	if version[0] == 0xff || (version[0] == 0 && len(text) > size) {
		return config, false
	}
	config.TraceFlags = trace.TraceFlags(flags[0]) & trace.FlagsSampled
	return config, config.TraceID.IsValid() && config.SpanID.IsValid()
}

func parentOf(span trace.SpanContext) string {
	return "00-" + span.TraceID().String() + "-" + span.SpanID().String() + "-" + span.TraceFlags().String()
}

func traceHeaders(span trace.SpanContext) []Header {
	all := []Header{{Key: parentHeader, Value: []byte(parentOf(span))}}
	if state := span.TraceState().String(); state != "" {
		all = append(all, Header{Key: stateHeader, Value: []byte(state)})
	}
	return all
}

// withTrace passes the context's trace on with every request, if it is kept.
func withTrace(next connect.ClientFunc) connect.ClientFunc {
	return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
		if span := trace.SpanContextFromContext(ctx); span.IsSampled() {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				info.RequestHeader().Set("Traceparent", parentOf(span))
				if state := span.TraceState().String(); state != "" {
					info.RequestHeader().Set("Tracestate", state)
				}
			}
		}
		return next(ctx, spec)
	}
}
