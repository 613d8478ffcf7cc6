package tracing_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
)

// patience is exceeded by a hang alone.
const patience = 3 * time.Minute

const (
	agent, controlPlane          = "streamhouse-agent", "streamhouse-controlplane"
	internal, server, clientKind = tracev1.Span_SPAN_KIND_INTERNAL, tracev1.Span_SPAN_KIND_SERVER, tracev1.Span_SPAN_KIND_CLIENT
	producer, consumer           = tracev1.Span_SPAN_KIND_PRODUCER, tracev1.Span_SPAN_KIND_CONSUMER
	produceRPC                   = "streamhouse.dataplane.v1.RecordService/Produce"
	commitRPC                    = "streamhouse.controlplane.v1.AgentService/Commit"
)

// suite is a cluster whose processes export to a collector of the test.
type suite struct {
	*cluster.Cluster

	collector *collector
	topic     string
}

func TestTracing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := newCollector(t)
	flags := []string{"--otlp-endpoint", c.URL, "--otlp-interval", "1s", "--trace-sample", "0.000001"}
	s := &suite{collector: c, topic: "orders", Cluster: cluster.Start(t, cluster.Options{
		Zones: []string{"az-a"}, AgentArgs: append(flags, "--job-interval", "100ms"),
		ControlPlaneArgs: append(flags, "--otlp-headers", "authorization=Bearer secret-header", "--checkpoint-interval", "1s"),
	})}
	if _, err := s.Client(t, client.WithAPIKey(s.AdminKey)).Admin().CreateTopic(ctx, client.NewTopic{Name: s.topic, PartitionCount: 1}); err != nil {
		t.Fatal(err)
	}
	// One after the other: each looks at what the one before has produced, too.
	for _, step := range []struct {
		name string
		run  func(context.Context, *testing.T, *suite)
	}{
		{"one record from producer to consumer", oneRecord},
		{"records of several traces", several},
		{"what is in no trace", untraced},
		{"lease", lease},
		{"job", job},
		{"an agent that goes away", away},
		{"secrets", secrets},
		{"docs/tracing.md", documented},
		{"docs/metrics.md", metricsDocumented},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.run(ctx, t, s) }) {
			return
		}
	}
}

// provider makes the spans of a program that uses the SDK.
func (s *suite) provider(ctx context.Context, t *testing.T, service string) *sdktrace.TracerProvider {
	t.Helper()
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(s.collector.URL+"/v1/traces"))
	if err != nil {
		t.Fatal(err)
	}
	p := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter), sdktrace.WithResource(resource.NewSchemaless(semconv.ServiceName(service))))
	t.Cleanup(func() { _ = p.Shutdown(context.WithoutCancel(ctx)) })
	return p
}

const (
	secretKey, secretValue = "never-in-a-span-key", "never-in-a-span-value"
)

// produce sends one record.
func (s *suite) produce(ctx context.Context, t *testing.T, provider trace.TracerProvider) *client.Record {
	t.Helper()
	p, err := s.Client(t, client.WithTracerProvider(provider)).NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	r := &client.Record{Topic: s.topic, Key: []byte(secretKey), Value: []byte(secretValue), Headers: []client.Header{{Key: "h", Value: []byte("v")}}}
	if err := p.ProduceSync(ctx, r); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if len(r.Headers) != 1 {
		t.Errorf("the caller's record has the headers %v", r.Headers)
	}
	return r
}

