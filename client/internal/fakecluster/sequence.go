package fakecluster

import (
	"math"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// producer is what a partition knows of an idempotent producer: its last five batches.
type producer struct {
	epoch int16
	next  int32
	last  []sent
}

type sent struct {
	sequence int32
	count    int32
	base     int64
}

// judge says where a batch stands: to be appended (nil, nil), a repeat (its first copy), or refused. Requires mu held.
func (p *partition) judge(h *recordbatch.Header) (*sent, *refusalv1.Refusal) {
	if !h.Producer.Idempotent() {
		return nil, nil
	}
	known := p.producers[h.Producer.ID]
	first := h.Producer.BaseSequence == 0
	switch {
	case known == nil && !first:
		return nil, no(refusalv1.Reason_REASON_PRODUCER_UNKNOWN, "nothing is known of producer %d", h.Producer.ID)
	case known == nil:
		return nil, nil
	case h.Producer.Epoch < known.epoch:
		return nil, no(refusalv1.Reason_REASON_PRODUCER_FENCED, "epoch %d is known", known.epoch)
	case h.Producer.Epoch > known.epoch && first, h.Producer.Epoch == known.epoch && h.Producer.BaseSequence == known.next:
		return nil, nil
	}
	for i := range known.last {
		if known.last[i].sequence == h.Producer.BaseSequence && known.last[i].count == h.RecordCount {
			return &known.last[i], nil
		}
	}
	if behind := (known.next - h.Producer.BaseSequence) & math.MaxInt32; behind > 0 && behind < 1<<30 {
		return nil, Refusal(refusalv1.Reason_REASON_DUPLICATE_TOO_OLD, refusalv1.Written_WRITTEN_BEFORE, "an old repeat")
	}
	r := no(refusalv1.Reason_REASON_SEQUENCE_GAP, "sequence %d, expected %d", h.Producer.BaseSequence, known.next)
	r.Sequence = &refusalv1.Sequence{ExpectedSequence: known.next, ProducerEpoch: int32(known.epoch)}
	return nil, r
}

// note remembers an appended batch. Requires mu held.
func (p *partition) note(h *recordbatch.Header, base int64) {
	if !h.Producer.Idempotent() {
		return
	}
	known := p.producers[h.Producer.ID]
	if known == nil || known.epoch != h.Producer.Epoch {
		known = &producer{epoch: h.Producer.Epoch}
		p.producers[h.Producer.ID] = known
	}
	known.next = recordbatch.NextSequence(h.Producer.BaseSequence, h.RecordCount)
	known.last = append(known.last, sent{sequence: h.Producer.BaseSequence, count: h.RecordCount, base: base})
	if len(known.last) > 5 {
		known.last = known.last[1:]
	}
}

// forget loses what was only in the leader's memory: batches, and with them the producers' newest sequences.
func (p *partition) forget() {
	for _, h := range p.memory {
		known := p.producers[h.info.Producer.ID]
		if known == nil {
			continue
		}
		if len(known.last) > 1 {
			known.last = known.last[:len(known.last)-1]
			known.next = recordbatch.NextSequence(known.last[len(known.last)-1].sequence, known.last[len(known.last)-1].count)
		} else {
			delete(p.producers, h.info.Producer.ID)
		}
	}
	p.memory = nil
}
