package tracing_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"go.opentelemetry.io/otel/trace"

	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	"github.com/streamhouse/streamhouse/serve/tracing"
)

const procedure = "/streamhouse.test.v1.TestService/Call"

// call has a server with this tracer answer one call, and tells whether it was traced, and in which trace.
func call(t testing.TB, tracer *tracing.Tracer, begins bool, header string) trace.SpanContext {
	t.Helper()
	server, err := tracer.Server(func(p string) bool { return begins && p == procedure })
	if err != nil {
		t.Fatal(err)
	}
	var got trace.SpanContext
	serve := server(func(ctx context.Context, _ connect.Spec, _ connect.ServerStream) error {
		got = trace.SpanContextFromContext(ctx)
		return nil
	})
	if err := serve(callContext(t, header), connect.Spec{Procedure: procedure}, nil); err != nil {
		t.Fatal(err)
	}
	return got
}

// callContext is the context of a call that came with this traceparent.
func callContext(t testing.TB, header string) context.Context {
	t.Helper()
	var got context.Context
	server := connect.NewServer(func(connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, _ connect.Spec, _ connect.ServerStream) error {
			got = ctx //nolint:fatcontext // it is what is asked for; that it has ended makes no difference
			return connect.NewError(connect.CodeUnimplemented, "this is about the context")
		}
	})
	dataplanev1connect.RegisterRecordServiceHandler(server, dataplanev1connect.UnimplementedRecordServiceHandler{})
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server)
	request := httptest.NewRequest(http.MethodPost, dataplanev1connect.RecordServiceProduceProcedure, strings.NewReader("{}"))
	request.Header.Set("Content-Type", "application/json")
	if header != "" {
		request.Header.Set("Traceparent", header)
	}
	mux.ServeHTTP(httptest.NewRecorder(), request)
	if got == nil {
		t.Fatal("the call did not arrive")
	}
	return got
}

func TestWhichCallsAreTraced(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("ab", 16)
	parent := func(flags string) string { return fmt.Sprintf("00-%s-%s-%s", id, strings.Repeat("cd", 8), flags) }
	all, _ := recorder(t, 1)
	none, _ := recorder(t, 0)
	for name, test := range map[string]struct {
		tracer  *tracing.Tracer
		begins  bool
		header  string
		traced  bool
		follows bool
	}{
		"nobody traces":                       {tracer: nil, begins: true, header: parent("01")},
		"the caller does":                     {tracer: none, header: parent("01"), traced: true, follows: true},
		"the caller does, with more flags":    {tracer: none, header: parent("03"), traced: true, follows: true},
		"the caller does not":                 {tracer: all, begins: true, header: parent("00")},
		"the caller does not, more flags":     {tracer: all, begins: true, header: parent("02")},
		"flags that are none":                 {tracer: all, begins: true, header: parent("0b")},
		"nonsense":                            {tracer: all, begins: true, header: "nonsense"},
		"a client without a trace":            {tracer: all, begins: true, traced: true},
		"a client without a trace, no share":  {tracer: none, begins: true},
		"another part without a trace":        {tracer: all},
		"the caller does, by a later version": {tracer: none, header: "01" + parent("01")[2:] + "-more", traced: true, follows: true},
	} {
		got := call(t, test.tracer, test.begins, test.header)
		if got.IsSampled() != test.traced || (got.TraceID().String() == id) != test.follows {
			t.Errorf("%s: sampled %v, trace %v", name, got.IsSampled(), got.TraceID())
		}
	}
}

func TestACallThatIsNotTracedAllocatesNothing(t *testing.T) {
	tracer, _ := recorder(t, 0)
	server, err := tracer.Server(func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	serve := server(func(context.Context, connect.Spec, connect.ServerStream) error { return nil })
	ctx := callContext(t, "")
	if n := testing.AllocsPerRun(100, func() { _ = serve(ctx, connect.Spec{Procedure: procedure}, nil) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The cost of the interceptor, by what is traced, with a span that goes nowhere.
func BenchmarkServer(b *testing.B) {
	for _, share := range []float64{0, 0.01, 1} {
		b.Run(fmt.Sprintf("share=%v", share), func(b *testing.B) {
			tracer, _ := recorder(b, share)
			server, err := tracer.Server(func(string) bool { return true })
			if err != nil {
				b.Fatal(err)
			}
			serve := server(func(context.Context, connect.Spec, connect.ServerStream) error { return nil })
			ctx := callContext(b, "")
			b.ReportAllocs()
			for b.Loop() {
				_ = serve(ctx, connect.Spec{Procedure: procedure}, nil)
			}
		})
	}
}
