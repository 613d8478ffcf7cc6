package rebuild

import (
	"cmp"
	"slices"

	"github.com/streamhouse/streamhouse/controlplane/internal/producer"
)

// Batch is what a batch's header says of an idempotent producer.
type Batch struct {
	ProducerID int64
	Epoch      int16
	producer.Batch
}

// Replay adds batches of one producer to what is known of it. They may come in any order, and more than once: what counts is where they stand
// in the log. (Whether they follow each other was judged when they were committed; what is missing was forgotten, or lies below the log start.)
func Replay(state producer.State, batches ...Batch) producer.State {
	for _, b := range batches {
		switch {
		case len(state.Batches) == 0 || b.Epoch > state.Epoch:
			state = producer.State{Epoch: b.Epoch, Batches: []producer.Batch{b.Batch}}
		case b.Epoch == state.Epoch:
			state.Batches = insert(state.Batches, b.Batch)
		}
	}
	return state
}

// insert keeps the newest batches, in the order of their offsets. It copies.
func insert(batches []producer.Batch, b producer.Batch) []producer.Batch {
	i, known := slices.BinarySearchFunc(batches, b, func(a, b producer.Batch) int { return cmp.Compare(a.BaseOffset, b.BaseOffset) })
	if known {
		return batches
	}
	batches = slices.Insert(slices.Clone(batches), i, b)
	return batches[max(0, len(batches)-producer.Window):]
}
