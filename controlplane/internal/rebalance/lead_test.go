package rebalance_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
	"github.com/streamhouse/streamhouse/controlplane/internal/rebalance"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// patience is far above the few seconds that a takeover needs, even on a busy machine, and far below for ever.
const patience = time.Minute

// pausing is a store whose rebalancer stops in the middle of a round, as a process does that is sent SIGSTOP: its connections stay.
type pausing struct {
	rebalance.Store
	paused chan struct{} // closed by the test
	goOn   chan struct{} // closed by the test
	within chan struct{} // closed by the rebalancer that has stopped
}

func (p *pausing) Shapes(ctx context.Context) (map[store.AgentGroup]store.Shape, error) {
	select {
	case <-p.paused:
		close(p.within)
		<-p.goOn
		p.paused = nil
	default:
	}
	return p.Store.Shapes(ctx)
}

// TestAPausedReplicaIsReplaced: the replica that decides stops without a word. Another one decides within seconds, on the real database, and
// what the first one does when it wakes up does no harm.
func TestAPausedReplicaIsReplaced(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	url := pgtest.URL(t)
	first, second := pgtest.OpenURL(t, postgres.Config{URL: url}), pgtest.OpenURL(t, postgres.Config{URL: url})
	p := &pausing{Store: first, paused: make(chan struct{}), goOn: make(chan struct{}), within: make(chan struct{})}
	c := newCluster(t, second)
	stopFirst := start(t, p, "first")
	defer stopFirst()
	wake := sync.OnceFunc(func() { close(p.goOn) })
	defer wake() // also where the test fails
	await(t, c, "first")
	defer start(t, second, "second")()
	c.join("a", "z1")
	c.create(10)
	close(p.paused)
	<-p.within
	paused := time.Now()
	c.join("b", "z1")
	for c.assigned("b") != 5 {
		if time.Since(paused) > patience {
			t.Fatal("nobody has taken over")
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("taken over after %v", time.Since(paused))
	await(t, c, "second")
	wake()
	time.Sleep(500 * time.Millisecond)
	await(t, c, "second")
	if c.assigned("b") != 5 {
		t.Errorf("b has %d partitions", c.assigned("b"))
	}
}

// await waits until this replica decides.
func await(t *testing.T, c *cluster, name string) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		view, err := c.ClusterView(t.Context(), store.EveryAgentGroup)
		c.must(err)
		if view.PlacementBy == name {
			return
		}
		if time.Since(begin) > patience {
			t.Fatalf("placement by %q", view.PlacementBy)
		}
	}
}
