// Package failover measures what the loss of an agent costs: it kills or stops agents of a running cluster, one after the other, while it
// writes to every partition that the victim leads, and tells for each partition how long nobody led it that would accept, and how long a
// client waited.
// Nothing here decides who leads, or starts a process: Cluster does. It leaves the cluster as it found it, also when it is interrupted.
// Promises: none; a single lost probe makes the measurement fail (P1, P5: an idempotent producer gets every record through).
// Read: failover.go, round.go, probe.go, claims.go, spread.go, report.go.
package failover

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/streamhouse/streamhouse/client"
)

// Signal is what happens to the victims.
type Signal string

// The signals.
const (
	// Kill ends the process where it stands; its address refuses connections from then on.
	Kill Signal = "kill"
	// Stop freezes the process: its connections stay open, new ones are accepted, nothing answers.
	Stop Signal = "stop"
)

// Agent is a process that can be hit.
type Agent struct {
	ID  string
	URL string // base URL of its listener
	PID int
}

// Cluster is where agents run.
type Cluster interface {
	// Agents lists the agents of the agent group that run now.
	Agents(ctx context.Context) ([]Agent, error)
	// Hit sends the signal. Restore undoes it: it starts a killed agent again, and returns when it is ready, or lets a stopped one go on.
	Hit(agent Agent, signal Signal) error
	Restore(ctx context.Context, agent Agent, signal Signal) error
}

// Config of a measurement.
type Config struct {
	// Partitions of the topic that is made for it, and how many agents are hit.
	Partitions int
	Kills      int
	Signal     Signal
	// Every is the time between two probes of one partition.
	Every time.Duration
	// AgentGroup of the topic and of the agents that are hit.
	AgentGroup string
	// Progress is called after each hit; nil: nobody looks.
	Progress func(done int, round Round)
}

// Bounds of a configuration.
const (
	maxPartitions = 10_000
	maxKills      = 1000
	minEvery      = 10 * time.Millisecond
	maxEvery      = time.Minute
)

// Validate says what is wrong.
func (c Config) Validate() error {
	switch {
	case c.Partitions < 1 || c.Partitions > maxPartitions:
		return fmt.Errorf("--partitions: %d is not between 1 and %d", c.Partitions, maxPartitions)
	case c.Kills < 1 || c.Kills > maxKills:
		return fmt.Errorf("--kills: %d is not between 1 and %d", c.Kills, maxKills)
	case c.Signal != Kill && c.Signal != Stop:
		return fmt.Errorf("--signal: %q must be kill or stop", c.Signal)
	case c.Every < minEvery || c.Every > maxEvery:
		return fmt.Errorf("--every: %v is not between %v and %v", c.Every, minEvery, maxEvery)
	}
	return nil
}

// How long parts of a measurement may take. Each is far beyond what is measured; a cluster that takes longer is broken.
const (
	prepareTime = 60 * time.Second // until every partition has a leader, or the probes flow
	takeoverMax = 60 * time.Second // until every partition of a victim has acknowledged a probe
	restoreTime = 90 * time.Second
	cleanUpTime = 30 * time.Second
)

// bench is one Run.
type bench struct {
	config   Config
	cluster  Cluster
	client   *client.Client
	claims   *claims
	topic    string
	producer *client.Producer
	report   Report
	hit      *Agent         // not restored yet
	hits     map[string]int // by agent id
}

// Run measures, with an API key that may produce and administer. What it has measured when it fails or ctx ends is in the report all the same.
func Run(ctx context.Context, sdk *client.Client, apiKey string, cluster Cluster, config Config) (Report, error) {
	if err := config.Validate(); err != nil {
		return Report{}, err
	}
	b := &bench{
		hits:   map[string]int{},
		config: config, cluster: cluster, client: sdk, topic: "bench-failover-" + strings.ToLower(rand.Text()[:10]),
		report: newReport(config),
	}
	b.claims = newClaims(apiKey, b.topic)
	defer b.claims.close()
	err := b.run(ctx)
	return b.report.finished(), errors.Join(err, b.cleanUp(context.WithoutCancel(ctx)))
}

func (b *bench) run(ctx context.Context) (err error) {
	if err := b.prepare(ctx); err != nil {
		return err
	}
	b.producer, err = b.client.NewProducer() //nolint:contextcheck // it lives until it is closed
	if err != nil {
		return err
	}
	for i := range b.config.Kills {
		round, err := b.round(ctx)
		if err != nil {
			return fmt.Errorf("hit %d: %w", i+1, err)
		}
		b.report.Rounds = append(b.report.Rounds, round)
		if b.config.Progress != nil {
			b.config.Progress(i+1, round)
		}
	}
	return nil
}

// prepare makes the topic and waits until everything is led.
func (b *bench) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	agents, err := b.cluster.Agents(ctx)
	if err != nil {
		return err
	}
	if len(agents) < 2 {
		return fmt.Errorf("%d agents of agent group %q run here: with fewer than 2 nobody can take over", len(agents), b.config.AgentGroup)
	}
	b.report.Agents = len(agents)
	_, err = b.client.Admin().CreateTopic(ctx, client.NewTopic{
		Name: b.topic, PartitionCount: int32(b.config.Partitions), AgentGroup: b.config.AgentGroup,
	})
	if err != nil {
		return fmt.Errorf("create topic: %w", err)
	}
	return b.await(ctx, "every partition has a leader", func() (bool, error) {
		leaders, err := b.leaders(ctx)
		for _, l := range leaders {
			if l.AgentID == "" {
				return false, nil
			}
		}
		return err == nil, nil
	})
}

// leaders are those of the topic, by partition, as the agent knows that answers.
func (b *bench) leaders(ctx context.Context) ([]client.Leader, error) {
	m, err := b.client.Metadata(ctx, b.topic)
	if err != nil {
		return nil, err
	}
	return m.Topics[0].Leaders, nil
}

// pollEvery is how often is looked whether something has come to pass.
const pollEvery = 20 * time.Millisecond

// await looks until it is so, an error says that it never will be, or ctx ends.
func (b *bench) await(ctx context.Context, what string, is func() (bool, error)) error {
	for {
		yes, err := is()
		if err != nil {
			return fmt.Errorf("wait until %s: %w", what, err)
		}
		if yes {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, ctx.Err())
		case <-time.After(pollEvery):
		}
	}
}

// cleanUp leaves the cluster as it was.
func (b *bench) cleanUp(ctx context.Context) error {
	var faults []error
	if b.hit != nil {
		faults = append(faults, b.restore(ctx))
	}
	ctx, cancel := context.WithTimeout(ctx, cleanUpTime)
	defer cancel()
	if b.producer != nil {
		faults = append(faults, b.producer.Close(ctx))
	}
	if _, err := b.client.Admin().DeleteTopic(ctx, b.topic); err != nil && !errors.Is(err, client.ReasonUnknownTopic) {
		faults = append(faults, fmt.Errorf("delete topic %s: %w", b.topic, err))
	}
	return errors.Join(faults...)
}

// restore brings the victim back.
func (b *bench) restore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, restoreTime)
	defer cancel()
	victim := *b.hit
	if err := b.cluster.Restore(ctx, victim, b.config.Signal); err != nil {
		return fmt.Errorf("restore %s: %w", victim.ID, err)
	}
	b.hit = nil
	return b.await(ctx, victim.ID+" has a live session", func() (bool, error) {
		agents, err := b.client.Admin().ListAgents(ctx, b.config.AgentGroup)
		for _, a := range agents {
			if a.ID == victim.ID && a.State == client.AgentLive {
				return err == nil, nil
			}
		}
		return false, nil
	})
}
