// Package producer is the rule by which batches of an idempotent producer follow each other on one partition, and the encoding of what
// the catalog remembers of them. Pure: no I/O, no clock.
//
// Not here: duplicates (a leader answers them from this state before it writes anything) and errors for producers.
// Promises: P5 (the last five batches are recognised; a gap is refused).
// Read: producer.go, encoding.go.
package producer

import (
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// Window is the number of batches of a producer and partition that are recognised, as in Kafka.
const Window = 5

// Batch is what is remembered of a batch.
type Batch struct {
	BaseSequence int32
	RecordCount  int32
	BaseOffset   int64
}

// next is the sequence that must follow: sequences wrap from 2^31 - 1 to 0.
func (b Batch) next() int32 {
	return int32((int64(b.BaseSequence) + int64(b.RecordCount)) & 0x7fffffff)
}

// State is what is known of one producer on one partition. The zero State: nothing.
type State struct {
	Epoch int16
	// Batches of Epoch, oldest first, at most Window.
	Batches []Batch
}

// Verdict says whether a batch follows.
type Verdict int

// A batch follows the last one; or leaves a gap (a repeat, too, is no successor); or has an old producer epoch.
const (
	Follows Verdict = iota
	Gap
	Fenced
)

// Follow decides whether the batch is the next of its producer, and answers the state after it. A producer of which nothing is known,
// and one with a newer epoch, start at sequence 0. The receiver is not changed.
func (s State) Follow(epoch int16, batch Batch) (State, Verdict) {
	known := len(s.Batches) > 0
	switch {
	case known && epoch < s.Epoch:
		return s, Fenced
	case known && epoch == s.Epoch:
		if batch.BaseSequence != s.Batches[len(s.Batches)-1].next() {
			return s, Gap
		}
		return State{Epoch: epoch, Batches: window(s.Batches, batch)}, Follows
	case batch.BaseSequence != 0:
		return s, Gap
	default:
		return State{Epoch: epoch, Batches: []Batch{batch}}, Follows
	}
}

// window copies the last Window-1 batches and adds one.
func window(old []Batch, batch Batch) []Batch {
	if len(old) >= Window {
		old = old[len(old)-Window+1:]
	}
	return append(append(make([]Batch, 0, len(old)+1), old...), batch)
}

// Message is the state as the API shows it.
func (s State) Message(producerID int64) *controlplanev1.ProducerState {
	message := &controlplanev1.ProducerState{ProducerId: producerID, ProducerEpoch: int32(s.Epoch)}
	for _, b := range s.Batches {
		message.Batches = append(message.Batches, &controlplanev1.ProducerBatch{
			ProducerId: producerID, ProducerEpoch: int32(s.Epoch), BaseSequence: b.BaseSequence, RecordCount: b.RecordCount, BaseOffset: b.BaseOffset,
		})
	}
	return message
}
