package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/streamhouse/streamhouse/serve/tracing"
)

// statements makes a span of every statement, and of every round trip with several, that is sent within a trace. It is named after the query in
// sql/queries. Neither text nor arguments are in it: they hold names that users chose, and the hashes of keys.
type statements struct{ tracer *tracing.Tracer }

var (
	_ pgx.QueryTracer = statements{}
	_ pgx.BatchTracer = statements{}
)

// TraceQueryStart implements pgx.QueryTracer.
func (s statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if !tracing.Sampled(ctx) {
		return ctx
	}
	return s.begin(ctx, queryName(data.SQL))
}

// TraceQueryEnd implements pgx.QueryTracer.
func (statements) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	if span := begun(ctx); span != nil {
		end(span, data.Err)
	}
}

// TraceBatchStart implements pgx.BatchTracer.
func (s statements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	if !tracing.Sampled(ctx) {
		return ctx
	}
	ctx = s.begin(ctx, "round trip")
	names := make([]string, 0, len(data.Batch.QueuedQueries))
	for _, q := range data.Batch.QueuedQueries {
		names = append(names, queryName(q.SQL))
	}
	begun(ctx).SetAttributes(attribute.Int("db.operation.batch.size", len(names)), attribute.StringSlice("streamhouse.queries", names))
	return ctx
}

// TraceBatchQuery implements pgx.BatchTracer.
func (statements) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (statements) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchEndData) {
	if span := begun(ctx); span != nil {
		end(span, data.Err)
	}
}

// begunKey marks the span of a statement: what is in the context of an end may be the caller's.
type begunKey struct{}

func (s statements) begin(ctx context.Context, name string) context.Context {
	ctx, span := s.tracer.Inside(ctx, name, trace.SpanKindClient)
	span.SetAttributes(attribute.String("db.system.name", "postgresql"), attribute.String("db.operation.name", name))
	return context.WithValue(ctx, begunKey{}, span)
}

func begun(ctx context.Context) trace.Span {
	span, _ := ctx.Value(begunKey{}).(trace.Span)
	return span
}

func end(span trace.Span, err error) {
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		kind := "connection"
		if answered, ok := errors.AsType[*pgconn.PgError](err); ok {
			kind = answered.Code
		}
		tracing.Fail(span, kind)
	}
	span.End()
}

// queryName is the name that sqlc leaves in front of a query, else its first word: begin, commit, set.
func queryName(text string) string {
	const mark = "-- name: "
	if _, named, found := strings.Cut(text, mark); found {
		name, _, _ := strings.Cut(named, " ")
		return name
	}
	word, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	const longest = 20
	return strings.ToUpper(word[:min(len(word), longest)])
}
