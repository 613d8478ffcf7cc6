package ingest

import (
	"slices"
	"sync"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// batchOverhead is what a batch in flight costs in memory beside its bytes, about.
const batchOverhead = 256

// Config of a ledger; all is required.
type Config struct {
	AgentGroup  string
	Session     object.UUID
	Incarnation int32
	// MaxObjectBytes of batches seal the open object.
	MaxObjectBytes int
	// MaxBufferedBytes bounds the batches in flight; beyond it, or a partition's share of it, Append says Overloaded.
	MaxBufferedBytes int
}

// Ledger holds everything of one session that is not settled yet. It is safe for concurrent use; no method waits.
type Ledger struct {
	config Config
	// Flush, Commit and Lease get a token (capacity 1, never closed) when their owner has something to look at: the open object or a sealed
	// one; an uploaded object; a tenure that ended or has nothing in flight any more.
	Flush, Commit, Lease chan struct{}

	mu        sync.Mutex
	stopped   bool // no tenure begins, nothing is appended
	tenures   map[partition.ID]*tenure
	lastEnded map[partition.ID]partition.Epoch
	open      *Object
	openAt    map[*tenure]*segment // the open object's segments
	queue     []*Object            // sealed and not settled, in order of counter
	uploads   []*Object            // sealed, nobody uploads them yet
	counter   uint64
	buffered  int
	sending   *Commit
	ripeBytes int            // of a joint batch that takes no more
	ripe      []*joint       // to be built by whoever has just appended
	changed   chan struct{}  // closed, and replaced, when a tenure begins or ends or stops taking batches
	fallen    []partition.ID // tenures that ended otherwise than by EndAll, since they were last taken
	hushed    bool           // changed is not closed now but once at the end, if there is news
	news      bool
}

// New returns an empty ledger.
func New(config Config) *Ledger {
	return &Ledger{
		config: config, Flush: make(chan struct{}, 1), Commit: make(chan struct{}, 1), Lease: make(chan struct{}, 1),
		tenures: map[partition.ID]*tenure{}, lastEnded: map[partition.ID]partition.Epoch{}, openAt: map[*tenure]*segment{},
		changed: make(chan struct{}), ripeBytes: ripeBytes,
	}
}

// Held is a tenure of this session.
type Held struct {
	Epoch partition.Epoch
	// Closing: it takes no more batches.
	Closing bool
	// Busy: batches of it are in flight.
	Busy bool
}

// Held lists the tenures that have not ended.
func (l *Ledger) Held() map[partition.ID]Held {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := make(map[partition.ID]Held, len(l.tenures))
	for p, t := range l.tenures {
		held[p] = t.held()
	}
	return held
}

// LastEnded is the highest epoch of the partition that this session has ended; 0: none.
func (l *Ledger) LastEnded(p partition.ID) partition.Epoch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastEnded[p]
}

// Leads tells whether batches of the partition are taken, and in which epoch.
func (l *Ledger) Leads(p partition.ID) (partition.Epoch, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tenures[p]
	if t == nil || t.closing || l.stopped {
		return 0, false
	}
	return t.epoch, true
}

// Changed closes when a tenure begins, ends or stops taking batches. Take it before looking.
func (l *Ledger) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// Granted is a lease that the catalog has granted.
type Granted struct {
	Partition partition.ID
	Grant     *controlplanev1.Grant
}

// Grant begins a tenure. A grant that comes late changes nothing: not the offsets of a tenure that has begun, and not one that has ended.
func (l *Ledger) Grant(p partition.ID, g *controlplanev1.Grant) (began bool) {
	return l.GrantAll([]Granted{{p, g}})[0]
}

// GrantAll is Grant for many. Those who wait are woken once: at a takeover of a thousand partitions a thousand wait, and a wake-up for each
// grant would cost a million.
func (l *Ledger) GrantAll(all []Granted) (began []bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	began = make([]bool, len(all))
	for i, g := range all {
		began[i] = l.grant(g.Partition, g.Grant)
	}
	if slices.Contains(began, true) {
		l.announce()
	}
	return began
}

// grant requires mu, and an announcement afterwards.
func (l *Ledger) grant(p partition.ID, g *controlplanev1.Grant) (began bool) {
	held := l.tenures[p]
	if l.stopped || g.GetEpoch() <= l.lastEnded[p] || (held != nil && g.GetEpoch() <= held.epoch) {
		return false
	}
	if held != nil { // the catalog has ended it: a newer tenure exists
		l.end(held, refusalv1.Reason_REASON_NOT_LEADER)
	}
	l.tenures[p] = newTenure(p, g)
	return true
}

