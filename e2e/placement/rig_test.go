// Package placement_test moves partitions of real processes under load: agents that join, leave, are drained, upgraded and killed, zones that
// must not pay for each other, many partitions at once. Clients must not notice planned moves at all.
//
// Promises: P1, P2, P5, P6 across every move.
// Read: rig_test.go, scale_test.go, rolling_test.go, zone_test.go, transfer_test.go, many_test.go.
package placement_test

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

const (
	topic = "orders"
	// patience is exceeded by a hang alone.
	patience = 6 * time.Minute
)

// proving tells whether the long proofs are wanted.
func proving() bool { return os.Getenv("STREAMHOUSE_PROVE") == "1" }

// strict are the options of producers that are told every error: in the long proofs, on a machine of their own, they do not retry. Beside all other
// tests a request may be later than an agent that leaves waits for it.
func strict() []client.ProducerOption {
	if proving() {
		return []client.ProducerOption{client.WithoutRetries()}
	}
	return nil
}

// rig is a cluster with a load on one topic.
type rig struct {
	*testing.T
	ctx     context.Context // one bounded piece of work
	cluster *cluster.Cluster
	work    *workload.Workload
}

func newRig(t *testing.T, options cluster.Options, partitions int32, load workload.Options) *rig {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	r := &rig{T: t, ctx: ctx, cluster: cluster.Start(t, options)}
	r.cluster.CreateTopic(ctx, t, topic, partitions, client.TopicConfig{})
	load.Topic = topic
	r.work = workload.Start(t, r.cluster, load)
	r.work.AwaitAcknowledged(ctx, t, 200)
	return r
}

// judge stops the load and asks the history. Nothing may have been told to any client but success.
func (r *rig) judge() {
	r.Helper()
	report := r.work.Stop(r.ctx, r)
	if err := report.Err(); err != nil {
		r.Error(err)
	}
	if r.work.Failed() > 0 {
		r.Errorf("%d records failed, the first: %v", r.work.Failed(), r.work.FirstFailure())
	}
	r.Logf("%d records acknowledged, %d errors, longest pause of a partition %v", r.work.Acknowledged(), r.work.Failed(),
		r.work.LongestPause().Round(time.Millisecond))
}

// shares is how many partitions of the topic each agent leads, once every leader is the one that placement wants.
func (r *rig) shares() map[string]int {
	r.Helper()
	shares := map[string]int{}
	settled := func(l client.Lease) bool { return l.LeaderAgentID != "" && l.LeaderAgentID == l.AssignedAgentID }
	for _, l := range r.cluster.AwaitLeaders(r.ctx, r, topic, settled) {
		shares[l.LeaderAgentID]++
	}
	return shares
}

// awaitShares waits until so many agents lead, none of them more than one partition beyond any other.
func (r *rig) awaitShares(agents int) time.Duration {
	r.Helper()
	began := time.Now()
	for {
		shares := r.shares()
		counts := make([]int, 0, len(shares))
		for _, n := range shares {
			counts = append(counts, n)
		}
		if len(shares) == agents && slices.Max(counts)-slices.Min(counts) <= 1 {
			return time.Since(began)
		}
		select {
		case <-r.ctx.Done():
			r.Fatalf("%d agents should share the partitions: %v", agents, shares)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// sleep lets the load go on.
func (r *rig) sleep(d time.Duration) {
	r.Helper()
	select {
	case <-r.ctx.Done():
		r.Fatal(context.Cause(r.ctx))
	case <-time.After(d):
	}
}
