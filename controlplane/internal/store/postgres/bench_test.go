package postgres_test

import (
	"fmt"
	"testing"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// BenchmarkCommit commits objects of 1 and 1,000 partitions, with and without an idempotent producer each. fsync is off: what is
// measured is PostgreSQL's and our CPU and the round trips, not the disk.
func BenchmarkCommit(b *testing.B) {
	for _, entries := range []int32{1, 100, 1000} {
		for _, idempotent := range []bool{false, true} {
			b.Run(fmt.Sprintf("entries=%d/idempotent=%v", entries, idempotent), func(b *testing.B) { benchmarkCommit(b, entries, idempotent) })
		}
	}
}

func benchmarkCommit(b *testing.B, entries int32, idempotent bool) {
	w := newWorld(b, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", entries)
	for p := int32(0); p < entries; p += 1000 {
		request := &controlplanev1.AcquireRequest{SessionId: a.session.String()}
		for q := p; q < min(p+1000, entries); q++ {
			request.Partitions = append(request.Partitions, &controlplanev1.AcquirePartition{TopicId: orders[:], Partition: q})
		}
		_, err := a.Acquire(b.Context(), group, request)
		w.must(err)
	}
	base := int64(0)
	for b.Loop() {
		segments := make([]*controlplanev1.SegmentCommit, entries)
		for p := range segments {
			segments[p] = segment(orders, int32(p), 1, base, 10)
			if idempotent {
				segments[p].ProducerBatches = []*controlplanev1.ProducerBatch{batch(int64(p), 0, int32(base), 10, base)}
			}
		}
		for _, out := range a.commit(a.object(segments...))[0].GetSegments() {
			if out.GetResult() != committed {
				b.Fatalf("outcome %v", out)
			}
		}
		base += 10
	}
	b.ReportMetric(float64(b.N)*float64(entries)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkTakeover has 10,000 partitions with a producer each change hands, a thousand a call, in two ways: acquired from an agent that is
// gone, and released to the agent that they are assigned to. best-ms is the quickest call, all-ms the mean of all ten together.
func BenchmarkTakeover(b *testing.B) {
	const partitions, page = 10_000, 1000
	w := newWorld(b, postgres.Config{})
	orders := w.topic("orders", partitions)
	a := w.register("0")
	acquireAll(b, a, orders, partitions, page)
	w.sql("INSERT INTO producers (partition_id, producer_id, producer_epoch, batches) SELECT partition_id, 7, 0, repeat('x', 80)::bytea FROM partitions")
	w.sql("ANALYZE")
	epoch := int32(1)
	var acquired, released calls
	for n := 1; b.Loop(); n++ {
		a.deregister()
		next := w.register(fmt.Sprint(2 * n))
		w.sql("UPDATE partitions SET assigned_agent_id = $1", next.id)
		acquired.add(acquireAll(b, next, orders, partitions, page))
		a = w.register(fmt.Sprint(2*n + 1))
		w.sql("UPDATE partitions SET assigned_agent_id = $1", a.id)
		epoch++
		released.add(releaseAll(b, next, orders, partitions, page, epoch))
		epoch++
		next.deregister()
	}
	acquired.report(b, "acquire")
	released.report(b, "release")
}

// calls are how long calls took.
type calls struct {
	best, sum time.Duration
	rounds    int
}

func (c *calls) add(took []time.Duration) {
	for _, t := range took {
		c.sum += t
		if c.best == 0 || t < c.best {
			c.best = t
		}
	}
	c.rounds++
}

func (c *calls) report(b *testing.B, name string) {
	b.ReportMetric(float64(c.best.Microseconds())/1000, name+"-best-ms")
	b.ReportMetric(float64(c.sum.Microseconds())/1000/float64(c.rounds), name+"-all-ms")
}

func acquireAll(b *testing.B, a *agent, t topic, partitions, page int32) (took []time.Duration) {
	b.Helper()
	for first := int32(0); first < partitions; first += page {
		request := &controlplanev1.AcquireRequest{SessionId: a.session.String()}
		for p := first; p < first+page; p++ {
			request.Partitions = append(request.Partitions, &controlplanev1.AcquirePartition{TopicId: t[:], Partition: p})
		}
		begun := time.Now()
		response, err := a.Acquire(b.Context(), group, request)
		took = append(took, time.Since(begun))
		a.must(err)
		for _, outcome := range response.GetOutcomes() {
			if outcome.GetRefusal() != nil {
				b.Fatal(outcome.GetRefusal())
			}
		}
	}
	return took
}

func releaseAll(b *testing.B, a *agent, t topic, partitions, page, epoch int32) (took []time.Duration) {
	b.Helper()
	for first := int32(0); first < partitions; first += page {
		request := &controlplanev1.ReleaseRequest{SessionId: a.session.String()}
		for p := first; p < first+page; p++ {
			request.Partitions = append(request.Partitions, &controlplanev1.ReleasePartition{TopicId: t[:], Partition: p, Epoch: epoch})
		}
		begun := time.Now()
		response, err := a.Release(b.Context(), group, request)
		took = append(took, time.Since(begun))
		a.must(err)
		for _, outcome := range response.GetOutcomes() {
			if !outcome.GetReleased() || outcome.GetLeader() == nil {
				b.Fatal(outcome)
			}
		}
	}
	return took
}

// BenchmarkReadThousand reads what agents read of a thousand partitions at a takeover: a page of placement, and where producers stand.
func BenchmarkReadThousand(b *testing.B) {
	const partitions = 1000
	w := newWorld(b, postgres.Config{})
	orders := w.topic("orders", partitions)
	acquireAll(b, w.register("a"), orders, partitions, partitions)
	w.sql("INSERT INTO producers (partition_id, producer_id, producer_epoch, batches) SELECT partition_id, 7, 0, repeat('x', 80)::bytea FROM partitions")
	w.sql("ANALYZE")
	request := &controlplanev1.LookupProducersRequest{}
	for p := range int32(partitions) {
		request.Lookups = append(request.Lookups, &controlplanev1.ProducerLookup{TopicId: orders[:], Partition: p, ProducerId: 7})
	}
	var placements, producers calls
	for b.Loop() {
		begun := time.Now()
		_, err := w.PlacementAfter(b.Context(), group, 0, partitions)
		placements.add([]time.Duration{time.Since(begun)})
		w.must(err)
		begun = time.Now()
		_, err = w.LookupProducers(b.Context(), group, request)
		producers.add([]time.Duration{time.Since(begun)})
		w.must(err)
	}
	placements.report(b, "placement")
	producers.report(b, "producers")
}
