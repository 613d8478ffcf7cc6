package client

import (
	"slices"
	"testing"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// queued makes a lane whose batches hold the given numbers of records, under an identity of generation 1 that has come to sequence 10.
func queued(counts ...int32) *lane {
	l := &lane{identity: identity{id: 7, next: 10, generation: 1}}
	for _, n := range counts {
		l.queue = append(l.queue, &batch{count: n})
	}
	return l
}

func (l *lane) sendAll(t *testing.T, window int) []*batch {
	t.Helper()
	batches := l.next(window)
	for _, b := range batches {
		l.depart(b, route{url: "a", direct: true})
	}
	return batches
}

func sequences(batches []*batch) []int32 {
	var all []int32
	for _, b := range batches {
		all = append(all, b.as.next)
	}
	return all
}

func TestP2_WindowOfBatchesHasSequencesInOrder(t *testing.T) {
	t.Parallel()
	l := queued(1, 2, 3, 4, 5, 6, 7)
	if got := sequences(l.sendAll(t, 5)); !slices.Equal(got, []int32{10, 11, 13, 16, 20}) {
		t.Fatalf("sent %v", got)
	}
	if more := l.next(5); len(more) > 0 {
		t.Fatalf("%d batches beyond the window", len(more))
	}
	l.arrive(l.queue[1])
	l.finish(l.queue[1], 0, nil) // answered out of order: the window does not move
	if more := l.next(5); len(more) > 0 {
		t.Fatalf("%d batches beyond what an agent recognises", len(more))
	}
	if l.queue[0].ahead == l.queue[1].ahead {
		t.Error("only the first has nothing before it")
	}
}

func TestFirstBatchOfAProducerGoesAlone(t *testing.T) {
	t.Parallel()
	l := queued(1, 2, 3)
	l.identity.next = 0
	if got := sequences(l.sendAll(t, 5)); !slices.Equal(got, []int32{0}) {
		t.Fatalf("sent %v", got)
	}
	if more := l.next(5); len(more) > 0 {
		t.Fatalf("sent %d more: an agent that does not know the producer refuses them", len(more))
	}
	l.arrive(l.queue[0])
	l.finish(l.queue[0], 0, nil)
	if got := sequences(l.sendAll(t, 5)); !slices.Equal(got, []int32{1, 3}) {
		t.Fatalf("sent %v", got)
	}
}

func TestP5_GapOfAFollowerSaysNothing(t *testing.T) {
	t.Parallel()
	gap := refusedFor(ReasonSequenceGap, 10)
	l := queued(1, 1)
	l.sendAll(t, 5)
	b := l.queue[1]
	b.unresolved = true
	if s := decide(b, gap, true, false); s != stepRetry || !b.unresolved {
		t.Errorf("step %d, unresolved %v: the one before it may still be stored, and then this one", s, b.unresolved)
	}
	for _, reason := range []Reason{ReasonProducerUnknown, ReasonProducerFenced} {
		if s := decide(b, refusedFor(reason, 0), true, false); s != stepRetry {
			t.Errorf("%v: step %d", reason, s)
		}
	}
	l.finish(l.queue[0], 0, nil)
	if s := decide(b, gap, true, false); s != stepRetry {
		t.Errorf("step %d for an answer to what was sent while another was before it", s)
	}
	l.arrive(b)
	l.depart(b, route{})
	if s := decide(b, gap, true, true); s != stepFail {
		t.Errorf("step %d: what was given up before it may still be stored, and then this one", s)
	}
	if s := decide(b, gap, true, false); s != stepRenew || b.unresolved {
		t.Errorf("step %d, unresolved %v: it is proven not to be stored", s, b.unresolved)
	}
}

// refusedFor is a refusal for the sequence of a batch that surely was not written.
func refusedFor(reason Reason, expected int32) *Error {
	e := failure(reason, "").wrote(SurelyNotWritten)
	e.sequence = &refusalv1.Sequence{ExpectedSequence: expected}
	return e
}

func TestP5_OnlyAHoleLetsOthersBeNumberedAnew(t *testing.T) {
	t.Parallel()
	fresh := identity{id: 8, generation: 2}
	l := queued(1, 1, 1, 1, 1)
	l.sendAll(t, 5)
	l.queue[0].unresolved, l.queue[1].unresolved, l.queue[3].unresolved = true, true, true
	for _, b := range l.queue {
		l.arrive(b)
	}
	l.finish(l.queue[0], UnknownOffset, timeoutError(l.queue[0])) // given up, perhaps written
	if !l.renew || l.leak != 1 {
		t.Fatalf("renew %v, leak %d", l.renew, l.leak)
	}
	l.adopt(fresh)
	if b := l.queue[1]; b.as.generation != 1 || !b.unresolved {
		t.Errorf("%+v: it may be stored under its old sequence", b.as)
	}
	for _, b := range l.queue[2:] { // the third was surely not written: the fourth cannot be, whatever is still on the way
		if b.as.generation != 0 || b.unresolved {
			t.Errorf("%+v, unresolved %v: not numbered anew", b.as, b.unresolved)
		}
	}
	if got := l.sendAll(t, 5); len(got) != 1 || got[0] != l.queue[1] {
		t.Fatalf("%d sent: those with a new number wait for the old one", len(got))
	}
	if more := l.next(5); len(more) > 0 {
		t.Fatalf("%d sent beside a batch of another producer id", len(more))
	}
	l.arrive(l.queue[1])
	l.finish(l.queue[1], 0, nil)
	if got := sequences(l.sendAll(t, 5)); !slices.Equal(got, []int32{0}) {
		t.Errorf("sent %v", got)
	}
}

func TestP5_SequencesOfARefusedBatch(t *testing.T) {
	t.Parallel()
	refused := failure(ReasonCorruptBatch, "no").wrote(SurelyNotWritten)
	last := queued(3, 2)
	last.depart(last.queue[0], route{})
	last.arrive(last.queue[0])
	if last.finish(last.queue[0], UnknownOffset, refused); last.renew || last.identity.next != 10 {
		t.Errorf("renew %v, next %d: nothing was sent after it", last.renew, last.identity.next)
	}
	followed := queued(3, 2)
	followed.sendAll(t, 5)
	followed.arrive(followed.queue[0])
	if followed.finish(followed.queue[0], UnknownOffset, refused); !followed.renew || followed.leak != 0 {
		t.Errorf("renew %v: the one after it would meet a gap for ever", followed.renew)
	}
	lost := queued(3)
	lost.sendAll(t, 5)
	lost.queue[0].unresolved = true
	lost.arrive(lost.queue[0])
	if lost.finish(lost.queue[0], UnknownOffset, refused); !lost.renew || lost.identity.next != 13 {
		t.Errorf("renew %v, next %d: its sequences must never be used for others", lost.renew, lost.identity.next)
	}
}
