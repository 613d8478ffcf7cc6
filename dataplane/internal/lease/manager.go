package lease

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/serve/tracing"
)

const (
	// tick is how often the manager looks without being told to.
	tick = time.Second
	// fullLook is how often it looks at everything, and not just at what has changed: with very many partitions that costs milliseconds.
	fullLook = 5 * time.Second
	// drainTick is how often it looks during a drain.
	drainTick = 200 * time.Millisecond
	// handOverPatience is how long a drain waits, with nothing on its way, for placement to give a partition to someone, before it gives it to nobody.
	handOverPatience = 5 * time.Second
	// maxDemands bounds the partitions that wait for their first write; beyond it a demand is lost and made again by the next write.
	maxDemands = 100_000
	// maxPartitions is how many partitions one call names.
	maxPartitions = 1000
	// maxCalls is how many calls of a kind are on their way at once.
	maxCalls = 4
	// maxMoving is how many partitions are on their way to others at once. The rest is served meanwhile, so that each is without a leader for as
	// long as it takes to move so many, however many there are.
	maxMoving = 2 * maxPartitions
)

// Catalog grants and ends tenures; package catalog's Client is one.
type Catalog interface {
	Acquire(context.Context, *controlplanev1.AcquireRequest) (*controlplanev1.AcquireResponse, error)
	Release(context.Context, *controlplanev1.ReleaseRequest) (*controlplanev1.ReleaseResponse, error)
}

// Successors are the other agents; package peer's Peers are.
type Successors interface {
	// TakeOver tells the agent at an address what it has been granted.
	TakeOver(ctx context.Context, address string, req *dataplanev1.TakeOverRequest) error
}

// Config of a manager; all is required.
type Config struct {
	// Self is the agent's id, Session its session's.
	Self, Session string
	Ledger        *ingest.Ledger
	Table         *route.Table
	Catalog       Catalog
	Successors    Successors
	Observer      partition.Observer
	Handed        *Handed
	// Unfit tells whether the agent should lead nothing.
	Unfit func() bool
	// DrainHeard is closed when the control plane knows that this agent drains.
	DrainHeard <-chan struct{}
	// Tracer makes spans; nil: nothing does.
	Tracer *tracing.Tracer
	Log    *slog.Logger
}

// Manager is the lease loop of one session.
type Manager struct {
	Config
	wake     chan struct{} // capacity 1
	drain    chan struct{} // closed once
	draining sync.Once
	calls    calls

	mu       sync.Mutex
	demanded map[partition.ID]struct{}
	expected map[partition.ID]partition.Epoch // said to have been granted to this session

	// Owned by Run.
	releasing map[partition.ID]partition.Epoch // ended here, the catalog has not answered yet
	answered  map[partition.ID]partition.Epoch // released, but the feed still says that this session leads
	retry     map[partition.ID]*retry
	leaveAt   time.Time                 // when a drain stops waiting; zero: not known yet
	attention map[partition.ID]struct{} // what a look is about: whatever is not as it should be
	looked    time.Time                 // at everything
	lookedAs  mode
}

// NewManager returns the manager of one session.
func NewManager(config Config) *Manager {
	return &Manager{
		Config: config, wake: make(chan struct{}, 1), drain: make(chan struct{}), calls: newCalls(),
		demanded: map[partition.ID]struct{}{}, expected: map[partition.ID]partition.Epoch{},
		releasing: map[partition.ID]partition.Epoch{}, answered: map[partition.ID]partition.Epoch{}, retry: map[partition.ID]*retry{},
		attention: map[partition.ID]struct{}{},
	}
}

// Demand says that somebody wants to write to a partition that nobody leads and placement has given to nobody else.
func (m *Manager) Demand(p partition.ID) {
	m.mu.Lock()
	_, known := m.demanded[p]
	if !known && len(m.demanded) < maxDemands {
		m.demanded[p] = struct{}{}
	}
	m.mu.Unlock()
	if !known {
		m.Wake()
	}
}

