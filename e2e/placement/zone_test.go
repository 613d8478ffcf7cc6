package placement_test

import (
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

// TestNoBytesAcrossZones: producers of records without a key and readers in each of three zones, two agents a zone: not one byte of records
// crosses zones, as the agents count them.
func TestNoBytesAcrossZones(t *testing.T) {
	t.Parallel()
	zones := []string{"az-a", "az-b", "az-c"}
	r := newRig(t, cluster.Options{Zones: zones, AgentsPerZone: 2, SessionDuration: 30 * time.Second}, 6, workload.Options{
		Producers: -1, Unkeyed: 3, Readers: 3,
		Client: func(i int) []client.Option { return []client.Option{client.WithZone(zones[i%len(zones)])} },
	})
	r.awaitShares(6)
	r.work.AwaitAcknowledged(r.ctx, t, 2000)
	r.judge() // which reads the log at every agent, without a zone: that is counted as "unknown"
	admin := r.cluster.Admin(t)
	for until := time.Now().Add(time.Minute); ; r.sleep(200 * time.Millisecond) {
		status, err := admin.ClusterStatus(r.ctx)
		if err != nil {
			t.Fatal(err)
		}
		within, across := traffic(status, zones)
		if across > 0 {
			t.Fatalf("%d bytes of records crossed zones: %+v", across, status.AgentGroups[0].Traffic)
		}
		if within[client.DirectionProduce] > 0 && within[client.DirectionFetch] >= 3*within[client.DirectionProduce] {
			t.Logf("bytes within zones: %v; across: 0", within)
			return
		}
		if time.Now().After(until) {
			t.Fatalf("the agents have not counted what went through them: %+v", status.AgentGroups[0].Traffic)
		}
	}
}

// traffic sums what clients of a known zone sent to and got from agents of their own zone, and of others. Every zone must have had some.
func traffic(status client.ClusterStatus, zones []string) (within map[client.Direction]int64, across int64) {
	within = map[client.Direction]int64{}
	busy := map[string]bool{}
	for _, group := range status.AgentGroups {
		for _, row := range group.Traffic {
			if row.Direction != client.DirectionProduce && row.Direction != client.DirectionFetch || row.OtherZone == "" {
				continue
			}
			if row.AgentZone != row.OtherZone {
				across += row.Bytes
				continue
			}
			busy[row.AgentZone] = busy[row.AgentZone] || row.Bytes > 0
			within[row.Direction] += row.Bytes
		}
	}
	if len(busy) < len(zones) {
		return map[client.Direction]int64{}, across
	}
	return within, across
}
