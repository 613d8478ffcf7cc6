package lostcatalog_test

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

// trials is how often the database is taken away: $STREAMHOUSE_TRIALS, else 2.
func trials() int {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("STREAMHOUSE_TRIALS"), "2"))
	if err != nil || n < 1 {
		return 2
	}
	return n
}

// settleTime is how long a restart may go unverified on a slow and busy machine; alone it is well below a second.
const settleTime = 20 * time.Second

// TestP1_RestartsAndCrashesOfPostgresHaltNothing stops and kills the database in turns, under load, and judges the whole history.
func TestP1_RestartsAndCrashesOfPostgresHaltNothing(t *testing.T) {
	t.Parallel()
	s := begin(t, cluster.Options{ControlPlanes: 2})
	load := workload.Start(t, s.cluster, workload.Options{Topic: topic, Probes: true})
	load.AwaitAcknowledged(s.ctx, t, 100)
	var unverified []time.Duration
	for i := range trials() {
		before := s.state().CatalogStart
		if i%2 == 0 {
			if err := s.cluster.Postgres.Stop(s.ctx); err != nil {
				t.Fatal(err)
			}
		} else {
			s.cluster.Postgres.Kill()
		}
		s.cluster.Postgres.Start(s.ctx, t)
		unverified = append(unverified, s.verified(before))
		load.AwaitAcknowledged(s.ctx, t, 100)
	}
	if err := load.Stop(s.ctx, t).Err(); err != nil {
		t.Error(err)
	}
	if load.Failed() > 0 {
		t.Errorf("%d records failed", load.Failed())
	}
	if slices.Max(unverified) > settleTime {
		t.Errorf("a restart was not verified for %v", slices.Max(unverified))
	}
	t.Logf("%d restarts, unverified for %v", len(unverified), fmt.Sprint(unverified))
}

// verified waits until another life of the database is verified; a halt fails the test.
func (s *story) verified(before string) time.Duration {
	s.Helper()
	began := time.Now()
	for {
		now := s.state()
		if now.State == client.CatalogHalted {
			s.Fatalf("halted, though nothing was lost: %q", now.Reasons)
		}
		if now.State == client.CatalogServing && now.CatalogStart != before {
			return time.Since(began).Round(time.Millisecond)
		}
		select {
		case <-s.ctx.Done():
			s.Fatalf("not verified: %+v", now)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// TestP3_ARestartWithADeadAgentGrantsOnceItsSessionHasEnded: nobody may lead what the dead agent led before it is known that it had seen nothing
// that is lost, or its session has ended; everybody else goes on.
func TestP3_ARestartWithADeadAgentGrantsOnceItsSessionHasEnded(t *testing.T) {
	t.Parallel()
	const session = 8 * time.Second
	s := begin(t, cluster.Options{SessionDuration: session, SuspectAfter: 3 * time.Second})
	s.write("before")
	leases := s.cluster.AwaitLeaders(s.ctx, s, topic, func(l client.Lease) bool { return l.LeaderAgentID != "" })
	dead := s.cluster.Agent(s, leases[0].LeaderAgentID)
	s.cluster.Postgres.Kill()
	dead.Kill()
	died := time.Now()
	s.cluster.Postgres.Start(s.ctx, s)
	s.awaitOnly(dead.ID)
	for _, l := range leases {
		if l.LeaderAgentID != dead.ID {
			s.goesOn(l)
		}
	}
	s.await(client.CatalogServing)
	if waited := time.Since(died); waited < session-2*time.Second {
		t.Errorf("verified %v after the death of an agent whose session lasts %v", waited, session)
	}
	s.cluster.AwaitLeaders(s.ctx, s, topic, func(l client.Lease) bool {
		was := leases[l.Partition]
		return l.LeaderAgentID != "" && l.LeaderAgentID != dead.ID && (was.LeaderAgentID != dead.ID || l.Epoch > was.Epoch)
	})
}

// awaitOnly waits until the verification waits for this agent alone, and checks that its partitions keep their epoch meanwhile.
func (s *story) awaitOnly(agent string) {
	s.Helper()
	for {
		now := s.state()
		if now.State == client.CatalogVerifying && slices.Equal(now.AwaitedAgentIDs, []string{agent}) {
			return
		}
		if now.State == client.CatalogServing || s.ctx.Err() != nil {
			s.Fatalf("the verification does not wait for %s: %+v", agent, now)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// goesOn: whoever leads goes on, while the verification waits.
func (s *story) goesOn(l client.Lease) {
	s.Helper()
	for i, a := range s.cluster.Agents {
		if a.ID != l.LeaderAgentID {
			continue
		}
		if _, err := s.agents[i].ProduceHere(s.ctx, topic, l.Partition, "meanwhile"); err != nil {
			s.Errorf("%s, partition %d: %v", a.ID, l.Partition, err)
		}
	}
}
