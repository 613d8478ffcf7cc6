package ingest

import (
	"fmt"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/tracing"
)

// maxCommitObjects is how many objects one commit names at most.
const maxCommitObjects = 100

// Commit is a commit on its way: Request is sent, and repeated unchanged, until it is Answered.
type Commit struct {
	Request *controlplanev1.CommitRequest

	// Flushes are the spans of its objects that are traced.
	Flushes tracing.Links

	objects []*Object
	named   [][]int // per object: positions of the segments that Request names
}

// Effect is what an answered commit changed.
type Effect struct {
	// Committed segments, in order.
	Committed []partition.Committed
	// Failed segments.
	Failed []Failure
}

// Failure is an entry that was refused, and ended its tenure.
type Failure struct {
	Partition partition.ID
	Epoch     partition.Epoch
	Reason    refusalv1.Reason
	Outcome   *controlplanev1.SegmentOutcome // nil: the whole object was refused
}

// Uploaded says that the object is in the bucket.
func (l *Ledger) Uploaded(o *Object, sealed *object.Sealed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o.sealed, o.uploaded = sealed, true
	l.prune()
	notify(l.Commit)
	notify(l.Flush)
}

// UploadFailed says that the object is definitely not, and will not be, in the bucket under its key.
func (l *Ledger) UploadFailed(o *Object, reason refusalv1.Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kill(o, reason)
	l.prune()
	notify(l.Commit)
	notify(l.Flush)
}

// NextCommit gathers every object that is ready, in order; nil: there is none, or a commit is on its way. From now on what it names is
// possibly written until it is Answered.
func (l *Ledger) NextCommit() *Commit {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.prune()
	if l.sending != nil {
		return nil
	}
	c := &Commit{Request: &controlplanev1.CommitRequest{SessionId: l.config.Session.String()}}
	weight := 0
	for _, o := range l.queue {
		weight += o.weight
		full := len(c.objects) == maxCommitObjects || (len(c.objects) > 0 && weight > maxCommitWeight)
		if !o.uploaded || full {
			break
		}
		c.add(o)
	}
	if len(c.objects) == 0 {
		return nil
	}
	l.queue = l.queue[len(c.objects):]
	l.sending = c
	return c
}

func (c *Commit) add(o *Object) {
	at := o.live()
	for _, i := range at {
		o.segments[i].sent = true
	}
	c.objects = append(c.objects, o)
	c.Flushes.Add(o.Span)
	c.named = append(c.named, at)
	c.Request.Objects = append(c.Request.Objects, o.commit(at))
}