// Expect says that the catalog is said to have granted a partition to this session: the lease is asked for at once. False: it has been held, and
// ended, already. Nothing rests on its being true.
func (m *Manager) Expect(p partition.ID, epoch partition.Epoch) bool {
	if m.Ledger.LastEnded(p) >= epoch {
		return false
	}
	m.mu.Lock()
	known := m.expected[p] >= epoch
	if !known && len(m.expected) < maxDemands {
		m.expected[p] = epoch
	}
	m.mu.Unlock()
	if !known {
		m.Wake()
	}
	return true
}

// Drain hands everything over; Run returns when that is done.
func (m *Manager) Drain() {
	m.draining.Do(func() { close(m.drain) })
	m.Wake()
}

// Wake makes the manager look now.
func (m *Manager) Wake() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx ends or everything has been handed over after Drain, and returns when the last call has ended.
func (m *Manager) Run(ctx context.Context) {
	defer m.calls.wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for look := true; ; {
		changed := m.Table.Changed()
		if look {
			m.step(ctx)
		}
		if m.drained() {
			return
		}
		timer.Reset(m.untilLook(time.Now()))
		look = true
		select {
		case <-changed:
		case <-m.Ledger.Lease:
		case <-m.wake:
		case apply := <-m.calls.answers:
			apply(ctx)
			m.calls.applyOthers(ctx)
		case <-timer.C:
			look = m.worthALook(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

// drained tells whether a drain is complete: nothing is held, and the catalog knows.
func (m *Manager) drained() bool {
	select {
	case <-m.drain:
		return len(m.releasing) == 0 && m.Ledger.HeldCount() == 0
	default:
		return false
	}
}

// worthALook: at a tick there is something to do only where something waits for time to pass.
func (m *Manager) worthALook(now time.Time) bool {
	return len(m.retry) > 0 || m.mode(now) != serving || m.lookedAs != serving || now.Sub(m.looked) >= fullLook
}

// step looks once, and does what there is to do.
func (m *Manager) step(ctx context.Context) {
	v := m.view(time.Now())
	m.lookedAs = v.mode
	p := decide(v)
	m.attention = v.unsettled()
	m.forgetAnswered(v)
	m.forgetRetries(p.acquire)
	m.close(p.close, v)
	m.endAll(p.end)
	m.release(ctx)
	m.acquire(ctx, p.acquire)
	m.Handed.sweep()
}

// close begins the hand-over of as many tenures as may be on their way.
func (m *Manager) close(wanted []ending, v view) {
	moving := len(m.releasing)
	for _, h := range v.held {
		if h.Closing {
			moving++
		}
	}
	wanted = wanted[:min(len(wanted), max(0, maxMoving-moving))]
	if len(wanted) == 0 {
		return
	}
	closing := make([]ingest.Tenure, len(wanted))
	for i, c := range wanted {
		m.Handed.begin(c.partition)
		closing[i] = ingest.Tenure{Partition: c.partition, Epoch: c.epoch}
	}
	m.Ledger.CloseAll(closing)
}

// endAll resigns. From here on the epochs are not used any more, whatever the catalog answers.
func (m *Manager) endAll(ends []ending) {
	if len(ends) == 0 {
		return
	}
	all := make([]ingest.Ended, len(ends))
	for i, e := range ends {
		all[i] = ingest.Ended{Tenure: ingest.Tenure{Partition: e.partition, Epoch: e.epoch}, Reason: e.reason}
	}
	for i, ended := range m.Ledger.EndAll(all) {
		e := ends[i]
		if ended {
			m.Observer.Moved(e.partition, e.epoch)
		}
		switch {
		case !e.release: // somebody else leads already: nothing is left to hand over
			m.Handed.overtaken(e.partition)
		case m.due(e.partition):
			m.releasing[e.partition] = e.epoch
			if !m.leaveAt.IsZero() {
				m.wait(time.Now())
			}
		}
	}
}

// wait begins the patience of a drain anew: placement moves so many partitions at a time and no more (--max-moves), and one that is released
// says that there is more to come. A drain that has lost its patience does not find it again.
func (m *Manager) wait(now time.Time) {
	if m.leaveAt.IsZero() || now.Before(m.leaveAt) {
		m.leaveAt = now.Add(handOverPatience)
	}
}

// view is what a look is about: what has changed or waits for something, and now and then, or unless all is in order, everything.
func (m *Manager) view(now time.Time) view {
	v := view{
		self: m.Self, session: m.Session, mode: m.mode(now), lastEnded: m.Ledger.LastEnded, answered: m.answered,
		gone: func(p partition.ID) bool { return m.Table.Deleted(p.Topic) },
	}
	v.ready, v.live = others(m.Table.Agents(), m.Self)
	m.mu.Lock()
	v.demanded, v.expected = maps.Clone(m.demanded), maps.Clone(m.expected)
	m.mu.Unlock()
	named := m.named(v)
	if v.mode == serving && m.lookedAs == serving && now.Sub(m.looked) < fullLook {
		v.rows, v.held = map[partition.ID]route.Row{}, m.Ledger.HeldAmong(named)
	} else {
		m.looked = now
		v.rows, v.held = m.Table.Mine(), m.Ledger.Held()
		for p := range v.held {
			named[p] = struct{}{}
		}
	}
	for p := range named {
		v.rows[p] = route.Row{}
	}
	m.Table.Fill(v.rows)
	return v
}

// named are the partitions that every look is about.
func (m *Manager) named(v view) map[partition.ID]struct{} {
	named := m.Table.TakeStirred()
	for _, p := range m.Ledger.TakeFallen() {
		named[p] = struct{}{}
	}
	maps.Copy(named, m.attention)
	maps.Copy(named, v.demanded)
	for p := range v.expected {
		named[p] = struct{}{}
	}
	for p := range m.retry {
		named[p] = struct{}{}
	}
	for p := range m.answered {
		named[p] = struct{}{}
	}
	return named
}

// others are the agents that can take something over, and those that are there.
func others(agents []route.Agent, self string) (ready, live map[string]bool) {
	ready, live = make(map[string]bool, len(agents)), make(map[string]bool, len(agents))
	for _, a := range agents {
		live[a.ID] = a.ID != self && !a.Suspect
		ready[a.ID] = live[a.ID] && !a.Draining
	}
	return ready, live
}

// forgetAnswered drops what the feed has caught up with.
func (m *Manager) forgetAnswered(v view) {
	for p, epoch := range m.answered {
		if row := v.rows[p]; row.Epoch > epoch || row.LeaderSession != m.Session {
			delete(m.answered, p)
		}
	}
}

// forgetRetries drops attempts at what is not wanted any more.
func (m *Manager) forgetRetries(wants []want) {
	if len(m.retry) == 0 {
		return
	}
	wanted := make(map[partition.ID]struct{}, len(wants))
	for _, w := range wants {
		wanted[w.partition] = struct{}{}
	}
	maps.DeleteFunc(m.retry, func(p partition.ID, _ *retry) bool {
		_, acquire := wanted[p]
		_, release := m.releasing[p]
		return !acquire && !release
	})
}

func (m *Manager) mode(now time.Time) mode {
	select {
	case <-m.drain:
	default:
		if m.Unfit() {
			return unfit
		}
		return serving
	}
	select {
	case <-m.DrainHeard:
	default:
		return draining
	}
	if m.leaveAt.IsZero() || len(m.releasing) > 0 {
		m.wait(now)
	}
	if m.alone() || !now.Before(m.leaveAt) {
		return leaving
	}
	return draining
}

// alone: there is no other agent that could take anything over.
func (m *Manager) alone() bool {
	for _, a := range m.Table.Agents() {
		if a.ID != m.Self && !a.Draining {
			return false
		}
	}
	return true
}
