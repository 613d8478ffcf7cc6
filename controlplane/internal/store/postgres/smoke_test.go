package postgres_test

import (
	"testing"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

func TestPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 3)
	grant := a.lead(orders, 0)
	if grant.GetEpoch() != 1 || !grant.GetProducersComplete() {
		t.Fatalf("grant %v", grant)
	}
	out := a.committed(segment(orders, 0, 1, 0, 10, batch(7, 0, 0, 10, 0)))
	if out.GetResult() != controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED || out.GetHighWatermark() != 10 {
		t.Fatalf("outcome %v", out)
	}
	found := a.lookup(orders, 0, 5)
	if len(found.GetSegments()) != 1 || found.GetHighWatermark() != 10 || found.GetSegments()[0].GetCrc32C() != 0xfedcba98 {
		t.Fatalf("lookup %v", found)
	}
	if err := a.heartbeat(); err != nil {
		t.Fatal(err)
	}
	placement, err := w.PlacementAfter(t.Context(), group, 0, 0)
	w.must(err)
	t.Log(placement)
}
