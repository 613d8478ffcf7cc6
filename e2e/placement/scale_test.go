package placement_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

// TestP1_ThreeToNineToThreeAgents: agents join and get their share, leave and give it up, under load: no error, nothing lost.
func TestP1_ThreeToNineToThreeAgents(t *testing.T) {
	t.Parallel()
	r := newRig(t, cluster.Options{SessionDuration: 30 * time.Second}, 27, workload.Options{
		Unkeyed: 1, ProducerOptions: strict(),
	})
	r.Logf("3 agents share 27 partitions after %v", r.awaitShares(3).Round(time.Millisecond))
	for i := range 6 {
		zone := r.cluster.Options.Zones[i%3]
		r.cluster.StartAgent(r.ctx, t, fmt.Sprintf("agent-%s-%d", zone, 2+i/3), zone)
	}
	r.Logf("9 agents share them after %v", r.awaitShares(9).Round(time.Millisecond))
	for _, agent := range r.cluster.Agents[3:] {
		if err := agent.Stop(r.ctx); err != nil {
			t.Errorf("%s was to leave: %v", agent.ID, err)
		}
	}
	r.Logf("3 agents share them after %v", r.awaitShares(3).Round(time.Millisecond))
	r.judge()
}
