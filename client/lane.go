package client

import (
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// lane is the way of one partition's records out of a producer, in order: batches that wait, and at most one
// under way. Guarded by Producer.mu.
//
// Sequences are given out when a batch is sent, not when it is made. So a batch that is refused for good leaves
// no hole: the next one takes its sequences. Only where it stays unknown whether a batch was stored must its
// sequences never be used again (another content under them would be taken for a repeat, and lost); then the
// lane goes on under a new producer id, from sequence 0 (P2, P5).
type lane struct {
	home      *producerTopic
	partition int32

	waiting []*batch // sealed, in order
	open    *batch   // takes records; nil: none
	busy    bool     // the first of waiting is under way, or its callbacks run

	identity identity
	renew    bool // identity must not be used any more

	failures  int       // attempts in a row that ended without a verdict about the batch
	notBefore time.Time // no attempt before then
	distrust  int32     // a leader of this epoch or below did not lead, or did not answer
}

// identity is a producer id and where its sequence stands on one partition.
type identity struct {
	id         int64
	epoch      int16
	next       int32 // sequence of the next batch
	generation int   // of the producer's ids; 0: none yet
}

func (i identity) producer() recordbatch.Producer {
	return recordbatch.Producer{ID: i.id, Epoch: i.epoch, BaseSequence: i.next}
}

// seal ends the open batch.
func (l *lane) seal() {
	if l.open != nil {
		l.open.sealed = true
		l.waiting = append(l.waiting, l.open)
		l.open = nil
	}
}

// empty reports whether nothing waits.
func (l *lane) empty() bool { return l.open == nil && len(l.waiting) == 0 }

// due is when the lane wants to be looked at: to send, or to give up. Requires: not empty, not busy.
func (l *lane) due(linger time.Duration) time.Time {
	var at, deadline time.Time
	if len(l.waiting) > 0 {
		at, deadline = l.waiting[0].made, l.waiting[0].deadline
	} else {
		at, deadline = l.open.made.Add(linger), l.open.deadline
	}
	if at.Before(l.notBefore) {
		at = l.notBefore
	}
	if deadline.Before(at) {
		return deadline
	}
	return at
}

// head makes the open batch the first of waiting if none waits. Requires: not empty.
func (l *lane) head() *batch {
	if len(l.waiting) == 0 {
		l.seal()
	}
	return l.waiting[0]
}

// finish takes the first batch off and moves the sequence on or, if it is not known whether the batch is stored,
// gives the identity up.
func (l *lane) finish(b *batch, stored bool) {
	n := copy(l.waiting, l.waiting[1:])
	l.waiting[n] = nil
	l.waiting = l.waiting[:n]
	switch {
	case stored && b.attempts > 0:
		l.identity.next = recordbatch.NextSequence(l.identity.next, b.count)
	case b.unresolved:
		l.renew = true
	}
}

// step is what to do with a batch after an attempt.
type step int8

const (
	stepDone  step = iota // stored
	stepRetry             // try again with the same identity
	stepRenew             // try again under a new producer id
	stepFail              // give up
)

// mostRenewals is how many producer ids a batch may use up.
const mostRenewals = 3

// decide judges an attempt that ended with e (nil: stored). It notes in b what is known about earlier attempts.
// Pure: no time, no lock, no I/O.
//
// P6: what was surely not written is tried again by anyone; what was possibly written only with a sequence, which
// makes a second copy impossible (P5).
func decide(b *batch, e *Error, idempotent bool) step {
	b.last = e
	if e == nil {
		return stepDone
	}
	if e.Written == PossiblyWritten || (e.Written == WrittenNothing && e.Reason == ReasonInternal) {
		b.unresolved = true
	}
	if !idempotent {
		if e.Reason.transient() && !b.unresolved {
			return stepRetry
		}
		return stepFail
	}
	switch e.Reason {
	case ReasonDuplicateTooOld:
		b.unresolved = false
		return stepDone
	case ReasonSequenceGap:
		// The leader, which was asked of the catalog to be one, stands before this batch: it is not stored, and
		// its copies that are still on the way will meet the same gap.
		if provesAbsence(e, b) {
			b.unresolved = false
		}
		return renewOrFail(b)
	case ReasonProducerUnknown, ReasonProducerFenced:
		return renewOrFail(b)
	default:
	}
	if e.Reason.transient() || e.Written == PossiblyWritten {
		return stepRetry
	}
	return stepFail
}

// renewOrFail renumbers a batch under a new producer id, which is safe only while no earlier attempt may have
// stored it.
func renewOrFail(b *batch) step {
	if b.unresolved || b.renewals >= mostRenewals {
		return stepFail
	}
	b.renewals++
	return stepRenew
}

// provesAbsence reports whether the sequence that the leader expects lies before the batch's, on the circle of 2^31.
func provesAbsence(e *Error, b *batch) bool {
	if e.sequence == nil {
		return false
	}
	ahead := (b.encodedAs.BaseSequence - e.sequence.GetExpectedSequence()) & 0x7fffffff
	return ahead > 0 && ahead < 1<<30
}
