package notice

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

const (
	// lingerInterval is how often partitions are given up that nobody has waited for lately; a consumer that polls comes back within it.
	lingerInterval = 5 * time.Second
	// maxListened bounds the partitions that are listened to; readers of others wait for the catalog.
	maxListened = maxPartitions
)

// Stream is what a listener needs of a Notices call.
type Stream interface {
	Send(*dataplanev1.NoticesRequest) error
	Receive() (*dataplanev1.NoticesResponse, error)
	Close() error
}

// Open calls Notices of the agent at an address. The call ends with ctx.
type Open func(ctx context.Context, address string) (Stream, error)

// Routes says who leads which partition; package route's Table does.
type Routes interface {
	// Changed is closed at the next change.
	Changed() <-chan struct{}
	// Leader has no address where nobody is known to lead.
	Leader(p partition.ID) route.Leader
}

// Listener hears of other agents' commits for the readers of this one. It works while Run runs.
type Listener struct {
	self   string
	routes Routes
	index  *lookup.Index
	moved  func(partition.ID)
	open   Open
	log    *slog.Logger

	// All of Run alone.
	awaited *lookup.Awaited
	wanted  map[partition.ID]*wish
	ears    map[string]*ear // by address
	running sync.WaitGroup

	heard atomic.Int64
	held  atomic.Int64 // streams that stand
}

// wish is a partition that somebody waits for, or did lately.
type wish struct {
	waiting bool
	idle    bool // nobody waited when it was last looked at
	ear     *ear // nil: nobody to listen to
}

// NewListener returns the listener of the agent self. moved is called for each partition that may have changed without being heard of: it
// must have the catalog asked. It must not block.
func NewListener(self string, routes Routes, index *lookup.Index, moved func(partition.ID), open Open, log *slog.Logger) *Listener {
	return &Listener{
		self: self, routes: routes, index: index, moved: moved, open: open, log: log,
		awaited: index.Follow(), wanted: make(map[partition.ID]*wish), ears: make(map[string]*ear),
	}
}

// Heard is how many notices have come since the start.
func (l *Listener) Heard() int64 { return l.heard.Load() }

// Streams is how many agents are listened to now.
func (l *Listener) Streams() int64 { return l.held.Load() }

// Run listens until ctx ends; then all streams have ended.
func (l *Listener) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer l.running.Wait()
	defer cancel()
	linger := time.NewTicker(lingerInterval)
	defer linger.Stop()
	changed := l.routes.Changed()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.awaited.Changed():
			l.follow(ctx)
		case <-changed:
			changed = l.routes.Changed()
			l.reroute(ctx)
		case <-linger.C:
			l.giveUp()
		}
	}
}

// follow takes who waits now.
func (l *Listener) follow(ctx context.Context) {
	for p, waiting := range l.awaited.Take() {
		w := l.wanted[p]
		if w == nil {
			if len(l.wanted) >= maxListened {
				continue
			}
			w = &wish{}
			l.wanted[p] = w
			l.attach(ctx, p, w)
		}
		w.waiting, w.idle = waiting, false
	}
}

// reroute has every partition listened to at its present leader.
func (l *Listener) reroute(ctx context.Context) {
	for p, w := range l.wanted {
		l.attach(ctx, p, w)
	}
	l.closeIdle()
}

// attach listens to the leader of one partition, if that is another agent.
func (l *Listener) attach(ctx context.Context, p partition.ID, w *wish) {
	leader := l.routes.Leader(p)
	var next *ear
	if leader.Address != "" && leader.ID != l.self {
		next = l.ear(ctx, leader.Address)
	}
	if next == w.ear {
		return
	}
	if w.ear != nil {
		w.ear.remove(p)
	}
	if w.ear = next; next != nil {
		next.add(p)
	}
}

func (l *Listener) ear(ctx context.Context, address string) *ear {
	if e := l.ears[address]; e != nil {
		return e
	}
	e := newEar(l, address)
	l.ears[address] = e
	ctx, e.stop = context.WithCancel(ctx)
	l.running.Go(func() { e.run(ctx) })
	return e
}

// giveUp lets go of what nobody has waited for during a whole interval.
func (l *Listener) giveUp() {
	for p, w := range l.wanted {
		switch {
		case w.waiting:
		case !w.idle:
			w.idle = true
		default:
			if w.ear != nil {
				w.ear.remove(p)
			}
			delete(l.wanted, p)
		}
	}
	l.closeIdle()
}

// closeIdle ends the streams on which nothing is listened to.
func (l *Listener) closeIdle() {
	for address, e := range l.ears {
		if e.idle() {
			e.stop()
			delete(l.ears, address)
		}
	}
}

// hear takes one notice.
func (l *Listener) hear(n *dataplanev1.Notice) {
	p := idOf(n.GetPartition())
	if n.GetMoved() {
		l.moved(p)
		return
	}
	if n.GetEpoch() > 0 && n.GetHighWatermark() >= 0 {
		l.index.Noticed(p, n.GetEpoch(), n.GetHighWatermark(), segmentOf(n))
	}
}
