package placement_test

import (
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

// full is the cluster that is rolled: five agents in three zones in the long proof, else the three that there are.
func full(r *rig) {
	if proving() {
		for _, zone := range []string{"az-a", "az-b"} {
			r.cluster.StartAgent(r.ctx, r, "agent-"+zone+"-2", zone)
		}
	}
	r.awaitShares(len(r.cluster.Agents))
}

// pace is how long a rolling upgrade rests between two agents.
func pace() time.Duration {
	if proving() {
		return 10 * time.Second
	}
	return time.Second
}

// TestP6_RollingUpgradeIsNotNoticed drains and restarts all agents, one after the other, under keyed and unkeyed load from idempotent
// producers that do not retry: nobody is told an error, nothing is lost or doubled, readers see everything.
func TestP6_RollingUpgradeIsNotNoticed(t *testing.T) {
	t.Parallel()
	r := newRig(t, cluster.Options{
		SessionDuration: 30 * time.Second, SuspectAfter: 10 * time.Second,
	}, 15, workload.Options{
		Unkeyed: 2, Readers: 2, ProducerOptions: strict(),
	})
	full(r)
	r.work.ForgetPauses()
	for _, agent := range r.cluster.Agents {
		if err := agent.Stop(r.ctx); err != nil {
			t.Errorf("%s: %v", agent.ID, err)
		}
		r.sleep(pace() / 2)
		agent.Start(r.ctx, t)
		r.sleep(pace() / 2)
	}
	r.judge()
}

// TestP5_RollingKillsAreRetriedAway is the same with kill -9: the SDK retries, nothing is lost or doubled.
func TestP5_RollingKillsAreRetriedAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, cluster.Options{SessionDuration: 30 * time.Second, SuspectAfter: 2 * time.Second}, 15, workload.Options{Unkeyed: 2, Readers: 2})
	full(r)
	r.work.ForgetPauses()
	for _, agent := range r.cluster.Agents {
		agent.Kill()
		r.sleep(pace())
		agent.Start(r.ctx, t)
		r.sleep(pace() / 2)
	}
	r.judge()
}
