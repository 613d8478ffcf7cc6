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
)

const (
	// tick is how often the manager looks without being told to.
	tick = time.Second
	// handOverPatience is how long a drain waits for placement to give a partition to someone, before it gives it to nobody.
	handOverPatience = 5 * time.Second
	// maxDemands bounds the partitions that wait for their first write; beyond it a demand is lost and made again by the next write.
	maxDemands = 100_000
	// maxPartitions is how many partitions one call names.
	maxPartitions = 1000
)

// Catalog grants and ends tenures; package catalog's Client is one.
type Catalog interface {
	Acquire(context.Context, *controlplanev1.AcquireRequest) (*controlplanev1.AcquireResponse, error)
	Release(context.Context, *controlplanev1.ReleaseRequest) (*controlplanev1.ReleaseResponse, error)
}

// Config of a manager; all is required.
type Config struct {
	// Self is the agent's id, Session its session's.
	Self, Session string
	Ledger        *ingest.Ledger
	Table         *route.Table
	Catalog       Catalog
	Observer      partition.Observer
	Handed        *Handed
	// Unfit tells whether the agent should lead nothing.
	Unfit func() bool
	// DrainHeard is closed when the control plane knows that this agent drains.
	DrainHeard <-chan struct{}
	Log        *slog.Logger
}

// Manager is the lease loop of one session.
type Manager struct {
	Config
	wake     chan struct{} // capacity 1
	drain    chan struct{} // closed once
	draining sync.Once

	mu       sync.Mutex
	demanded map[partition.ID]struct{}

	// Owned by Run.
	releasing map[partition.ID]partition.Epoch // ended here, the catalog has not answered yet
	retry     map[partition.ID]*retry
	leaveAt   time.Time // when a drain stops waiting; zero: not known yet
}

// NewManager returns the manager of one session.
func NewManager(config Config) *Manager {
	return &Manager{
		Config: config, wake: make(chan struct{}, 1), drain: make(chan struct{}), demanded: map[partition.ID]struct{}{},
		releasing: map[partition.ID]partition.Epoch{}, retry: map[partition.ID]*retry{},
	}
}

// Demand says that somebody wants to write to a partition that nobody leads and placement has given to nobody else.
func (m *Manager) Demand(p partition.ID) {
	m.mu.Lock()
	if len(m.demanded) < maxDemands {
		m.demanded[p] = struct{}{}
	}
	m.mu.Unlock()
	m.Wake()
}

// Drain hands everything over; RunDrain returns when that is done.
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

// Run works until ctx ends (nil).
func (m *Manager) Run(ctx context.Context) error {
	timer := time.NewTimer(tick)
	defer timer.Stop()
	for {
		changed := m.Table.Changed()
		m.step(ctx)
		timer.Reset(m.untilLook(time.Now()))
		select {
		case <-changed:
		case <-m.Ledger.Lease:
		case <-m.wake:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// drained tells whether a drain is complete: nothing is held, and the catalog knows.
func (m *Manager) drained() bool { return len(m.Ledger.Held()) == 0 && len(m.releasing) == 0 }

// RunDrain is Run until everything is handed over, or ctx ends. Requires: Drain was, or will be, called.
func (m *Manager) RunDrain(ctx context.Context) error {
	for !m.drained() {
		changed := m.Table.Changed()
		m.step(ctx)
		if m.drained() {
			return nil
		}
		if err := m.pause(ctx, changed); err != nil {
			return err
		}
	}
	return nil
}

func (m *Manager) pause(ctx context.Context, changed <-chan struct{}) error {
	timer := time.NewTimer(min(m.untilLook(time.Now()), 200*time.Millisecond))
	defer timer.Stop()
	select {
	case <-changed:
	case <-m.Ledger.Lease:
	case <-m.wake:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// step looks once, and does what there is to do.
func (m *Manager) step(ctx context.Context) {
	p := decide(m.view())
	for _, c := range p.close {
		m.Handed.note(c.partition)
		m.Ledger.Close(c.partition, c.epoch)
	}
	for _, e := range p.end {
		m.end(e)
	}
	m.release(ctx)
	m.acquire(ctx, p.acquire)
	m.Handed.sweep()
}

// end resigns. From here on the epoch is not used any more, whatever the catalog answers.
func (m *Manager) end(e ending) {
	if m.Ledger.End(e.partition, e.epoch, e.reason) {
		m.Observer.Moved(e.partition, e.epoch)
	}
	if e.release && m.due(e.partition) {
		m.Handed.note(e.partition)
		m.releasing[e.partition] = e.epoch
	}
}

func (m *Manager) view() view {
	v := view{
		self: m.Self, session: m.Session, mode: m.mode(time.Now()), rows: m.Table.Mine(), held: m.Ledger.Held(),
		gone: func(p partition.ID) bool { return m.Table.Deleted(p.Topic) }, lastEnded: m.Ledger.LastEnded,
	}
	m.mu.Lock()
	v.demanded = maps.Clone(m.demanded)
	m.mu.Unlock()
	for p := range v.held {
		v.rows[p] = m.Table.Row(p)
	}
	for p := range v.demanded {
		v.rows[p] = m.Table.Row(p)
	}
	return v
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
	if m.leaveAt.IsZero() {
		m.leaveAt = now.Add(handOverPatience)
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
