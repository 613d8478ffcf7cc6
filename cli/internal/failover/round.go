package failover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// tail is how long the probes go on after the last partition was taken over: a gap that follows would count.
const tail = 500 * time.Millisecond

// heartbeat is the time between two heartbeats of an agent. Hits come anywhere in between: silence counts from the last one.
const heartbeat = time.Second

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
	if !pause(ctx, rand.N(heartbeat)) {
		return Round{}, ctx.Err()
	}
	survivors, err := b.survivors(ctx, victim)
	if err != nil {
		return Round{}, err
	}
	at := probes.mark()
	if err := b.cluster.Hit(victim, b.config.Signal); err != nil {
		return Round{}, fmt.Errorf("hit %s: %w", victim.ID, err)
	}
	b.hit = &victim
	b.hits[victim.ID]++
	if err := b.observe(ctx, survivors, probes); err != nil {
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

// victim is an agent that leads something, with what it leads: of those hit least so far the one that leads most, so that all have their turn.
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
		if n := len(led[a.ID]); n > 0 && (most.ID == "" || cmp.Or(cmp.Compare(b.hits[most.ID], b.hits[a.ID]), cmp.Compare(n, len(led[most.ID]))) > 0) {
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

// survivors are the agents that run beside the victim.
func (b *bench) survivors(ctx context.Context, victim Agent) ([]Agent, error) {
	agents, err := b.cluster.Agents(ctx)
	return slices.DeleteFunc(agents, func(a Agent) bool { return a.ID == victim.ID }), err
}

// observe waits until every partition of the victim is led by a survivor and has acknowledged a probe.
func (b *bench) observe(ctx context.Context, survivors []Agent, p *probes) error {
	ctx, cancel := context.WithTimeout(ctx, takeoverMax)
	defer cancel()
	group, asking := errgroup.WithContext(ctx)
	for _, agent := range survivors {
		group.Go(func() error {
			return b.await(asking, "others lead what the victim led", func() (bool, error) {
				return p.led(b.claims.of(asking, agent)), p.failure()
			})
		})
	}
	if err := group.Wait(); err != nil {
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
