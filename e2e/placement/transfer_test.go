package placement_test

import (
	"slices"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

// TestHandOffOfABusyPartition moves one busy partition to and fro and prints what its producers feel: how much longer the slowest record
// around a hand-off took than a record usually takes.
func TestHandOffOfABusyPartition(t *testing.T) {
	t.Parallel()
	r := newRig(t, cluster.Options{SessionDuration: 30 * time.Second}, 1, workload.Options{
		Producers: 1, Rate: 500, ProducerOptions: append(strict(), client.WithLinger(0)),
	})
	moves := 6
	if proving() {
		moves = 100
	}
	admin := r.cluster.Admin(t)
	extra := make([]time.Duration, 0, moves)
	for i := range moves {
		r.sleep(300 * time.Millisecond) // the usual
		usual := r.work.TakeLatencies()
		to := r.cluster.Agents[(i+1)%len(r.cluster.Agents)].ID
		if _, err := admin.TransferLease(r.ctx, topic, 0, to); err != nil {
			t.Fatal(err)
		}
		r.cluster.AwaitLeaders(r.ctx, t, topic, func(l client.Lease) bool { return l.LeaderAgentID == to })
		r.sleep(200 * time.Millisecond)
		around := r.work.TakeLatencies()
		if len(usual) == 0 || len(around) == 0 {
			t.Fatal("no record was acknowledged")
		}
		slices.Sort(usual)
		extra = append(extra, slices.Max(around)-usual[len(usual)/2])
	}
	slices.Sort(extra)
	t.Logf("%d hand-offs of a partition with 500 records/s: the slowest record took longer than the median one by %v (median), %v (p95)",
		moves, extra[len(extra)/2].Round(100*time.Microsecond), extra[len(extra)*95/100].Round(100*time.Microsecond))
	r.judge()
}