// consume reads the record at an offset.
func (s *suite) consume(ctx context.Context, t *testing.T, provider trace.TracerProvider, offset int64) *client.Record {
	t.Helper()
	k, err := s.Client(t, client.WithTracerProvider(provider)).NewConsumer(ctx, s.topic, client.From(client.At(offset)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = k.Close() }()
	rs, err := k.Poll(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return rs[0]
}

// The whole way of a record: four services in three processes, one trace from the producer's span to the SQL, and the consumer's linked to it.
func oneRecord(ctx context.Context, t *testing.T, s *suite) {
	shop, mail := s.provider(ctx, t, "shop"), s.provider(ctx, t, "mail")
	inSpan, order := shop.Tracer("test").Start(ctx, "order placed")
	stored := s.produce(inSpan, t, shop)
	order.End()
	c := s.collector
	root := c.find(ctx, t, "root", func(s span) bool { return s.GetName() == "order placed" })
	send := c.under(ctx, t, root, "shop", "send orders", producer)
	call := c.under(ctx, t, send, "shop", produceRPC, clientKind)
	produced := c.under(ctx, t, call, agent, produceRPC, server)
	flush := c.under(ctx, t, produced, agent, "flush", internal)
	c.under(ctx, t, flush, agent, "S3/PutObject", clientKind)
	commit := c.under(ctx, t, flush, agent, "commit", internal)
	commitCall := c.under(ctx, t, commit, agent, commitRPC, clientKind)
	committed := c.under(ctx, t, commitCall, controlPlane, commitRPC, server)
	c.find(ctx, t, "statement of the commit", func(s span) bool {
		system, _ := s.attribute("db.system.name")
		return s.service == controlPlane && s.parent() == committed.id() && s.GetKind() == clientKind && system.GetStringValue() == "postgresql"
	})
	for _, linked := range []struct{ from, to span }{{call, send}, {send, call}, {flush, produced}, {produced, flush}, {commit, flush}} {
		if !slices.Contains(linked.from.links(), linked.to.id()) {
			t.Errorf("%v is not linked to %v", linked.from, linked.to)
		}
	}
	if offset, _ := send.attribute("streamhouse.offset"); offset.GetIntValue() != stored.Offset {
		t.Errorf("the span says offset %d, the record has %d", offset.GetIntValue(), stored.Offset)
	}

	got := s.consume(ctx, t, mail, stored.Offset)
	if got.SpanContext().SpanID().String() != send.id() || got.SpanContext().TraceID().String() != send.trace() || len(got.Headers) != 2 {
		t.Errorf("the record that was read comes from span %v, and has the headers %v", got.SpanContext(), got.Headers)
	}
	receive := c.find(ctx, t, "receive", func(s span) bool {
		return s.service == "mail" && s.GetName() == "receive orders" && s.GetKind() == consumer
	})
	if receive.trace() == send.trace() || !slices.Contains(receive.links(), send.id()) {
		t.Errorf("%v is not a trace of its own, linked to %v", receive, send)
	}
}

// A batch carries several traces on: one span for the request, the child of the first, linked to all and from all.
func several(ctx context.Context, t *testing.T, s *suite) {
	bulk := s.provider(ctx, t, "bulk")
	p, err := s.Client(t, client.WithTracerProvider(bulk)).NewProducer(client.WithLinger(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	var roots []string
	for range 3 {
		inSpan, root := bulk.Tracer("test").Start(ctx, "item")
		p.Produce(inSpan, &client.Record{Topic: s.topic, Value: []byte(secretValue)}, nil)
		root.End()
		roots = append(roots, root.SpanContext().SpanID().String())
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	call := s.collector.find(ctx, t, "request", func(s span) bool { return s.service == "bulk" && s.GetName() == produceRPC })
	if len(call.links()) != len(roots) {
		t.Errorf("%v has the links %v", call, call.links())
	}
	for _, root := range roots {
		send := s.collector.find(ctx, t, "send", func(s span) bool { return s.service == "bulk" && s.parent() == root })
		if !slices.Contains(call.links(), send.id()) || !slices.Contains(send.links(), call.id()) {
			t.Errorf("%v and %v are not linked", call, send)
		}
	}
}

// What nobody traces gets no header, and no span but with the share of --trace-sample, which is next to nothing here.
func untraced(ctx context.Context, t *testing.T, s *suite) {
	quiet := s.provider(ctx, t, "quiet")
	stored := s.produce(ctx, t, quiet)
	got := s.consume(ctx, t, quiet, stored.Offset)
	if got.SpanContext().IsValid() || len(got.Headers) != 1 {
		t.Errorf("a record outside of every trace has the headers %v", got.Headers)
	}
	s.produce(ctx, t, s.provider(ctx, t, "last")) // and in a trace, so that what is exported later has come
	if spans, _ := s.collector.all(); slices.ContainsFunc(spans, func(s span) bool { return s.service == "quiet" }) {
		t.Errorf("spans of it: %v", spans)
	}
}

// Work of a part's own that happens seldom is a trace of its own, over both processes.
func lease(ctx context.Context, t *testing.T, s *suite) {
	acquire := s.collector.find(ctx, t, "acquire", func(s span) bool { return s.service == agent && s.GetName() == "lease.acquire" })
	rpc := "streamhouse.controlplane.v1.AgentService/Acquire"
	call := s.collector.under(ctx, t, acquire, agent, rpc, clientKind)
	s.collector.under(ctx, t, call, controlPlane, rpc, server)
}

// A job on the bucket is a trace, with what it asks of the bucket and of the control plane below it.
func job(ctx context.Context, t *testing.T, s *suite) {
	job := s.collector.find(ctx, t, "checkpoint", func(s span) bool {
		failed, _ := s.attribute("error.type")
		return s.service == agent && s.GetName() == "job.checkpoint" && failed.GetStringValue() == ""
	})
	s.collector.under(ctx, t, job, agent, "S3/PutObject", clientKind)
	rpc := "streamhouse.controlplane.v1.JobService/FinishJob"
	call := s.collector.under(ctx, t, job, agent, rpc, clientKind)
	s.collector.under(ctx, t, call, controlPlane, rpc, server)
}

// The control plane knocks at an agent whose watch broke, and finds its partitions another. Both the judge and the balancer do that, and the one that comes
// first leaves nothing to the other: the judge's span may take some agents to be seen.
func away(ctx context.Context, t *testing.T, s *suite) {
	s.loseAgent(ctx, t, 2)
	s.collector.find(ctx, t, "knock", func(s span) bool {
		verdict, _ := s.attribute("error.type")
		return s.service == controlPlane && s.GetName() == "knock" && verdict.GetStringValue() == "connection refused"
	})
	assigned := func(s span) bool { return s.service == controlPlane && s.GetName() == "assign" }
	for n := 3; n < 10 && !s.collector.comes(ctx, 5*time.Second, assigned); n++ {
		s.loseAgent(ctx, t, n)
	}
	s.collector.find(ctx, t, "assign", assigned)
}

// loseAgent kills an agent that leads something.
func (s *suite) loseAgent(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	other := s.StartAgent(ctx, t, fmt.Sprintf("agent-%d", n), "az-a")
	s.CreateTopic(ctx, t, fmt.Sprintf("more-%d", n), 4, client.TopicConfig{})
	other.Kill()
}

// Nothing that users send, and no secret, leaves a process in a span.
func secrets(_ context.Context, t *testing.T, s *suite) {
	s.collector.mu.Lock()
	defer s.collector.mu.Unlock()
	for _, secret := range []string{secretKey, secretValue, s.AdminKey, s.ClientKey, s.S3.SecretKey, "secret-header", "Bearer"} {
		if bytes.Contains(s.collector.raw.Bytes(), []byte(secret)) {
			t.Errorf("%s stands in an export", strings.ToUpper(secret))
		}
	}
}
