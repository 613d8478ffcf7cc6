package client

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
)

// lane is the way of one partition's records out of a producer. Produce puts records into the open batch under the
// lane's own mu; everything after that is in the hands of Producer.run and the attempts, under Producer.mu.
//
//	open ──seal──► sealed ──take──► queue: done, in flight, waiting … ──► answered in order
//
// Up to a window of batches at the front of the queue may be in flight; the answers may come in any order, callbacks
// run in the order of the queue. An agent recognises the last five batches of a producer, so a window of five may be
// repeated as a whole (P5).
//
// Sequences are given out when a batch is sent first, and stay with it. After an attempt that failed nothing more is
// sent until all in flight are answered; then what has no verdict is repeated, in order. What followed a batch that
// failed meets a gap: that says nothing about itself, and it is repeated too.
//
// A batch that is refused for good leaves a hole before those that were sent after it; they go on under a new producer
// id. The hole keeps all of their copies that are still on the way from being stored, which is why they may be numbered
// anew. Only where a batch was given up while it may still be stored is there no such hole: those after it that may be
// stored as well are repeated under their old sequences until it is known (P2, P5).
type lane struct {
	home      *producerTopic
	partition int32

	mu     sync.Mutex // taken after Producer.mu; guards open and sealed
	open   *batch     // takes records; nil: none
	sealed []*batch   // in order

	listed bool // in Producer.ready; guarded by Producer.readyMu

	// All below is guarded by Producer.mu.
	queue     []*batch
	answering *batch // its callbacks run; nil: none do
	inFlight  int
	route     route // of those in flight

	identity identity
	renew    bool // identity must not be used for further batches
	leak     int  // generation under which a batch was given up that may still be stored

	repair    bool      // something has to be repeated: nothing is sent while anything is in flight
	round     int       // of repeats
	failedIn  int       // the round that failures counts
	failures  int       // rounds in a row that failed
	notBefore time.Time // no attempt before then
	distrust  int32     // a leader of this epoch or below did not lead, or did not answer

	load atomic.Int32 // how full and troubled it is, for the choice of partitions
}

// identity is a producer id and where its sequence stands on one partition.
type identity struct {
	id         int64
	epoch      int16
	next       int32 // sequence of the next batch; in batch.as, of that batch
	generation int   // of the producer's ids; 0: none yet
}

func (i identity) producer() recordbatch.Producer {
	return recordbatch.Producer{ID: i.id, Epoch: i.epoch, BaseSequence: i.next}
}

// anonymous is the identity of producers that are not idempotent.
var anonymous = identity{id: -1, epoch: -1, next: -1, generation: 1}

// seal ends the open batch. Requires: l.mu held.
func (l *lane) seal(b *budget) {
	if l.open == nil {
		return
	}
	spare := l.open.reserved - l.open.used()
	l.open.reserved -= spare
	b.give(spare)
	l.sealed = append(l.sealed, l.open)
	l.open = nil
}

// take moves sealed batches, and the open one if all says so or it was made before due and the window has room for it, into the queue. It
// returns when the batch that stays open was made; zero: none does. Requires: Producer.mu held.
func (l *lane) take(b *budget, all bool, due time.Time, window int) (open time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open != nil && (all || (!l.open.made.After(due) && len(l.queue)+len(l.sealed) < window)) {
		l.seal(b)
	}
	l.queue = append(l.queue, l.sealed...)
	clear(l.sealed)
	l.sealed = l.sealed[:0]
	if l.open != nil {
		open = l.open.made
	}
	return open
}

// first is the first batch without a verdict; nil: there is none.
func (l *lane) first() *batch {
	for _, b := range l.queue {
		if !b.done {
			return b
		}
	}
	return nil
}

// next lists the batches that may be sent now, in order, without those under way. A batch with sequence 0 goes alone: an agent that knows
// nothing of a producer can take only that one. Requires: nothing is in flight if the lane is to be repaired or renewed.
func (l *lane) next(window int) []*batch {
	var send []*batch
	before := 0 // generation of those that come before and have no verdict
	for _, b := range l.queue[:min(window, len(l.queue))] {
		if b.done {
			continue
		}
		as := b.as
		if as.generation == 0 {
			as = l.identity
		}
		if before != 0 && (before != as.generation || as.next == 0) {
			break
		}
		if before = as.generation; b.flying {
			if as.next == 0 {
				break
			}
			continue
		}
		send = append(send, b)
		if as.next == 0 || (b.as.generation == 0 && l.identity.next == 0) {
			break
		}
	}
	return send
}

// depart notes that a batch is sent, under a sequence of its own.
func (l *lane) depart(b *batch, way route) {
	if b.as.generation == 0 {
		b.as = l.identity
		if l.identity.next >= 0 {
			l.identity.next = recordbatch.NextSequence(l.identity.next, b.count)
		}
	}
	b.flying, b.ahead = true, l.first() == b
	b.attempts++
	l.inFlight++
	l.route = way
}

// arrive notes that an attempt has ended.
func (l *lane) arrive(b *batch) {
	b.flying = false
	l.inFlight--
}

// finish gives a batch its verdict; e is nil if it is stored.
func (l *lane) finish(b *batch, base int64, e *Error) {
	b.done, b.base, b.err = true, base, e
	switch {
	case e == nil || b.as.generation == 0 || b.as.next < 0:
	case b.unresolved:
		l.leak = b.as.generation
		l.renew = l.renew || l.leak == l.identity.generation
	case b.as.generation != l.identity.generation: // nothing is sent under that one any more
	case l.identity.next == recordbatch.NextSequence(b.as.next, b.count):
		l.identity.next = b.as.next // nothing was sent after it: its sequences are free
	default:
		l.renew = true
	}
}

// adopt numbers all that was surely not stored anew. In the queue the first batch that was surely not stored, and will never be sent again
// under its old sequence, keeps those after it from being stored under theirs. Requires: nothing is in flight.
func (l *lane) adopt(id identity) {
	l.identity, l.renew = id, false
	hole := false
	for _, b := range l.queue {
		if b.done {
			continue
		}
		if hole = hole || !b.unresolved; hole {
			b.as, b.unresolved = identity{}, false
		}
	}
}

// weigh notes for the choice of partitions how much waits, and how well it goes.
func (l *lane) weigh() { l.load.Store(int32(2*len(l.queue) + 4*min(l.failures, 4))) }

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

// decide judges an attempt that ended with e (nil: stored). It notes in b what is known about earlier attempts. leak: a batch before it was
// given up under the same identity and may still be stored. Pure: no time, no lock, no I/O.
//
// P6: what was surely not written is tried again by anyone; what was possibly written only with a sequence, which
// makes a second copy impossible (P5).
func decide(b *batch, e *Error, idempotent, leak bool) step {
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
	case ReasonSequenceGap, ReasonProducerUnknown, ReasonProducerFenced:
		if !b.ahead {
			return stepRetry // one before it was missing: this is not about itself
		}
		// The leader, which was asked of the catalog to be one, stands before this batch: it is not stored, and
		// its copies that are still on the way will meet the same gap.
		if e.Reason == ReasonSequenceGap && !leak && provesAbsence(e, b) {
			b.unresolved = false
		}
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
	ahead := (b.as.next - e.sequence.GetExpectedSequence()) & 0x7fffffff
	return ahead > 0 && ahead < 1<<30
}
