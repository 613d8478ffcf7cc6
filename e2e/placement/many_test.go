package placement_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/process"
)

// TestManyPartitionsOfAKilledAgent: one agent leads many partitions and is killed; it prints how long they are without a leader and when the
// last of them takes a record again, and what processes with so many partitions cost while nothing happens.
func TestManyPartitionsOfAKilledAgent(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	partitions := int32(1000)
	if proving() {
		partitions = 10_000
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := cluster.Start(t, cluster.Options{Zones: []string{"az-a"}, SessionDuration: 30 * time.Second, SuspectAfter: 2 * time.Second})
	victim := c.Agents[0]
	c.CreateTopic(ctx, t, topic, partitions, client.TopicConfig{PreferredZones: &[]string{victim.Zone}})
	idle(ctx, t, c, partitions)
	c.StartAgent(ctx, t, "heir-1", "az-b") // in zones that the topic does not prefer: the victim keeps everything until it is gone
	c.StartAgent(ctx, t, "heir-2", "az-c")
	c.AwaitLeaders(ctx, t, topic, func(l client.Lease) bool { return l.LeaderAgentID == victim.ID && l.AssignedAgentID == victim.ID })
	producer, err := c.Client(t).NewProducer(client.WithLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = producer.Close(context.WithoutCancel(ctx)) }()
	touch(ctx, t, producer, partitions)
	killed := time.Now()
	victim.Kill()
	c.AwaitLeaders(ctx, t, topic, func(l client.Lease) bool { return l.LeaderAgentID != "" && l.LeaderAgentID != victim.ID })
	all := time.Since(killed)
	touch(ctx, t, producer, partitions)
	t.Logf("%d partitions of a killed agent: all have a new leader after %v, each has taken a record after %v",
		partitions, all.Round(time.Millisecond), time.Since(killed).Round(time.Millisecond))
}

// touch stores a record in each of the first partitions.
func touch(ctx context.Context, t *testing.T, producer *client.Producer, partitions int32) {
	t.Helper()
	var answered sync.WaitGroup
	for p := range partitions {
		answered.Add(1)
		record := &client.Record{Topic: topic, Partition: p, UsePartition: true, Value: []byte(fmt.Sprintf("to %d", p))}
		producer.Produce(ctx, record, func(_ *client.Record, err error) {
			defer answered.Done()
			if err != nil {
				t.Errorf("partition %d: %v", p, err)
			}
		})
	}
	answered.Wait()
}

// idle prints what a control plane and an agent with so many partitions use while nothing happens.
func idle(ctx context.Context, t *testing.T, c *cluster.Cluster, partitions int32) {
	t.Helper()
	window := 3 * time.Second
	if proving() {
		window = 20 * time.Second
	}
	parts := map[string]*process.Process{"control plane": c.ControlPlanes[0].Process, "agent": c.Agents[0].Process}
	before := map[string]process.Usage{}
	for name, p := range parts {
		u, err := p.Usage()
		if err != nil {
			t.Logf("what idle processes use is not known here: %v", err)
			return
		}
		before[name] = u
	}
	select {
	case <-ctx.Done():
		t.Fatal(context.Cause(ctx))
	case <-time.After(window):
	}
	for name, p := range parts {
		u, err := p.Usage()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s with %d partitions, idle: %d MiB resident, %.1f %% of a core", name, partitions, u.ResidentBytes>>20,
			100*(u.CPU-before[name].CPU).Seconds()/window.Seconds())
	}
}