// Stop ends the taking of batches for good; what is in flight stays in flight and is hurried.
func (l *Ledger) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	for _, t := range l.tenures {
		t.wake()
	}
	if l.open != nil {
		l.open.urgent = true
	}
	l.announce()
	notify(l.Flush)
}

// Abandon ends every tenure at once. What no commit has named is surely not written (reason says why); what was sent is possibly.
func (l *Ledger) Abandon(reason refusalv1.Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	for _, t := range l.tenures {
		l.end(t, reason)
	}
	if c := l.sending; c != nil {
		l.sending = nil
		for _, o := range c.objects {
			l.settleAll(o, possibly())
		}
	}
	l.queue, l.uploads = nil, nil
	l.announce()
}

// GiveUpUploads ends the tenures of all objects that have not been uploaded: the session is over, and the bucket does not answer.
func (l *Ledger) GiveUpUploads(reason refusalv1.Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seal(Urgent)
	for _, o := range slices.Clone(l.queue) {
		if !o.uploaded {
			l.kill(o, reason)
		}
	}
	l.uploads = nil
	l.prune()
}

// Idle tells whether nothing is in flight.
func (l *Ledger) Idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open == nil && len(l.queue) == 0 && l.sending == nil
}

// Settled is the counter below which every object has a definite outcome, or will not be committed again.
func (l *Ledger) Settled() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.prune()
	switch {
	case l.sending != nil: // it was taken off the queue's beginning
		return l.sending.objects[0].Key.Counter
	case len(l.queue) > 0:
		return l.queue[0].Key.Counter
	default:
		return l.counter
	}
}

// BufferedBytes is the size of the batches in flight.
func (l *Ledger) BufferedBytes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffered
}

// end ends a tenure. Requires: mu, and the tenure has not ended.
func (l *Ledger) end(t *tenure, reason refusalv1.Reason) {
	if t.ended {
		return
	}
	t.ended, t.closing = true, true
	if l.tenures[t.partition] == t {
		delete(l.tenures, t.partition)
		l.fallen = append(l.fallen, t.partition)
	}
	l.lastEnded[t.partition] = max(l.lastEnded[t.partition], t.epoch)
	l.removeFromOpen(t)
	kept, dropped := t.segments[:0], false
	for _, s := range t.segments {
		if s.sent {
			kept = append(kept, s)
			continue
		}
		s.dropped, dropped = true, true
		l.settleSegment(s, surelyNot(reason))
	}
	t.segments = kept
	t.wake()
	l.announce()
	if dropped {
		l.prune()
	}
	notify(l.Lease)
	notify(l.Commit)
}

// removeFromOpen takes the tenure's segment out of the open object: it never got a key, so no bytes of it will exist.
func (l *Ledger) removeFromOpen(t *tenure) {
	s := l.openAt[t]
	if s == nil {
		return
	}
	delete(l.openAt, t)
	o := l.open
	for i := range o.segments {
		if o.segments[i] == s {
			o.segments = append(o.segments[:i], o.segments[i+1:]...)
			break
		}
	}
	o.size -= s.size
	o.weight -= segmentWeight + producerWeight*len(s.producers)
	if len(o.segments) == 0 {
		l.open = nil
	}
}

// settleSegment tells everybody who waits for it. Requires: mu; every segment is settled once.
func (l *Ledger) settleSegment(s *segment, o Outcome) {
	l.hold(s, -s.held)
	for _, p := range s.pendings {
		out := o
		out.BaseOffset = p.baseOffset
		p.settle(out)
	}
	s.pendings = nil
}

// kill gives up an object that is surely not, and never will be, stored as committed.
func (l *Ledger) kill(o *Object, reason refusalv1.Reason) {
	o.dead = true
	for _, s := range o.segments {
		if !s.dropped {
			l.end(s.tenure, reason)
		}
	}
}

// prune drops objects that nothing will come of, uploaded or not, so that they hold up nobody.
func (l *Ledger) prune() {
	l.queue = slices.DeleteFunc(l.queue, func(o *Object) bool { return len(o.live()) == 0 })
}

func (l *Ledger) announce() {
	if l.hushed {
		l.news = true
		return
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
