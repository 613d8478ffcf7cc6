package failover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamhouse/streamhouse/client"
)

// tail is how long the probes go on after the last partition was taken over: a gap that follows would count.
const tail = 500 * time.Millisecond

// round hits one agent and waits until others do all that it did.
func (b *bench) round(ctx context.Context) (Round, error) {
	victim, led, err := b.victim(ctx)
	if err != nil {
		return Round{}, err
	}
	probes := newProbes(b.producer, b.topic, led, b.config.Every)
	probing, stop := context.WithCancel(ctx)
	probes.start(probing)
	defer probes.wait()
	defer stop()
	if err := b.warm(ctx, probes); err != nil {
		return Round{}, err
	}
	before, err := b.leaders(ctx)
	if err != nil {
		return Round{}, err
	}
	at := probes.mark()
	if err := b.cluster.Hit(victim, b.config.Signal); err != nil {
		return Round{}, fmt.Errorf("hit %s: %w", victim.ID, err)
	}
	b.hit = &victim
	if err := b.observe(ctx, victim, probes, before, at); err != nil {
		return Round{}, err
	}
	if !pause(ctx, tail) {
		return Round{}, ctx.Err()
	}
	stop()
	probes.wait()
	round := probes.round(victim.ID, at)
	if round.Failed > 0 {
		return round, fmt.Errorf("%d probes were not stored: %w", round.Failed, probes.failure())
	}
	return round, b.restore(ctx)
}

// victim is the agent that leads most, with what it leads. Who came back last leads little, so that all have their turn.
func (b *bench) victim(ctx context.Context) (Agent, []int32, error) {
	agents, err := b.cluster.Agents(ctx)
	if err != nil {
		return Agent{}, nil, err
	}
	leaders, err := b.leaders(ctx)
	if err != nil {
		return Agent{}, nil, err
	}
	led := map[string][]int32{}
	for p, l := range leaders {
		led[l.AgentID] = append(led[l.AgentID], int32(p))
	}
	var most Agent
	for _, a := range agents {
		if len(led[a.ID]) > len(led[most.ID]) {
			most = a
		}
	}
	if most.ID == "" {
		return Agent{}, nil, errors.New("no agent that runs here leads a partition of the topic")
	}
	return most, led[most.ID], nil
}

// warm waits until the probes flow.
func (b *bench) warm(ctx context.Context, p *probes) error {
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	return b.await(ctx, "every partition acknowledges probes", func() (bool, error) { return p.flowing(), p.failure() })
}

// observe waits until every partition of the victim has another leader and has acknowledged a probe.
func (b *bench) observe(ctx context.Context, victim Agent, p *probes, before []client.Leader, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, takeoverMax)
	defer cancel()
	err := b.await(ctx, "others lead what "+victim.ID+" led", func() (bool, error) {
		leaders, err := b.leaders(ctx)
		if err != nil {
			return false, nil //nolint:nilerr // the agent that was asked may be the victim: the next one is
		}
		return p.led(time.Since(at), leaders, before, victim.ID), p.failure()
	})
	if err != nil {
		return err
	}
	return b.await(ctx, "every partition acknowledges probes again", func() (bool, error) { return p.recovered(), p.failure() })
}

func pause(ctx context.Context, wait time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(wait):
		return true
	}
}
