package rebalance_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/rebalance"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/memory"
)

const group = store.DefaultAgentGroup

// cluster is a catalog with agents that hand over when they are told to, if they are let.
type cluster struct {
	store.Store
	t        testing.TB
	sessions map[string]string // by agent id
	topic    uuid.UUID
}

func newCluster(t testing.TB, catalog store.Store) *cluster {
	return &cluster{Store: catalog, t: t, sessions: map[string]string{}}
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) join(id, zone string) {
	c.t.Helper()
	response, err := c.Register(c.t.Context(), group, &controlplanev1.RegisterRequest{
		AgentId: id, AgentGroup: string(group), Zone: zone, Address: "http://" + id, Version: "1",
	})
	c.must(err)
	c.sessions[id] = response.GetSessionId()
}

func (c *cluster) create(partitions int32) {
	c.t.Helper()
	response, err := c.CreateTopic(c.t.Context(), &controlplanev1.CreateTopicRequest{Name: "orders", PartitionCount: partitions})
	c.must(err)
	c.topic = uuid.MustParse(response.GetTopic().GetTopicId())
}

func (c *cluster) partitions() []*controlplanev1.PartitionStatus {
	c.t.Helper()
	response, err := c.GetTopic(c.t.Context(), group, &controlplanev1.GetTopicRequest{Name: "orders"})
	c.must(err)
	return response.GetPartitions()
}

// lead has every agent acquire what is assigned to it and led by nobody.
func (c *cluster) lead() {
	c.t.Helper()
	for _, p := range c.partitions() {
		if p.GetLeaderAgentId() == "" && p.GetAssignedAgentId() != "" {
			_, err := c.Acquire(c.t.Context(), group, &controlplanev1.AcquireRequest{
				SessionId:  c.sessions[p.GetAssignedAgentId()],
				Partitions: []*controlplanev1.AcquirePartition{{TopicId: c.topic[:], Partition: p.GetPartition()}},
			})
			c.must(err)
		}
	}
}

// handOver has every agent release what is assigned to another, and answers how many partitions were under way.
func (c *cluster) handOver() (moving int) {
	c.t.Helper()
	for _, p := range c.partitions() {
		if p.GetLeaderAgentId() != "" && p.GetLeaderAgentId() != p.GetAssignedAgentId() {
			moving++
			_, err := c.Release(c.t.Context(), group, &controlplanev1.ReleaseRequest{
				SessionId:  c.sessions[p.GetLeaderAgentId()],
				Partitions: []*controlplanev1.ReleasePartition{{TopicId: c.topic[:], Partition: p.GetPartition(), Epoch: p.GetEpoch()}},
			})
			c.must(err)
		}
	}
	return moving
}

// report says how busy partitions are, as their leaders do.
func (c *cluster) report(rate func(partition int32) int64) {
	c.t.Helper()
	reports := map[string]*controlplanev1.AgentReport{}
	for id := range c.sessions {
		reports[id] = &controlplanev1.AgentReport{}
	}
	for _, p := range c.partitions() {
		report := reports[p.GetLeaderAgentId()]
		report.Partitions = append(report.Partitions, &controlplanev1.PartitionLoad{
			TopicId: c.topic[:], Partition: p.GetPartition(), BytesPerSecond: rate(p.GetPartition()),
		})
	}
	for id, report := range reports {
		_, err := c.Heartbeat(c.t.Context(), group, &controlplanev1.HeartbeatRequest{SessionId: c.sessions[id], Report: report})
		c.must(err)
	}
}

func (c *cluster) assigned(id string) (n int) {
	c.t.Helper()
	for _, p := range c.partitions() {
		if p.GetAssignedAgentId() == id {
			n++
		}
	}
	return n
}

// start runs a rebalancer until the function that it answers is called.
func start(t testing.TB, s rebalance.Store, name string) (stop func()) {
	t.Helper()
	return startWith(t, s, rebalance.Config{Name: name})
}

func startWith(t testing.TB, s rebalance.Store, config rebalance.Config) (stop func()) {
	t.Helper()
	config.Logger = slog.New(slog.DiscardHandler)
	r, err := rebalance.New(s, config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return func() { cancel(); running.Wait() }
}

// TestMovesUnderWayAreBounded: an agent that joins gets its share, never more than three partitions at a time; and then nothing moves.
func TestMovesUnderWayAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, memory.New(memory.Config{MaxMoves: 3}))
		c.join("a", "z1")
		c.create(20)
		c.lead()
		c.join("b", "z2")
		defer start(t, c, "p")()
		rounds := 0
		for most := 1; most > 0; rounds++ {
			time.Sleep(500 * time.Millisecond)
			if most = c.handOver(); most > 3 {
				t.Fatalf("%d hand-offs are under way", most)
			}
		}
		if c.assigned("b") != 10 || rounds < 5 {
			t.Errorf("b has %d partitions after %d rounds", c.assigned("b"), rounds)
		}
	})
}

