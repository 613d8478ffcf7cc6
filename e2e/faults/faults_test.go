package faults_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/history"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

const (
	topic      = "orders"
	partitions = 6
	// trialTimeout is exceeded by a hang alone.
	trialTimeout = 4 * time.Minute
	// before and after are the records acknowledged before a fault and after it.
	before, after = 300, 600
)

// trial is one run of a workload on a cluster in which something breaks.
type trial struct {
	*testing.T
	ctx     context.Context // a trial is one bounded piece of work
	cluster *cluster.Cluster
	work    *workload.Workload
}

// run starts a cluster and a workload, has inject break something, and judges the history.
func run(t *testing.T, options cluster.Options, load workload.Options, inject func(tr *trial)) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	for i := range trials() {
		t.Run(fmt.Sprintf("trial %d", i+1), func(t *testing.T) { runOnce(t, options, load, inject) })
	}
}

func runOnce(t *testing.T, options cluster.Options, load workload.Options, inject func(tr *trial)) {
	ctx, cancel := context.WithTimeout(t.Context(), trialTimeout)
	defer cancel()
	c := cluster.Start(t, options)
	c.CreateTopic(ctx, t, topic, partitions, client.TopicConfig{})
	load.Topic, load.Probes = topic, true
	tr := &trial{T: t, ctx: ctx, cluster: c, work: workload.Start(t, c, load)}
	tr.work.AwaitAcknowledged(ctx, t, before)
	tr.work.ForgetPauses()
	inject(tr)
	tr.work.AwaitAcknowledged(ctx, t, after)
	pause := tr.work.LongestPause()
	report := tr.work.Stop(ctx, t)
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if tr.work.Failed() > 0 && !load.PlainProducers {
		t.Errorf("%d records failed: an idempotent producer should have got all of them through", tr.work.Failed())
	}
	record(t, report, pause)
}

// leader is an agent that leads partition 0, and the leases of the topic now.
func (tr *trial) leader() (*cluster.Agent, []client.Lease) {
	tr.Helper()
	leases := tr.cluster.AwaitLeaders(tr.ctx, tr, topic, func(l client.Lease) bool { return l.LeaderAgentID != "" })
	return tr.cluster.Agent(tr, leases[0].LeaderAgentID), leases
}

// awaitTakeover waits until others lead what the agent led, in higher epochs.
func (tr *trial) awaitTakeover(from *cluster.Agent, leases []client.Lease) {
	tr.Helper()
	tr.cluster.AwaitLeaders(tr.ctx, tr, topic, func(l client.Lease) bool {
		was := leases[l.Partition]
		return l.LeaderAgentID != "" && l.LeaderAgentID != from.ID && (was.LeaderAgentID != from.ID || l.Epoch > was.Epoch)
	})
}

// awaitLive waits until the agent has a live session.
func (tr *trial) awaitLive(id string) {
	tr.Helper()
	admin := tr.cluster.Admin(tr)
	tr.eventually("agent "+id+" has a live session", func() bool {
		agents, err := admin.ListAgents(tr.ctx, "")
		if err != nil {
			return false
		}
		for _, a := range agents {
			if a.ID == id && a.State == client.AgentLive {
				return true
			}
		}
		return false
	})
}

