package memory

import (
	"slices"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// window is how many batches of a producer and partition are recognised.
const window = 5

// producer is what is known of one producer on one partition.
type producer struct {
	epoch   int32
	batches []*controlplanev1.ProducerBatch // oldest first, all of this epoch
}

// follow decides whether the batch is the next of its producer. It answers the state after it, or why not.
func (p producer) follow(b *controlplanev1.ProducerBatch) (producer, controlplanev1.SegmentResult) {
	expected := int32(0) // of a producer that is not known, or has a new epoch
	if len(p.batches) > 0 && b.GetProducerEpoch() < p.epoch {
		return p, controlplanev1.SegmentResult_SEGMENT_RESULT_PRODUCER_FENCED
	}
	if len(p.batches) > 0 && b.GetProducerEpoch() == p.epoch {
		last := p.batches[len(p.batches)-1]
		expected = int32((int64(last.GetBaseSequence()) + int64(last.GetRecordCount())) % (1 << 31))
	}
	if b.GetBaseSequence() != expected { // a gap, or a repeat
		return p, controlplanev1.SegmentResult_SEGMENT_RESULT_SEQUENCE_GAP
	}
	next := producer{epoch: b.GetProducerEpoch()}
	if next.epoch == p.epoch {
		next.batches = slices.Clone(p.batches)
	}
	next.batches = append(next.batches, b)
	next.batches = next.batches[max(0, len(next.batches)-window):]
	return next, controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED
}

func (p producer) message(id int64) *controlplanev1.ProducerState {
	return &controlplanev1.ProducerState{ProducerId: id, ProducerEpoch: p.epoch, Batches: slices.Clone(p.batches)}
}
