package postgres_test

import (
	"fmt"
	"testing"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/placement"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// BenchmarkOrphans: an agent that was assigned 10,000 of 100,000 partitions is gone. Time until all have another one (fsync is off), and what
// a plan of all of them takes: to read it, and to look whether one is due.
func BenchmarkOrphans(b *testing.B) {
	w := newWorld(b, postgres.Config{StatementTimeout: time.Minute})
	agents := make([]*agent, 10)
	for i := range agents {
		agents[i] = w.registerIn(group, fmt.Sprintf("agent-%d", i), fmt.Sprintf("zone-%d", i%3))
	}
	for i := range 10 {
		w.topic(fmt.Sprintf("topic-%d", i), 10_000)
	}
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		_, err := w.Deregister(b.Context(), group, &controlplanev1.DeregisterRequest{SessionId: agents[i%10].session.String()})
		w.must(err)
		b.StartTimer()
		begin, assigned := time.Now(), 0
		for more := true; more; {
			var n int
			n, more, err = w.AssignOrphans(b.Context(), group)
			w.must(err)
			assigned += n
		}
		b.ReportMetric(float64(time.Since(begin).Milliseconds()), "ms")
		b.ReportMetric(float64(assigned), "partitions")
		b.StopTimer()
		agents[i%10] = w.registerIn(group, agents[i%10].id, fmt.Sprintf("zone-%d", i%3))
		b.StartTimer()
	}
}

func BenchmarkPlacementInput(b *testing.B) {
	w := newWorld(b, postgres.Config{StatementTimeout: time.Minute})
	for i := range 10 {
		w.registerIn(group, fmt.Sprintf("agent-%d", i), fmt.Sprintf("zone-%d", i%3))
	}
	for i := range 10 {
		w.topic(fmt.Sprintf("topic-%d", i), 10_000)
	}
	for b.Loop() {
		begin := time.Now()
		in, err := w.PlacementInput(b.Context(), group)
		w.must(err)
		read := time.Now()
		if moves := placement.Plan(in.Input).Moves; len(moves) > 0 {
			b.Fatalf("%d moves of what was just placed", len(moves))
		}
		planned := time.Now()
		_, err = w.Shapes(b.Context())
		w.must(err)
		b.ReportMetric(float64(read.Sub(begin).Milliseconds()), "read-ms")
		b.ReportMetric(float64(planned.Sub(read).Milliseconds()), "plan-ms")
		b.ReportMetric(float64(time.Since(planned).Microseconds()), "look-µs")
	}
}
