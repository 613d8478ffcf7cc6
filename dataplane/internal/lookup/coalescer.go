package lookup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

var (
	// ErrUnavailable wraps why the catalog could not be asked. Nothing is known then, least of all
	// that there is nothing.
	ErrUnavailable = errors.New("catalog unavailable")
	// ErrOverloaded says that too many lookups wait already.
	ErrOverloaded = errors.New("too many lookups wait")
)

// maxRequestPartitions is what one Lookup takes, by its contract.
const maxRequestPartitions = 1000

// Catalog is the part of the control plane's AgentService that is asked here.
type Catalog interface {
	Lookup(ctx context.Context, req *controlplanev1.LookupRequest) (*controlplanev1.LookupResponse, error)
}

// Config bounds lookups. A zero field means its default.
type Config struct {
	Timeout     time.Duration // of one lookup; default 5 s, 100 ms to 1 min
	InFlight    int           // lookups at a time; default 4, 1 to 64
	MaxPending  int           // different queries that wait for their start; default 200,000, at least 1,000
	MaxSegments int           // segments that one lookup may answer (each some 150 bytes); default 10,000, 1,000 to 20,000
}

func (c Config) orDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.InFlight == 0 {
		c.InFlight = 4
	}
	if c.MaxPending == 0 {
		c.MaxPending = 200_000
	}
	if c.MaxSegments == 0 {
		c.MaxSegments = 10_000
	}
	return c
}

// Validate reports the first field out of its bounds.
func (c Config) Validate() error {
	c = c.orDefaults()
	switch {
	case c.Timeout < 100*time.Millisecond || c.Timeout > time.Minute:
		return fmt.Errorf("lookup timeout %s: must be between 100ms and 1m", c.Timeout)
	case c.InFlight < 1 || c.InFlight > 64:
		return fmt.Errorf("lookups in flight %d: must be between 1 and 64", c.InFlight)
	case c.MaxPending < maxRequestPartitions:
		return fmt.Errorf("pending lookups %d: must be at least %d", c.MaxPending, maxRequestPartitions)
	case c.MaxSegments < 1000 || c.MaxSegments > 20_000:
		return fmt.Errorf("segments of a lookup %d: must be between 1000 and 20000", c.MaxSegments)
	}
	return nil
}

// ask is one query and all who wait for its answer.
type ask struct {
	query   Query
	waiting int           // guarded by Coalescer.mu; of no more interest once taken
	done    chan struct{} // closed by the worker (or by Run at its end) after answer and err are set
	answer  Answer
	err     error
}

// Coalescer puts queries that wait at the same time into few lookups.
//
// P4: a query joins an equal one only while that waits in pending. Workers remove a query from pending
// before they send it, under the lock under which Ask adds to it: so every lookup that answers an
// Ask started after that Ask. Joining a running lookup would cost less and be wrong: it may have
// read the catalog before a record was acknowledged that the request must see.
type Coalescer struct {
	catalog          Catalog
	index            *Index
	config           Config
	answered, failed atomic.Int64 // lookups

	ready chan struct{} // a worker is wanted; capacity 1, since a worker that leaves something signals again

	mu      sync.Mutex
	stopped bool
	pending map[Query]*ask // not started
	queue   []*ask         // the same in order of arrival, with those that all have left
}

// NewCoalescer returns a coalescer that asks the catalog and teaches the index; it works while Run
// runs.
func NewCoalescer(catalog Catalog, index *Index, config Config) (*Coalescer, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return &Coalescer{
		catalog: catalog, index: index, config: config.orDefaults(),
		ready: make(chan struct{}, 1), pending: make(map[Query]*ask),
	}, nil
}

// Answered is how many lookups the catalog has answered.
func (c *Coalescer) Answered() int64 { return c.answered.Load() }

// Failed is how many it has not.
func (c *Coalescer) Failed() int64 { return c.failed.Load() }

