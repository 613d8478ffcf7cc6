package placement_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

// joining is how many agents join three others: six in the long proof.
func joining() int {
	if proving() {
		return 6
	}
	return 3
}

// TestP1_ThreeToNineToThreeAgents: agents join and get their share, leave and give it up, under load: no error, nothing lost. (To six, and back, but for the
// long proof.)
func TestP1_ThreeToNineToThreeAgents(t *testing.T) {
	t.Parallel()
	r := newRig(t, cluster.Options{SessionDuration: 30 * time.Second}, 27, workload.Options{
		Unkeyed: 1, ProducerOptions: strict(),
	})
	r.Logf("3 agents share 27 partitions after %v", r.awaitShares(3).Round(time.Millisecond))
	for i := range joining() {
		zone := r.cluster.Options.Zones[i%3]
		r.cluster.StartAgent(r.ctx, t, fmt.Sprintf("agent-%s-%d", zone, 2+i/3), zone)
	}
	r.Logf("%d agents share them after %v", 3+joining(), r.awaitShares(3+joining()).Round(time.Millisecond))
	for _, agent := range r.cluster.Agents[3:] {
		if err := agent.Stop(r.ctx); err != nil {
			t.Errorf("%s was to leave: %v", agent.ID, err)
		}
	}
	r.Logf("3 agents share them after %v", r.awaitShares(3).Round(time.Millisecond))
	r.judge()
}