func (tr *trial) eventually(what string, is func() bool) {
	tr.Helper()
	for !is() {
		select {
		case <-tr.ctx.Done():
			tr.Fatalf("waited in vain: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (tr *trial) sleep(d time.Duration) {
	tr.Helper()
	select {
	case <-tr.ctx.Done():
		tr.Fatal(context.Cause(tr.ctx))
	case <-time.After(d):
	}
}

func (tr *trial) must(err error) {
	tr.Helper()
	if err != nil {
		tr.Fatal(err)
	}
}

// sessions are short where a test is about the end of one: nobody is suspected by silence in these clusters.
func sessions(d time.Duration) cluster.Options { return cluster.Options{SessionDuration: d} }

func TestNothingBreaks(t *testing.T) {
	run(t, cluster.Options{}, workload.Options{}, func(*trial) {})
}

// (a) kill -9 of the leader in the middle of writing.
func TestAgentKilledWhileWriting(t *testing.T) {
	run(t, sessions(3*time.Second), workload.Options{}, func(tr *trial) {
		victim, leases := tr.leader()
		victim.Kill()
		tr.awaitTakeover(victim, leases)
	})
}

// (a) again, with producers that are not idempotent: what is uncertain may be doubled, nothing else.
func TestAgentKilledUnderPlainProducers(t *testing.T) {
	run(t, sessions(3*time.Second), workload.Options{PlainProducers: true}, func(tr *trial) {
		victim, leases := tr.leader()
		victim.Kill()
		tr.awaitTakeover(victim, leases)
	})
}

// (a) once more: many callers with a plain record each, whose records share batches: of what a killed agent had in the making nothing was acknowledged, and each caller's
// records keep their order.
func TestAgentKilledUnderPlainCallers(t *testing.T) {
	run(t, sessions(3*time.Second), workload.Options{Producers: -1, Callers: 60, Rate: 20, PlainProducers: true}, func(tr *trial) {
		victim, leases := tr.leader()
		victim.Kill()
		tr.awaitTakeover(victim, leases)
	})
}

// A killed agent is suspected long before its session ends.
func TestKilledAgentIsSuspected(t *testing.T) {
	options := sessions(30 * time.Second)
	options.SuspectAfter = 2 * time.Second
	run(t, options, workload.Options{}, func(tr *trial) {
		victim, leases := tr.leader()
		victim.Kill()
		killed := time.Now()
		tr.awaitTakeover(victim, leases)
		if took := time.Since(killed); took > 15*time.Second {
			tr.Errorf("the takeover took %v: it waited for the session to end", took)
		}
	})
}

// (a) and back: the killed agent returns under its id while its old session still lives.
func TestAgentKilledAndRestarted(t *testing.T) {
	run(t, sessions(20*time.Second), workload.Options{}, func(tr *trial) {
		victim, _ := tr.leader()
		victim.Kill()
		victim.Start(tr.ctx, tr)
		tr.awaitLive(victim.ID)
		tr.leader()
	})
}

// (b) An agent is cut off from the control plane past its session, another takes over, the way is restored: its write with the old epoch is refused, it
// notices, drops its leases and joins again.
func TestAgentCutOffFromControlPlaneIsFenced(t *testing.T) {
	options := sessions(3 * time.Second)
	options.Proxied = true
	run(t, options, workload.Options{}, func(tr *trial) {
		victim, leases := tr.leader()
		for _, way := range victim.Control {
			way.Silence(tr)
		}
		stale := tr.produceAt(victim, leases[0].Partition, "stale")
		tr.awaitTakeover(victim, leases)
		for _, way := range victim.Control {
			way.Restore(tr.ctx)
		}
		tr.expectNotAcknowledged(stale, leases[0].Partition)
		tr.awaitLive(victim.ID)
	})
}

// answer is what a produce of the test's own was told.
type answer struct {
	id     string
	offset int64
	err    error
}

// produceAt sends one record to an agent that must not forward it, in the background.
func (tr *trial) produceAt(agent *cluster.Agent, partition int32, id string) <-chan answer {
	done := make(chan answer, 1)
	raw := workload.NewAgent(agent.URL, tr.cluster.ClientKey)
	go func() {
		ctx, cancel := context.WithTimeout(tr.ctx, time.Minute)
		defer cancel()
		offset, err := raw.ProduceHere(ctx, topic, partition, id)
		done <- answer{id, offset, err}
	}()
	return done
}

// expectNotAcknowledged adds the answer to the history: a refusal, which the checker compares with the log.
func (tr *trial) expectNotAcknowledged(stale <-chan answer, partition int32) {
	tr.Helper()
	a := <-stale
	if a.err == nil {
		tr.Errorf("a deposed leader acknowledged %q at %d", a.id, a.offset)
	}
	outcome := history.Possibly
	if refusal := workload.Refusal(a.err); refusal != nil && workload.SurelyNot(refusal) {
		outcome = history.SurelyNot
	}
	tr.Logf("the deposed leader's producer was told (%s): %v", outcome, a.err)
	tr.work.Wrote(history.Write{ID: a.id, Producer: a.id, Outcome: outcome, Partition: partition, Offset: -1})
}

// (c) SIGSTOP for less than the session, then SIGCONT.
func TestAgentPausedBriefly(t *testing.T) {
	run(t, sessions(20*time.Second), workload.Options{}, func(tr *trial) {
		victim, _ := tr.leader()
		tr.must(victim.Pause())
		tr.sleep(3 * time.Second)
		tr.must(victim.Resume())
	})
}

// (c) SIGSTOP for longer than the session, then SIGCONT: no stale ack, no stale commit, no stale "nothing there".
func TestAgentPausedPastItsSession(t *testing.T) {
	run(t, sessions(3*time.Second), workload.Options{}, func(tr *trial) {
		victim, leases := tr.leader()
		tr.must(victim.Pause())
		tr.awaitTakeover(victim, leases)
		tr.sleep(time.Second)
		tr.must(victim.Resume())
		tr.awaitLive(victim.ID)
	})
}

// (d) An agent is cut off from the bucket only.
func TestAgentCutOffFromBucket(t *testing.T) {
	options := sessions(20 * time.Second)
	options.Proxied = true
	run(t, options, workload.Options{}, func(tr *trial) {
		victim, _ := tr.leader()
		victim.Bucket.Silence(tr)
		tr.sleep(4 * time.Second)
		victim.Bucket.Restore(tr.ctx)
	})
}

// (d) PUTs whose answers are lost: the objects are there, the agent does not know.
func TestPutsLandUnanswered(t *testing.T) {
	options := sessions(20 * time.Second)
	options.Proxied = true
	run(t, options, workload.Options{}, func(tr *trial) {
		for _, agent := range tr.cluster.Agents {
			agent.Bucket.LoseAnswers(tr)
		}
		tr.sleep(3 * time.Second)
		for _, agent := range tr.cluster.Agents {
			agent.Bucket.Restore(tr.ctx)
		}
	})
}

// (d) The bucket's server is killed and comes back.
func TestBucketKilled(t *testing.T) {
	run(t, sessions(20*time.Second), workload.Options{}, func(tr *trial) {
		tr.cluster.S3.Kill()
		tr.sleep(2 * time.Second)
		tr.cluster.S3.Start(tr.ctx, tr)
	})
}

// (e) A control plane is killed in the middle of commits; the other goes on.
func TestControlPlaneKilled(t *testing.T) {
	options := sessions(20 * time.Second)
	options.ControlPlanes = 2
	run(t, options, workload.Options{}, func(tr *trial) {
		tr.cluster.ControlPlanes[0].Kill()
		tr.work.AwaitAcknowledged(tr.ctx, tr, 200)
		tr.cluster.ControlPlanes[0].Start(tr.ctx, tr)
	})
}

// (e) A control plane is stopped where it stands, perhaps inside a transaction: its locks must not be held for ever.
func TestControlPlanePaused(t *testing.T) {
	options := sessions(20 * time.Second)
	options.ControlPlanes = 2
	run(t, options, workload.Options{}, func(tr *trial) {
		tr.must(tr.cluster.ControlPlanes[0].Pause())
		tr.work.AwaitAcknowledged(tr.ctx, tr, 200)
		tr.must(tr.cluster.ControlPlanes[0].Resume())
	})
}

// (e) All control planes are restarted, one after the other.
func TestControlPlanesRolled(t *testing.T) {
	options := sessions(20 * time.Second)
	options.ControlPlanes = 2
	run(t, options, workload.Options{}, func(tr *trial) {
		for _, replica := range tr.cluster.ControlPlanes {
			stop, cancel := context.WithTimeout(tr.ctx, 30*time.Second)
			tr.must(replica.Stop(stop))
			cancel()
			replica.Start(tr.ctx, tr)
		}
	})
}

// A graceful stop hands every partition over before the process exits, and no producer sees an error even without retries of its own.
func TestAgentStopsGracefully(t *testing.T) {
	run(t, sessions(20*time.Second), workload.Options{PlainProducers: true}, func(tr *trial) {
		victim, leases := tr.leader()
		stop, cancel := context.WithTimeout(tr.ctx, 60*time.Second)
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- victim.Stop(stop) }()
		tr.awaitTakeover(victim, leases)
		if !victim.Running() {
			tr.Error("the process exited before others led its partitions")
		}
		tr.must(<-ended)
		if tr.work.Failed() > 0 {
			tr.Errorf("%d records failed", tr.work.Failed())
		}
	})
}

// (f) PostgreSQL is restarted under load.
func TestPostgresRestarted(t *testing.T) {
	run(t, sessions(20*time.Second), workload.Options{}, func(tr *trial) {
		stop, cancel := context.WithTimeout(tr.ctx, 30*time.Second)
		defer cancel()
		tr.must(tr.cluster.Postgres.Stop(stop))
		tr.cluster.Postgres.Start(tr.ctx, tr)
	})
}

// (f) PostgreSQL is killed under load and recovers.
func TestPostgresKilled(t *testing.T) {
	run(t, sessions(20*time.Second), workload.Options{}, func(tr *trial) {
		tr.cluster.Postgres.Kill()
		tr.cluster.Postgres.Start(tr.ctx, tr)
	})
}

// (g) Answers of the control plane are lost: what was asked has happened, and is asked again.
func TestControlPlaneAnswersLost(t *testing.T) {
	options := sessions(20 * time.Second)
	options.Proxied = true
	run(t, options, workload.Options{}, func(tr *trial) {
		for range 3 {
			for _, agent := range tr.cluster.Agents {
				agent.Control[0].LoseAnswers(tr)
			}
			tr.sleep(500 * time.Millisecond)
			for _, agent := range tr.cluster.Agents {
				agent.Control[0].Restore(tr.ctx)
			}
			tr.work.AwaitAcknowledged(tr.ctx, tr, 50)
		}
	})
}

// (g) Every request of an agent to the control plane arrives twice; meanwhile a leader is killed.
func TestRequestsDoubled(t *testing.T) {
	options := sessions(3 * time.Second)
	options.Doubled = true
	run(t, options, workload.Options{}, func(tr *trial) {
		victim, leases := tr.leader()
		victim.Kill()
		tr.awaitTakeover(victim, leases)
	})
}
