package agent_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/agent"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/serve/telemetry"
	"github.com/streamhouse/streamhouse/serve/tracing"
)

// BenchmarkTracing is what tracing costs an agent: CPU per call, the export included, as a ratio to an agent that traces nothing, by the share of
// calls that is traced. The two take turns, so that what else the machine does weighs on both; bytes allocated do not depend on it. Calls of 4 KiB show the cost of each; calls
// of 16 batches of 128 KiB are how a busy producer sends.
func BenchmarkTracing(b *testing.B) {
	for _, size := range []load{
		{Partitions: 1, BatchBytes: 4 << 10, InFlight: 256, RecordBytes: 1024, Seconds: 1},
		{Partitions: 16, BatchBytes: 128 << 10, InFlight: 24, RecordBytes: 1024, Seconds: 1},
	} {
		for _, share := range []float64{0, 0.01, 1} {
			b.Run(fmt.Sprintf("calls=%dKiB/share=%v", size.Partitions*size.BatchBytes>>10, share), func(b *testing.B) {
				quiet, traced := size, size
				quiet.URL, traced.URL = tracedAgent(b, nil), tracedAgent(b, tracerOf(b, share))
				produceFrom(b, quiet)
				produceFrom(b, traced)
				var cost [2]time.Duration
				var calls [2]int64
				var memory [2]uint64
				for b.Loop() {
					for i, l := range []load{quiet, traced} {
						before, allocated := cpuTime(b), allocations()
						calls[i] += produceFrom(b, l).Calls
						cost[i] += cpuTime(b) - before
						memory[i] += allocations() - allocated
					}
				}
				perCall := func(i int) float64 { return cost[i].Seconds() * 1e6 / float64(calls[i]) }
				b.ReportMetric(perCall(0), "CPU-us/call-untraced")
				b.ReportMetric(perCall(1), "CPU-us/call")
				b.ReportMetric(perCall(1)/perCall(0), "ratio")
				b.ReportMetric(float64(memory[0])/float64(calls[0]), "B/call-untraced")
				b.ReportMetric(float64(memory[1])/float64(calls[1]), "B/call")
			})
		}
	}
}

// tracerOf exports to a collector that reads and forgets.
func tracerOf(b *testing.B, share float64) *tracing.Tracer {
	b.Helper()
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	b.Cleanup(collector.Close)
	p, err := telemetry.New(telemetry.Config{OTLPEndpoint: collector.URL, OTLPInterval: time.Minute, TraceSample: share},
		telemetry.Identity{Service: "bench"}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Close(context.Background()) }) // the benchmark's own has ended by then
	return p.Tracer()
}

// tracedAgent runs an agent whose bucket is in memory: the cost of a real one's server would hide what is measured.
func tracedAgent(b *testing.B, tracer *tracing.Tracer) (url string) {
	b.Helper()
	return serveTraced(b, &objectstore.Memory{}, tracer, func(c *agent.Config) { c.Flush.PutsPerSecond, c.Flush.PutBurst = 100, 100 })
}
