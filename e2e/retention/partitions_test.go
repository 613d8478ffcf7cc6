package retention_test

import (
	"context"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/command"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

// A topic gets more partitions under producers of keyed records and a reader that knew the old ones alone: all agents get their share of them, all
// clients learn of them, nobody is told an error, and the history is whole.
func TestP2_PartitionsAreAddedUnderLoad(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := cluster.Start(t, cluster.Options{Zones: []string{"az-a", "az-b"}})
	c.CreateTopic(ctx, t, "orders", 2, client.TopicConfig{})
	load := workload.Start(t, c, workload.Options{Topic: "orders", Rate: 100})
	load.AwaitAcknowledged(ctx, t, 200)
	command.Of(t, c, c.AdminKey).Must(ctx, t, "topic", "update", "orders", "--partitions", "8")
	leads := map[string]int{}
	for _, l := range c.AwaitLeaders(ctx, t, "orders", func(l client.Lease) bool { return l.LeaderAgentID != "" }) {
		leads[l.LeaderAgentID]++
	}
	if len(leads) != 2 || leads["agent-az-a-1"] < 3 || leads["agent-az-b-1"] < 3 {
		t.Errorf("the agents lead %v", leads)
	}
	admin, began := c.Admin(t), time.Now()
	for used := 0; used < 8; { // keys are 32: each partition has some
		_, partitions, err := admin.DescribeTopic(ctx, "orders")
		if err != nil {
			t.Fatal(err)
		}
		used = 0
		for _, p := range partitions {
			if p.HighWatermark > 0 {
				used++
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%d partitions are used after %v", used, time.Since(began))
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Logf("producers use all partitions after %v", time.Since(began).Round(time.Second))
	load.AwaitAcknowledged(ctx, t, 200)
	if err := load.Stop(ctx, t).Err(); err != nil {
		t.Error(err)
	}
	if load.Failed() > 0 {
		t.Errorf("%d records failed, the first: %v", load.Failed(), load.FirstFailure())
	}
}
