package ingest

import (
	"slices"
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// Append judges a batch and, if it is Accepted, gives it the partition's next offsets and a place in the open object.
func (l *Ledger) Append(p partition.ID, b *Batch) Decision {
	return l.AppendAll([]partition.ID{p}, []*Batch{b})[0]
}

// AppendAll is Append for the batches of one request, bs[i] for ps[i]: they go into one object if they fit, and the flusher is woken once.
// After a batch that was not taken at once the later ones of its partition are Skipped, so that they keep their order.
func (l *Ledger) AppendAll(ps []partition.ID, bs []*Batch) []Decision {
	all, ripe := l.admitAll(ps, bs)
	for _, j := range ripe {
		l.build(j)
	}
	return all
}

func (l *Ledger) admitAll(ps []partition.ID, bs []*Batch) (all []Decision, ripe []*joint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all = make([]Decision, len(bs))
	var stuck []partition.ID
	for i, b := range bs {
		if len(stuck) > 0 && slices.Contains(stuck, ps[i]) {
			all[i].Verdict = Skipped
			continue
		}
		all[i] = l.admit(ps[i], b)
		if !all[i].Verdict.Final() {
			stuck = append(stuck, ps[i])
		}
	}
	ripe, l.ripe = l.ripe, nil
	return all, ripe
}

// admit requires mu.
func (l *Ledger) admit(p partition.ID, b *Batch) Decision {
	t := l.tenures[p]
	if t == nil || t.closing || l.stopped {
		return Decision{}
	}
	d := t.decide(b)
	if d.Verdict != Accepted {
		return d
	}
	if !l.room(t, b.held()) {
		return Decision{Verdict: Overloaded, Epoch: t.epoch}
	}
	if !b.Plain {
		if err := recordbatch.Stamp(b.Bytes, t.next, t.epoch); err != nil {
			return Decision{} // cannot be: the batch was verified
		}
	}
	d.Pending = l.append(t, b)
	return d
}

// room tells whether a tenure may take so many bytes more. A tenure that holds some already may hold no more than would be left free: so one
// hot partition takes half of the memory, two take a third each, and there is always room for those that have nothing in flight. Dividing
// the memory among all partitions would waste it on those that are idle. A lone batch is always taken.
func (l *Ledger) room(t *tenure, size int) bool {
	free := l.config.MaxBufferedBytes - l.buffered - size
	return l.buffered == 0 || free >= 0 && (t.buffered == 0 || t.buffered+size <= free)
}

// Learn gives a tenure what the catalog knows of a producer, unless it has learnt of the producer meanwhile. A state of nil means that the
// catalog knows nothing.
func (l *Ledger) Learn(p partition.ID, epoch partition.Epoch, producerID int64, state *controlplanev1.ProducerState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tenures[p]
	if t == nil || t.epoch != epoch || t.producers[producerID] != nil {
		return
	}
	t.evict()
	t.clock++
	known := producerOf(state)
	known.used = t.clock
	t.producers[producerID] = known
}

// append requires mu and room.
func (l *Ledger) append(t *tenure, b *Batch) *Pending {
	pending := &Pending{done: make(chan struct{}), baseOffset: t.next}
	if b.Header.Producer.Idempotent() {
		t.remember(b, pending)
	}
	fresh, growing := l.open == nil || t.awaited(), l.open != nil && l.open.growing()
	s := l.segment(t, b)
	if j := s.add(b, pending); j != nil {
		l.ripen(j)
	}
	l.open.Calls.Add(b.Span)
	t.next += int64(b.Header.RecordCount)
	l.open.size += len(b.Bytes)
	if b.Header.Producer.Idempotent() {
		l.open.weight += producerWeight
	}
	l.hold(s, b.held())
	t.wake()
	if l.full() {
		l.seal(Full)
	}
	// Nothing else changes when the open object is to be sealed: the flusher need not look after every batch.
	if fresh || l.open == nil || growing && !l.open.growing() {
		notify(l.Flush)
	}
	return pending
}

// hold counts bytes that a segment holds from now on, or with a minus no more. Requires: mu.
func (l *Ledger) hold(s *segment, bytes int) {
	s.held += bytes
	s.tenure.buffered += bytes
	l.buffered += bytes
}

// segment finds or begins the tenure's segment in the open object, which it opens if there is none.
func (l *Ledger) segment(t *tenure, b *Batch) *segment {
	const maxSegmentRecords = 1 << 30
	s := l.openAt[t]
	if s != nil && int64(s.count)+int64(b.Header.RecordCount) > maxSegmentRecords {
		l.seal(Full)
		s = nil
	}
	if l.open == nil {
		l.open = &Object{OpenedAt: time.Now()}
	}
	if s == nil {
		s = &segment{tenure: t}
		l.openAt[t] = s
		l.open.segments = append(l.open.segments, s)
		l.open.weight += segmentWeight
		t.segments = append(t.segments, s)
	}
	l.open.first = l.open.first || t.awaited()
	t.fresh = false
	return s
}

// full counts batches alone: were the footer counted, the same bytes in more partitions would need more objects. While segments are many
// and small an object may grow beyond its size, up to growth times.
func (l *Ledger) full() bool {
	o := l.open
	return o.size >= l.config.MaxObjectBytes && (!o.growing() || o.size >= growth*l.config.MaxObjectBytes) ||
		o.weight >= maxObjectWeight || len(o.segments) >= object.MaxSegments/4
}

// seal gives the open object its key; its content is fixed from now on. Requires: mu.
func (l *Ledger) seal(reason Reason) {
	o := l.open
	if o == nil {
		return
	}
	o.reason = reason
	o.Key = object.Key{AgentGroup: l.config.AgentGroup, Incarnation: l.config.Incarnation, Session: l.config.Session, Counter: l.counter}
	l.counter++
	o.sort()
	l.open = nil
	clear(l.openAt)
	l.queue = append(l.queue, o)
	l.uploads = append(l.uploads, o)
}

// Open describes the open object and what is ahead of it.
type Open struct {
	// Empty: nothing has been appended since the last object was sealed.
	Empty bool
	// OpenedAt is when its first batch came.
	OpenedAt time.Time
	// Urgent: a hand-off or a drain waits for it. First: it has the first batch of a tenure, for which a producer may have waited.
	Urgent, First bool
	// Full: it has its size, and would be sealed were it not growing. Growing: its segments are many and small.
	Full, Growing bool
	// Ahead is how many sealed objects are not settled yet.
	Ahead int
}

// Open tells what the flusher needs in order to decide when to seal.
func (l *Ledger) Open() Open {
	l.mu.Lock()
	defer l.mu.Unlock()
	ahead := len(l.queue)
	if l.sending != nil {
		ahead += len(l.sending.objects)
	}
	if l.open == nil {
		return Open{Empty: true, Ahead: ahead}
	}
	return Open{
		OpenedAt: l.open.OpenedAt, Urgent: l.open.urgent || l.stopped, First: l.open.first,
		Full: l.open.size >= l.config.MaxObjectBytes, Growing: l.open.growing(), Ahead: ahead,
	}
}

// Seal closes the open object, if there is one.
func (l *Ledger) Seal(reason Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seal(reason)
}

// NextUpload hands out the next sealed object, once; nil: there is none. One of which nothing is left to commit is never begun.
func (l *Ledger) NextUpload() *Object {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.uploads) > 0 {
		o := l.uploads[0]
		l.uploads = l.uploads[1:]
		if len(o.live()) > 0 {
			return o
		}
	}
	return nil
}