// Ask answers each query, in order, from lookups that start after this call. The answers are in the
// index before Ask returns. Errors: ErrUnavailable, ErrOverloaded, or that of ctx.
func (c *Coalescer) Ask(ctx context.Context, queries ...Query) ([]Answer, error) {
	asks, err := c.join(queries)
	if err != nil {
		return nil, err
	}
	answers := make([]Answer, len(asks))
	for i, a := range asks {
		select {
		case <-ctx.Done():
			c.leave(asks[i:])
			return nil, ctx.Err()
		case <-a.done:
		}
		if a.err != nil {
			c.leave(asks[i+1:])
			return nil, a.err
		}
		answers[i] = a.answer
	}
	return answers, nil
}

func (c *Coalescer) join(queries []Query) ([]*ask, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil, fmt.Errorf("%w: this agent is stopping", ErrUnavailable)
	}
	if len(c.pending)+len(queries) > c.config.MaxPending {
		return nil, ErrOverloaded
	}
	asks := make([]*ask, len(queries))
	for i, q := range queries {
		a := c.pending[q]
		if a == nil {
			a = &ask{query: q, done: make(chan struct{})}
			c.pending[q] = a
			c.queue = append(c.queue, a)
		}
		a.waiting++
		asks[i] = a
	}
	c.signal()
	return asks, nil
}

// leave takes back what nobody else waits for, if it has not started.
func (c *Coalescer) leave(asks []*ask) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range asks {
		a.waiting--
		if a.waiting == 0 && c.pending[a.query] == a {
			delete(c.pending, a.query)
		}
	}
}

func (c *Coalescer) signal() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// Run sends lookups until ctx ends; then whoever still waits is told ErrUnavailable.
func (c *Coalescer) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	for range c.config.InFlight {
		workers.Go(func() { c.work(ctx) })
	}
	workers.Wait()
	c.stop()
	return nil
}

func (c *Coalescer) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	for _, a := range c.pending {
		a.err = fmt.Errorf("%w: this agent is stopping", ErrUnavailable)
		close(a.done)
	}
	clear(c.pending)
	c.queue = nil
}

func (c *Coalescer) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.ready:
		}
		for ctx.Err() == nil { // what is taken is always answered
			asks := c.take()
			if len(asks) == 0 {
				break
			}
			c.send(ctx, asks)
		}
	}
}

// take starts the oldest queries, as many as one lookup may have.
func (c *Coalescer) take() []*ask {
	c.mu.Lock()
	defer c.mu.Unlock()
	var asks []*ask
	taken, segments := 0, 0
	for _, a := range c.queue {
		if c.pending[a.query] != a {
			taken++ // all have left
			continue
		}
		if len(asks) == maxRequestPartitions || (len(asks) > 0 && segments+a.query.segments() > c.config.MaxSegments) {
			c.signal() // another worker may take the rest meanwhile
			break
		}
		taken++
		segments += a.query.segments()
		delete(c.pending, a.query)
		asks = append(asks, a)
	}
	c.queue = c.queue[taken:]
	return asks
}

func (c *Coalescer) send(ctx context.Context, asks []*ask) {
	sent := time.Now()
	answers, err := c.lookup(ctx, asks)
	if err != nil {
		c.failed.Add(1)
	} else {
		c.answered.Add(1)
	}
	for i, a := range asks {
		if err != nil {
			a.err = err
		} else {
			a.answer = answers[i]
			c.index.learn(a.query.Partition, a.answer)
			c.index.confirm(a.query.Partition, sent)
		}
		close(a.done)
	}
}

func (c *Coalescer) lookup(ctx context.Context, asks []*ask) ([]Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	req := &controlplanev1.LookupRequest{}
	for _, a := range asks {
		req.Partitions = append(req.Partitions, a.query.proto())
	}
	res, err := c.catalog.Lookup(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("%w: look up partitions: %w", ErrUnavailable, err)
	}
	if len(res.GetOutcomes()) != len(asks) {
		return nil, fmt.Errorf("%w: asked for %d partitions, answered %d", ErrUnavailable, len(asks), len(res.GetOutcomes()))
	}
	answers := make([]Answer, len(asks))
	for i, o := range res.GetOutcomes() {
		p := asks[i].query.Partition
		if !bytes.Equal(o.GetTopicId(), p.Topic[:]) || o.GetPartition() != p.Number {
			return nil, fmt.Errorf("%w: asked for another partition than answered, at %d", ErrUnavailable, i)
		}
		answers[i] = answerOf(o)
	}
	return answers, nil
}
