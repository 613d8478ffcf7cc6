// Package describe writes the descriptions of topics that no checkpoint has yet, before anything of them is committed: objects of records say to which
// topic ids they belong, and only checkpoints and descriptions say what those topics are.
// Nothing here knows of records; package flush asks, once for each object, and holds its commit back until the answer.
//
// A topic costs one PUT an agent, while no checkpoint has it; what a checkpoint has costs none, and what was described costs a look into a map.
// Somebody else's description of the topic is as good as ours: a topic's id, name and partitions are what counts, and a checkpoint soon says more.
//
// Promises: P9 (no segment is committed of a topic that the bucket says nothing of).
package describe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/dataplane/internal/catalog"
	"github.com/streamhouse/streamhouse/dataplane/internal/checkpoint"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
)

const (
	// together is how many descriptions an agent writes at a time.
	together = 32
	// maxKnown bounds how many topics are remembered. Beyond it all are forgotten: whoever comes next is told by the routing table, or finds the
	// object there.
	maxKnown = 100_000
)

// Topics says what topics are; a *route.Table is one.
type Topics interface {
	Describe(ctx context.Context, id object.UUID) (route.Description, error)
}

// Store is where descriptions go; an objectstore.Store is one.
type Store interface {
	Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error
}

// Describer sees to it that topics are described. It is safe for concurrent use, and outlives sessions.
type Describer struct {
	agentGroup string
	topics     Topics
	store      Store
	log        *slog.Logger
	slots      chan struct{} // one for each description on its way

	done  sync.Map // object.UUID to the incarnation (int32) in which the bucket is known to say what the topic is
	count atomic.Int64

	mu    sync.Mutex
	going map[object.UUID]chan struct{} // closed by whoever writes the description, when it has stopped trying
}

// New returns the describer of an agent group's topics.
func New(agentGroup string, topics Topics, store Store, log *slog.Logger) *Describer {
	return &Describer{
		agentGroup: agentGroup, topics: topics, store: store, log: log,
		slots: make(chan struct{}, together), going: map[object.UUID]chan struct{}{},
	}
}

// Missing leaves the topics of which the bucket may say nothing; nil: none. Each incarnation asks anew: what an older one took for granted may have
// been lost with its transactions.
func (d *Describer) Missing(incarnation int32, topics func(yield func(object.UUID) bool)) (missing []object.UUID) {
	for id := range topics {
		if in, known := d.done.Load(id); !known || in != incarnation {
			missing = append(missing, id)
		}
	}
	return missing
}

// Describe returns when the bucket says what each of the topics is, or when it does not matter any more because the topic is deleted. It tries until then;
// an error is the end of ctx.
func (d *Describer) Describe(ctx context.Context, incarnation int32, topics []object.UUID) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(together)
	for _, id := range topics {
		g.Go(func() error { return d.ensure(ctx, incarnation, id) })
	}
	return g.Wait()
}

// ensure describes one topic, or waits for another object's upload that does.
func (d *Describer) ensure(ctx context.Context, incarnation int32, id object.UUID) error {
	for {
		if in, known := d.done.Load(id); known && in == incarnation {
			return nil
		}
		ended, mine := d.begin(id)
		if mine {
			defer d.end(id, ended)
			return d.persist(ctx, incarnation, id)
		}
		select {
		case <-ended: // done, or given up with the session whose object it was for
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *Describer) begin(id object.UUID) (ended chan struct{}, mine bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ended, going := d.going[id]; going {
		return ended, false
	}
	ended = make(chan struct{})
	d.going[id] = ended
	return ended, true
}

func (d *Describer) end(id object.UUID, ended chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.going, id)
	close(ended)
}

// persist tries until it is done or ctx ends, as uploads do.
func (d *Describer) persist(ctx context.Context, incarnation int32, id object.UUID) error {
	var backoff catalog.Backoff
	for {
		err := d.write(ctx, incarnation, id)
		if err == nil {
			d.remember(incarnation, id)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.log.WarnContext(ctx, "description of a topic is repeated", slog.String("topic_id", id.String()), slog.Any("error", err))
		if err := backoff.Wait(ctx); err != nil {
			return err
		}
	}
}

func (d *Describer) remember(incarnation int32, id object.UUID) {
	if d.count.Add(1) > maxKnown {
		d.count.Store(0)
		d.done.Clear()
	}
	d.done.Store(id, incarnation)
}

// write makes one attempt; nothing is to be done of a topic that a checkpoint has, or that is deleted.
func (d *Describer) write(ctx context.Context, incarnation int32, id object.UUID) error {
	topic, err := d.topics.Describe(ctx, id)
	if err != nil {
		return fmt.Errorf("look for topic: %w", err)
	}
	if topic.Needless {
		return nil
	}
	body, err := checkpoint.Describe(d.agentGroup, incarnation, topic.Topic)
	if err != nil {
		return fmt.Errorf("encode description: %w", err)
	}
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	err = d.store.Put(ctx, checkpoint.DescriptionKey(d.agentGroup, id), [][]byte{body}, objectstore.Checksum(body))
	if err != nil && !errors.Is(err, objectstore.ErrConflict) {
		return fmt.Errorf("write description: %w", err)
	}
	return nil
}
