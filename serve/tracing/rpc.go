package tracing

import (
	"context"
	"fmt"

	"connectrpc.com/connect/v2"
	"connectrpc.com/otelconnect"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
)

// parentHeader is W3C's.
const parentHeader = "Traceparent"

// sampledParent tells what a traceparent says: whether there is one, and whether its trace is kept. Version 00 is 55 bytes, of which the last
// two are the flags in hex, at most 03; a later version may have more of them, and go on after them.
func sampledParent(header string) (present, sampled bool) {
	const flags = 53
	if len(header) < flags+2 {
		return header != "", false
	}
	high, low := header[flags], header[flags+1]
	if header[:2] == "00" {
		return true, high == '0' && (low == '1' || low == '3')
	}
	switch {
	case low >= '0' && low <= '9':
		return true, (low-'0')&1 == 1
	case low >= 'a' && low <= 'f':
		return true, (low-'a'+10)&1 == 1
	default:
		return true, false
	}
}

// Server gives calls their spans, see the table of this package. begins tells which procedures may begin a trace; nil: none. Callers are
// trusted to continue their traces: a trace follows a record from the producer's span on.
func (t *Tracer) Server(begins func(procedure string) bool) (connect.ServerInterceptor, error) {
	if t == nil {
		return func(next connect.ServerFunc) connect.ServerFunc { return next }, nil
	}
	spans, err := otelconnect.NewServerInterceptor(t.options(otelconnect.WithTrustRemote())...)
	if err != nil {
		return nil, fmt.Errorf("trace calls: %w", err)
	}
	return func(next connect.ServerFunc) connect.ServerFunc {
		traced := spans(next)
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			if t.wanted(ctx, spec.Procedure, begins) {
				return traced(ctx, spec, stream)
			}
			return next(ctx, spec, stream)
		}
	}, nil
}

func (t *Tracer) wanted(ctx context.Context, procedure string, begins func(string) bool) bool {
	info, ok := connect.CallInfoForServerContext(ctx)
	if !ok {
		return false
	}
	present, sampled := sampledParent(info.RequestHeader().Get(parentHeader))
	if present {
		return sampled
	}
	return begins != nil && begins(procedure) && t.lot()
}

// Client gives the calls that are made within a trace their spans, and passes the trace on with them.
func (t *Tracer) Client() (connect.ClientInterceptor, error) {
	if t == nil {
		return func(next connect.ClientFunc) connect.ClientFunc { return next }, nil
	}
	spans, err := otelconnect.NewClientInterceptor(t.options()...)
	if err != nil {
		return nil, fmt.Errorf("trace calls: %w", err)
	}
	return func(next connect.ClientFunc) connect.ClientFunc {
		traced := spans(next)
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if Sampled(ctx) {
				return traced(ctx, spec)
			}
			return next(ctx, spec)
		}
	}, nil
}

// options: calls are measured by package listen, so that otelconnect need not.
func (t *Tracer) options(more ...otelconnect.Option) []otelconnect.Option {
	return append(more, otelconnect.WithTracerProvider(t.provider), otelconnect.WithPropagator(propagation.TraceContext{}),
		otelconnect.WithMeterProvider(metricnoop.NewMeterProvider()))
}
