package term

import (
	"context"
	"sync"

	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/session"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// Desk is where batches are handed in. It is safe for concurrent use.
type Desk struct {
	config  Config
	drain   chan struct{} // closed by Drain
	drained chan struct{} // closed when a drain is complete
	leave   chan struct{} // closed by Close
	once    struct{ drain, drained, leave sync.Once }

	mu      sync.Mutex
	current *term         // nil between terms
	changed chan struct{} // closed, and replaced, when current changes
}

// NewDesk returns a desk without a term.
func NewDesk(config Config) *Desk {
	return &Desk{
		config: config, drain: make(chan struct{}), drained: make(chan struct{}), leave: make(chan struct{}), changed: make(chan struct{}),
	}
}

// Hold is a session.Holder: it serves for one session. After a drain it keeps the session until Close, so that the routing table stays
// fresh for late requests.
func (d *Desk) Hold(ctx context.Context, s *session.Session) error {
	if err := d.serve(ctx, s); err != nil {
		return err
	}
	select {
	case <-d.drain:
	default:
		return nil
	}
	d.once.drained.Do(func() { close(d.drained) })
	select {
	case <-d.leave:
	case <-s.Ended():
	case <-ctx.Done():
	}
	return nil
}

func (d *Desk) serve(ctx context.Context, s *session.Session) error {
	t := newTerm(d.config, s)
	d.set(t)
	defer d.set(nil)
	return t.run(ctx, d.drain, d.config.Observer)
}

// Drain hands everything over; Drained tells when that is done.
func (d *Desk) Drain() { d.once.drain.Do(func() { close(d.drain) }) }

// Drained is closed when everything has been handed over.
func (d *Desk) Drained() <-chan struct{} { return d.drained }

// Close lets Hold return after a drain.
func (d *Desk) Close() { d.once.leave.Do(func() { close(d.leave) }) }

// Append hands a batch in. See ingest.Ledger.Append. Past the session's own deadline there is no leadership to claim.
func (d *Desk) Append(p partition.ID, b *ingest.Batch) ingest.Decision {
	t := d.term()
	if t == nil || !t.session.Alive() {
		return ingest.Decision{}
	}
	return t.ledger.Append(p, b)
}

// AppendAll hands in the batches of one request. See ingest.Ledger.AppendAll.
func (d *Desk) AppendAll(ps []partition.ID, bs []*ingest.Batch) []ingest.Decision {
	t := d.term()
	if t == nil || !t.session.Alive() {
		return make([]ingest.Decision, len(bs))
	}
	return t.ledger.AppendAll(ps, bs)
}

// Learn passes on what the catalog knows of a producer.
func (d *Desk) Learn(p partition.ID, epoch partition.Epoch, producerID int64, state *controlplanev1.ProducerState) {
	if t := d.term(); t != nil {
		t.ledger.Learn(p, epoch, producerID, state)
	}
}

// Demand asks for the lease of a partition that nobody leads.
func (d *Desk) Demand(p partition.ID) {
	if t := d.term(); t != nil {
		t.leases.Demand(p)
	}
}

// Expect asks for the lease of a partition that is said to have been granted to this agent, in an epoch; false: that is over already, or there is
// no session that could hold it.
func (d *Desk) Expect(p partition.ID, epoch partition.Epoch) bool {
	t := d.term()
	return t != nil && t.leases.Expect(p, epoch)
}

// BufferedBytes is the size of the batches whose fate is open.
func (d *Desk) BufferedBytes() int64 {
	if t := d.term(); t != nil {
		return int64(t.ledger.BufferedBytes())
	}
	return 0
}

// ObjectsAhead is how many sealed objects are not settled yet: in a queue for an upload or a commit, or on their way.
func (d *Desk) ObjectsAhead() int {
	if t := d.term(); t != nil {
		return t.ledger.Open().Ahead
	}
	return 0
}

// Alive tells whether a buffered record may be acknowledged now.
func (d *Desk) Alive() bool {
	t := d.term()
	return t != nil && t.session.Alive()
}

// Session is the id of the session that serves now; empty: none.
func (d *Desk) Session() string {
	if t := d.term(); t != nil {
		return t.session.ID.String()
	}
	return ""
}

// Settled is the counter below which the objects of a session are settled; 0: it does not serve now, which takes nothing back.
func (d *Desk) Settled(session object.UUID) uint64 {
	if t := d.term(); t != nil && t.session.ID == session {
		return t.ledger.Settled()
	}
	return 0
}

// Leads tells whether this agent takes batches for the partition, and in which epoch.
func (d *Desk) Leads(p partition.ID) (partition.Epoch, bool) {
	t := d.term()
	if t == nil || !t.session.Alive() {
		return 0, false
	}
	return t.ledger.Leads(p)
}

// HeldCount is how many tenures this agent has.
func (d *Desk) HeldCount() int {
	if t := d.term(); t != nil {
		return t.ledger.HeldCount()
	}
	return 0
}

// Lately tells whether the partition is being handed over, or was so a moment ago.
func (d *Desk) Lately(p partition.ID) bool { return d.config.Handed.Lately(p) }

// Changed lists what closes when Leads may answer otherwise. Take it before looking.
func (d *Desk) Changed() (terms, tenures <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current == nil {
		return d.changed, nil
	}
	return d.changed, d.current.ledger.Changed()
}

func (d *Desk) term() *term {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current
}

func (d *Desk) set(t *term) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.current = t
	close(d.changed)
	d.changed = make(chan struct{})
}
