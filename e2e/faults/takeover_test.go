package faults_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/history"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

// promptly is far below every other way in which these clusters would notice, and far above what a slow machine needs.
const promptly = 15 * time.Second

// A killed agent refuses connections: its partitions go elsewhere at once, long before silence would tell.
func TestRefusedAgentIsReplacedAtOnce(t *testing.T) {
	options := sessions(time.Minute)
	options.SuspectAfter = time.Minute
	run(t, options, workload.Options{}, func(tr *trial) {
		victim, leases := tr.leader()
		victim.Kill()
		killed := time.Now()
		tr.awaitTakeover(victim, leases)
		if took := time.Since(killed); took > promptly {
			tr.Errorf("the takeover took %v", took)
		}
		if state := tr.agents()[victim.ID].State; state != client.AgentSuspect {
			tr.Errorf("the killed agent is %v", state)
		}
	})
}

// Requests that arrive while nobody leads wait, at every agent, within their deadline, and then succeed: also those of clients that do not
// retry, and know only one agent.
func TestRequestsWaitForTheNewLeader(t *testing.T) {
	options := sessions(time.Minute)
	options.SuspectAfter = time.Minute
	run(t, options, workload.Options{}, func(tr *trial) {
		victim, leases := tr.leader()
		victim.Kill()
		var asking sync.WaitGroup
		for _, agent := range tr.cluster.Agents {
			if agent.ID == victim.ID {
				continue
			}
			for _, lease := range leases {
				if lease.LeaderAgentID == victim.ID {
					asking.Go(func() { tr.produceAnywhere(agent, lease.Partition) })
				}
			}
		}
		asking.Wait()
		tr.awaitTakeover(victim, leases)
	})
}

// produceAnywhere sends one record to an agent, once; the agent may forward it.
func (tr *trial) produceAnywhere(agent *cluster.Agent, partition int32) {
	ctx, cancel := context.WithTimeout(tr.ctx, promptly)
	defer cancel()
	id := fmt.Sprintf("once-%s-%d", agent.ID, partition)
	offset, err := workload.NewAgent(agent.URL, tr.cluster.ClientKey).ProduceAnywhere(ctx, topic, partition, id)
	if err != nil {
		tr.Errorf("a record for partition %d, sent to %s: %v", partition, agent.ID, err)
		return
	}
	tr.work.Wrote(history.Write{ID: id, Producer: id, Outcome: history.Acknowledged, Partition: partition, Offset: offset})
}

// A stopped process keeps its connections and accepts new ones: its silence tells.
func TestStoppedAgentIsReplacedBySilence(t *testing.T) {
	options := sessions(time.Minute)
	options.SuspectAfter = 2 * time.Second
	run(t, options, workload.Options{}, func(tr *trial) {
		victim, leases := tr.leader()
		tr.must(victim.Pause())
		stopped := time.Now()
		tr.awaitTakeover(victim, leases)
		if took := time.Since(stopped); took > promptly {
			tr.Errorf("the takeover took %v", took)
		}
		tr.work.AwaitAcknowledged(tr.ctx, tr, 100)
		tr.must(victim.Resume())
		tr.awaitLive(victim.ID)
	})
}

// A suspect that comes back carries on with what it still holds, in the same session and the same epochs: here the partitions of a topic
// that allows buffered acks, which nobody may take over before the session ends.
func TestSuspectComesBackAndCarriesOn(t *testing.T) {
	options := sessions(time.Minute)
	options.SuspectAfter = 2 * time.Second
	run(t, options, workload.Options{}, func(tr *trial) {
		const buffered = "buffered"
		tr.cluster.CreateTopic(tr.ctx, tr, buffered, 3, client.TopicConfig{AllowBufferedAcks: new(true)})
		before := tr.cluster.AwaitLeaders(tr.ctx, tr, buffered, func(l client.Lease) bool { return l.LeaderAgentID != "" })
		victim := tr.cluster.Agent(tr, before[0].LeaderAgentID)
		session := tr.agents()[victim.ID].SessionID
		tr.must(victim.Pause())
		tr.eventually("the stopped agent is suspect", func() bool { return tr.agents()[victim.ID].State == client.AgentSuspect })
		tr.sleep(time.Second)
		tr.must(victim.Resume())
		tr.awaitLive(victim.ID)
		tr.produce(buffered, before[0].Partition)
		if now := tr.agents()[victim.ID].SessionID; now != session {
			tr.Errorf("session %s became %s", session, now)
		}
		after := tr.cluster.AwaitLeaders(tr.ctx, tr, buffered, func(client.Lease) bool { return true })
		if after[0].Epoch != before[0].Epoch || after[0].LeaderAgentID != victim.ID {
			tr.Errorf("partition 0 was led by %s in epoch %d, now by %s in epoch %d", victim.ID, before[0].Epoch, after[0].LeaderAgentID, after[0].Epoch)
		}
	})
}

// While PostgreSQL is away nobody can be heard: afterwards nobody has been silent. No session is lost, and nothing moves. The short outage
// is longer than suspect-after, and too short to leave an old pulse.
func TestPostgresOutageMovesNothing(t *testing.T) { outageMovesNothing(t, 10*time.Second) }

func TestPostgresShortOutageMovesNothing(t *testing.T) { outageMovesNothing(t, 1300*time.Millisecond) }

func outageMovesNothing(t *testing.T, outage time.Duration) {
	options := cluster.Options{SessionDuration: 30 * time.Second, SuspectAfter: 2 * time.Second} // the defaults
	run(t, options, workload.Options{}, func(tr *trial) {
		agents, leases := tr.agents(), tr.leases()
		tr.cluster.Postgres.Kill()
		tr.sleep(outage)
		tr.cluster.Postgres.Start(tr.ctx, tr)
		for back := time.Now(); time.Since(back) < 4*time.Second; tr.sleep(200 * time.Millisecond) {
			for id, agent := range tr.agents() {
				if agent.State != client.AgentLive || agent.SessionID != agents[id].SessionID {
					tr.Errorf("agent %s is %v in session %s, was in %s", id, agent.State, agent.SessionID, agents[id].SessionID)
				}
			}
		}
		for i, lease := range tr.leases() {
			if lease.Epoch != leases[i].Epoch || lease.LeaderAgentID != leases[i].LeaderAgentID {
				tr.Errorf("partition %d moved from %s in epoch %d to %s in epoch %d", lease.Partition,
					leases[i].LeaderAgentID, leases[i].Epoch, lease.LeaderAgentID, lease.Epoch)
			}
		}
	})
}

// agents are those that the control plane knows, by id. While it cannot tell, it is asked again.
func (tr *trial) agents() map[string]client.Agent {
	tr.Helper()
	byID := map[string]client.Agent{}
	tr.eventually("the agents are listed", func() bool {
		agents, err := tr.cluster.Admin(tr).ListAgents(tr.ctx, "")
		for _, a := range agents {
			byID[a.ID] = a
		}
		return err == nil
	})
	return byID
}

func (tr *trial) leases() []client.Lease {
	tr.Helper()
	return tr.cluster.AwaitLeaders(tr.ctx, tr, topic, func(client.Lease) bool { return true })
}

// produce stores one record.
func (tr *trial) produce(topic string, partition int32) {
	tr.Helper()
	producer, err := tr.cluster.Client(tr).NewProducer()
	tr.must(err)
	ctx, cancel := context.WithTimeout(tr.ctx, promptly)
	defer cancel()
	tr.must(producer.ProduceSync(ctx, &client.Record{Topic: topic, Value: []byte("on"), Partition: partition, UsePartition: true}))
	tr.must(producer.Close(ctx))
}
