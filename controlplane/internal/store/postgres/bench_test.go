package postgres_test

import (
	"fmt"
	"testing"

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
