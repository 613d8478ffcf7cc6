package ingest

import (
	"math"
	"slices"
	"time"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// trusted is how long a tenure trusts what it knows of a producer that sends nothing. The catalog forgets idle producers, after an hour at
// the earliest; a leader that went on from its memory alone would have the commit refused, and its tenure ended.
const trusted = 30 * time.Minute

// window is how many of a producer's batches are recognised when they come again (P5), as in Kafka.
const window = 5

// producer is what a tenure knows of one producer.
type producer struct {
	epoch int16
	// batches are its last ones, oldest first: the newest five, and all whose fate is open.
	batches []remembered
	// used orders producers by when they last sent something.
	used uint64
	// heard is when it last sent something, or was looked up.
	heard time.Time
	// absent: the catalog was asked and knows nothing of it.
	absent bool
}

// remembered is a batch that would be a repeat if it came again.
type remembered struct {
	baseSequence int32
	count        int32
	baseOffset   int64
	pending      *Pending // nil: stored
}

func (r remembered) nextSequence() int32 { return recordbatch.NextSequence(r.baseSequence, r.count) }

// producerOf takes the catalog's answer; nil: it knows nothing.
func producerOf(s *controlplanev1.ProducerState) *producer {
	if s == nil {
		return &producer{absent: true, heard: time.Now()}
	}
	p := &producer{epoch: int16(s.GetProducerEpoch()), heard: time.Now()}
	for _, b := range s.GetBatches() {
		p.batches = append(p.batches, remembered{baseSequence: b.GetBaseSequence(), count: b.GetRecordCount(), baseOffset: b.GetBaseOffset()})
	}
	return p
}

// judgement is what a producer's state says of its next batch.
type judgement struct {
	reason refusalv1.Reason // 0: it follows, or is a repeat
	repeat *remembered      // it came before
	// expected is the sequence that the next batch must start with.
	expected int32
}

// judge applies Kafka's rules. A new producer epoch starts at sequence 0; within an epoch the batch must follow the last one, or be one of
// those remembered. p is nil, or absent, for a producer of whom nothing is known anywhere.
func (p *producer) judge(b recordbatch.Producer, count int32) judgement {
	nobody := p == nil || p.absent
	switch {
	case nobody && b.BaseSequence == 0:
		return judgement{}
	case nobody:
		return judgement{reason: refusalv1.Reason_REASON_PRODUCER_UNKNOWN}
	case b.Epoch < p.epoch:
		return judgement{reason: refusalv1.Reason_REASON_PRODUCER_FENCED, expected: p.expected()}
	case b.Epoch > p.epoch && b.BaseSequence == 0:
		return judgement{}
	case b.Epoch > p.epoch:
		return judgement{reason: refusalv1.Reason_REASON_SEQUENCE_GAP}
	}
	return p.judgeSameEpoch(b.BaseSequence, count)
}

func (p *producer) judgeSameEpoch(base, count int32) judgement {
	for i := range p.batches {
		if p.batches[i].baseSequence == base && p.batches[i].count == count {
			return judgement{repeat: &p.batches[i], expected: p.expected()}
		}
	}
	expected := p.expected()
	if base == expected {
		return judgement{expected: expected}
	}
	if len(p.batches) > 0 && endsBefore(base, count, p.batches[0].baseSequence) {
		return judgement{reason: refusalv1.Reason_REASON_DUPLICATE_TOO_OLD, expected: expected}
	}
	return judgement{reason: refusalv1.Reason_REASON_SEQUENCE_GAP, expected: expected}
}

func (p *producer) expected() int32 {
	if len(p.batches) == 0 {
		return 0
	}
	return p.batches[len(p.batches)-1].nextSequence()
}

// endsBefore tells whether a batch lies wholly before a sequence, on the circle of 2^31 sequences: at most half of it back.
func endsBefore(base, count, sequence int32) bool {
	const half = 1 << 30
	ahead := (sequence - recordbatch.NextSequence(base, count)) & math.MaxInt32
	return ahead < half
}

// remember takes a batch that follows. Requires: judge said so.
func (p *producer) remember(b recordbatch.Producer, r remembered) {
	if b.Epoch != p.epoch {
		p.epoch, p.batches = b.Epoch, nil
	}
	p.absent, p.heard = false, time.Now()
	p.batches = append(p.batches, r)
	for len(p.batches) > window && p.batches[0].pending == nil {
		p.batches = p.batches[1:]
	}
}

// settleUpTo marks the batches up to an offset as stored.
func (p *producer) settleUpTo(offset int64) {
	for i := range p.batches {
		if p.batches[i].baseOffset <= offset {
			p.batches[i].pending = nil
		}
	}
	for len(p.batches) > window && p.batches[0].pending == nil {
		p.batches = p.batches[1:]
	}
}

// stale tells whether the catalog may have forgotten it.
func (p *producer) stale() bool { return !p.busy() && time.Since(p.heard) > trusted }

// busy tells whether a batch of it is in flight.
func (p *producer) busy() bool {
	return slices.ContainsFunc(p.batches, func(r remembered) bool { return r.pending != nil })
}