// Answered settles a commit by the catalog's definite answer. An error means an answer that does not fit the question; nothing was settled.
func (l *Ledger) Answered(c *Commit, res *controlplanev1.CommitResponse) (Effect, error) {
	if err := c.fits(res); err != nil {
		return Effect{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var effect Effect
	if l.sending != c { // abandoned meanwhile
		return effect, nil
	}
	l.sending = nil
	for i, o := range c.objects {
		outcome := res.GetObjects()[i]
		if r := outcome.GetRefusal(); r != nil {
			l.refuseObject(o, c.named[i], r, &effect)
			continue
		}
		for j, at := range c.named[i] {
			l.settle(o, at, outcome.GetSegments()[j], &effect)
		}
	}
	notify(l.Flush)
	notify(l.Commit)
	if l.stopped {
		notify(l.Lease)
	}
	return effect, nil
}

func (c *Commit) fits(res *controlplanev1.CommitResponse) error {
	if len(res.GetObjects()) != len(c.objects) {
		return fmt.Errorf("commit of %d objects was answered with %d outcomes", len(c.objects), len(res.GetObjects()))
	}
	for i, o := range res.GetObjects() {
		if want := c.Request.GetObjects()[i]; o.GetKey() != want.GetKey() {
			return fmt.Errorf("commit of object %s was answered for %s", want.GetKey(), o.GetKey())
		}
		if o.GetRefusal() == nil && len(o.GetSegments()) != len(c.named[i]) {
			return fmt.Errorf("commit of %d segments in %s was answered with %d outcomes", len(c.named[i]), o.GetKey(), len(o.GetSegments()))
		}
	}
	return nil
}

// refuseObject: a tombstone is a definite no; a session that the catalog does not know any more leaves the fate open.
func (l *Ledger) refuseObject(o *Object, named []int, r *refusalv1.Refusal, effect *Effect) {
	outcome := possibly()
	if r.GetReason() == refusalv1.Reason_REASON_OBJECT_TOMBSTONED {
		outcome = surelyNot(refusalv1.Reason_REASON_NOT_LEADER)
	}
	for _, i := range named {
		l.fail(o.segments[i], outcome, r.GetReason(), nil, effect)
	}
}

func (l *Ledger) settle(o *Object, at int, res *controlplanev1.SegmentOutcome, effect *Effect) {
	s := o.segments[at]
	switch res.GetResult() {
	case controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED:
		l.commit(o, at, effect)
	case controlplanev1.SegmentResult_SEGMENT_RESULT_UNKNOWN_TOPIC:
		l.fail(s, surelyNot(refusalv1.Reason_REASON_UNKNOWN_TOPIC), refusalv1.Reason_REASON_UNKNOWN_TOPIC, res, effect)
	case controlplanev1.SegmentResult_SEGMENT_RESULT_WRONG_AGENT_GROUP:
		l.fail(s, surelyNot(refusalv1.Reason_REASON_WRONG_AGENT_GROUP), refusalv1.Reason_REASON_WRONG_AGENT_GROUP, res, effect)
	case controlplanev1.SegmentResult_SEGMENT_RESULT_UNSPECIFIED: // a verdict that this version does not know
		l.fail(s, possibly(), refusalv1.Reason_REASON_INTERNAL, res, effect)
	default: // fenced, or at odds with the catalog: another leader, or a new tenure, knows better
		l.fail(s, surelyNot(refusalv1.Reason_REASON_NOT_LEADER), reasonOf(res.GetResult()), res, effect)
	}
}

func reasonOf(r controlplanev1.SegmentResult) refusalv1.Reason {
	switch r {
	case controlplanev1.SegmentResult_SEGMENT_RESULT_OFFSET_MISMATCH:
		return refusalv1.Reason_REASON_OFFSET_MISMATCH
	case controlplanev1.SegmentResult_SEGMENT_RESULT_SEQUENCE_GAP:
		return refusalv1.Reason_REASON_SEQUENCE_GAP
	case controlplanev1.SegmentResult_SEGMENT_RESULT_PRODUCER_FENCED:
		return refusalv1.Reason_REASON_PRODUCER_FENCED
	default:
		return refusalv1.Reason_REASON_FENCED
	}
}

func (l *Ledger) commit(o *Object, at int, effect *Effect) {
	s, t := o.segments[at], o.segments[at].tenure
	e := o.sealed.Segments[at]
	t.highWatermark = max(t.highWatermark, s.nextOffset())
	for _, b := range s.producers {
		if p := t.producers[b.GetProducerId()]; p != nil {
			p.settleUpTo(b.GetBaseOffset())
		}
	}
	l.forget(s)
	l.settleSegment(s, Outcome{})
	effect.Committed = append(effect.Committed, partition.Committed{
		Partition: t.partition, Epoch: t.epoch, BaseOffset: s.baseOffset, NextOffset: s.nextOffset(), LogStartOffset: t.logStart,
		MaxTimestampMs: s.maxTimeMs, ObjectKey: o.Key.String(), BytePosition: e.BytePosition, SizeBytes: e.SizeBytes, CRC32C: e.CRC32C,
		ObjectBytes: o.sealed.SizeBytes, Batches: s.bytes(),
	})
}

// fail settles a segment whose entry was refused and ends its tenure.
func (l *Ledger) fail(s *segment, outcome Outcome, reason refusalv1.Reason, res *controlplanev1.SegmentOutcome, effect *Effect) {
	l.forget(s)
	l.settleSegment(s, outcome)
	ended := refusalv1.Reason_REASON_NOT_LEADER
	if outcome.Written == refusalv1.Written_WRITTEN_SURELY_NOT {
		ended = outcome.Reason
	}
	l.end(s.tenure, ended)
	effect.Failed = append(effect.Failed, Failure{Partition: s.tenure.partition, Epoch: s.tenure.epoch, Reason: reason, Outcome: res})
}

// forget takes a settled segment off its tenure's list.
func (l *Ledger) forget(s *segment) {
	t := s.tenure
	for i := range t.segments {
		if t.segments[i] == s {
			t.segments = append(t.segments[:i], t.segments[i+1:]...)
			break
		}
	}
	t.wake()
	if t.closing && len(t.segments) == 0 {
		notify(l.Lease)
	}
}

func (l *Ledger) settleAll(o *Object, outcome Outcome) {
	for _, s := range o.segments {
		if s.sent && len(s.pendings) > 0 {
			l.settleSegment(s, outcome)
		}
	}
}