// TestNoiseMovesNothing: loads that differ from report to report by a tenth are no reason to move anything, in an hour.
func TestNoiseMovesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, memory.New(memory.Config{}))
		for i := range 4 {
			c.join(fmt.Sprint("agent-", i), fmt.Sprint("z", i%2))
		}
		c.create(40)
		c.lead()
		defer start(t, c, "p")()
		time.Sleep(time.Second)
		before, err := c.Revisions(t.Context())
		c.must(err)
		for i := range int64(360) {
			c.report(func(p int32) int64 { return 1_000_000 + (int64(p)*7919+i*104729)%100_000 })
			time.Sleep(10 * time.Second)
		}
		after, err := c.Revisions(t.Context())
		c.must(err)
		if before[group] != after[group] {
			t.Errorf("%d changes for noise", after[group]-before[group])
		}
	})
}

// TestLoadsMoveSomethingTwiceAMinuteAtMost: one agent has all the busy partitions. They are spread, though not before the next look at the loads.
func TestLoadsMoveSomethingTwiceAMinuteAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, memory.New(memory.Config{}))
		c.join("a", "z1")
		c.join("b", "z1")
		c.create(8)
		c.lead()
		defer start(t, c, "p")()
		time.Sleep(time.Second)
		busy := map[int32]bool{}
		for _, p := range c.partitions() {
			busy[p.GetPartition()] = p.GetLeaderAgentId() == "a"
		}
		c.report(func(p int32) int64 {
			if busy[p] {
				return 10 << 20
			}
			return 0
		})
		time.Sleep(25 * time.Second)
		if moving := c.handOver(); moving > 0 {
			t.Errorf("%d partitions move before it is time", moving)
		}
		time.Sleep(10 * time.Second)
		if moving := c.handOver(); moving == 0 {
			t.Error("nothing moves")
		}
		atA := 0
		for _, p := range c.partitions() {
			if busy[p.GetPartition()] && p.GetAssignedAgentId() == "a" {
				atA++
			}
		}
		if atA != 2 {
			t.Errorf("a has %d of 4 busy partitions", atA)
		}
	})
}

// TestChangesAreAnsweredAtOnce: a registration at this replica is not waited for.
func TestChangesAreAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, memory.New(memory.Config{}))
		c.join("a", "z1")
		c.create(10)
		defer start(t, c, "p")()
		time.Sleep(time.Second)
		c.join("b", "z1")
		synctest.Wait() // no time passes
		if n := c.assigned("b"); n != 5 {
			t.Errorf("b has %d partitions", n)
		}
	})
}

// counting counts how often shapes are read.
type counting struct {
	*cluster
	shapes atomic.Int64
}

func (c *counting) Shapes(ctx context.Context) (map[store.AgentGroup]store.Shape, error) {
	c.shapes.Add(1)
	return c.cluster.Shapes(ctx)
}

// TestNothingIsReadWhileNothingChanges: but once a second. What another replica has changed is answered within an interval.
func TestNothingIsReadWhileNothingChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &counting{cluster: newCluster(t, memory.New(memory.Config{}))}
		c.join("a", "z1")
		c.create(10)
		var changes atomic.Uint64
		defer startWith(t, c, rebalance.Config{Name: "p", Changes: changes.Load})()
		time.Sleep(2 * time.Second)
		before := c.shapes.Load()
		time.Sleep(10*time.Second + 100*time.Millisecond)
		if n := c.shapes.Load() - before; n < 9 || n > 11 {
			t.Errorf("shapes are read %d times in 10 s", n)
		}
		before = c.shapes.Load()
		changes.Add(1)
		time.Sleep(200 * time.Millisecond)
		if n := c.shapes.Load() - before; n != 1 {
			t.Errorf("shapes are read %d times after a change", n)
		}
	})
}

// TestOneDecides: of two replicas one moves partitions; when it has gone the other does.
func TestOneDecides(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, memory.New(memory.Config{}))
		stop := start(t, c, "p")
		time.Sleep(time.Second)
		defer start(t, c, "q")()
		time.Sleep(time.Second)
		by := func() string {
			view, err := c.ClusterView(t.Context(), store.EveryAgentGroup)
			c.must(err)
			return view.PlacementBy
		}
		if by() != "p" {
			t.Errorf("placement by %q", by())
		}
		stop()
		time.Sleep(time.Second)
		if by() != "q" {
			t.Errorf("placement by %q", by())
		}
	})
}
