package commit

import (
	"bytes"
	"slices"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/producer"
)

// Whole is a request of which every entry succeeds, provided that the catalog is as its entries take it to be: each partition led by the
// session in the epoch named, its high watermark at the first offset named, its topic alive, and Follow content. That is what nearly every
// commit is. It says what Decide would say, before anything was read; whoever finds the catalog otherwise must ask Decide.
type Whole struct {
	// Topics of the entries, each once, sorted.
	Topics []uuid.UUID
	// Moves of partitions, each once, sorted by (topic, partition).
	Moves []Move
	// Segments by (topic, partition, offset).
	Segments []WholeSegment
}

// Move is what the entries of one partition do to it.
type Move struct {
	// Topic is an index of Topics.
	Topic     int
	Partition int32
	Epoch     int32
	Old, New  int64
}

// WholeSegment is an entry.
type WholeSegment struct {
	// Move is the index of its partition in Moves, Object that of its object in the request.
	Move, Object int
	Entry        *controlplanev1.SegmentCommit
}

// AssumeWhole folds the objects. False: whatever the catalog is like, some entry fails: those of a partition do not follow each other.
// Requires: CheckRequest found nothing.
func AssumeWhole(objects []*controlplanev1.ObjectCommit) (*Whole, bool) {
	w := &Whole{}
	for i, object := range objects {
		w.Segments = slices.Grow(w.Segments, len(object.GetSegments()))
		for _, entry := range object.GetSegments() {
			w.Segments = append(w.Segments, WholeSegment{Object: i, Entry: entry})
		}
	}
	if len(objects) > 1 { // one object is in order already
		slices.SortStableFunc(w.Segments, func(a, b WholeSegment) int { return compareSegments(a.Entry, b.Entry) })
	}
	w.Moves = make([]Move, 0, len(w.Segments))
	for i := range w.Segments {
		if !w.fold(i) {
			return nil, false
		}
	}
	return w, true
}

// fold adds the i-th segment to the move of the one before it, or begins another one.
func (w *Whole) fold(i int) bool {
	entry := w.Segments[i].Entry
	end := entry.GetBaseOffset() + int64(entry.GetRecordCount())
	if i > 0 && compareSegments(w.Segments[i-1].Entry, entry) == 0 {
		last := len(w.Moves) - 1
		move := &w.Moves[last]
		if move.Epoch != entry.GetEpoch() || move.New != entry.GetBaseOffset() {
			return false
		}
		move.New, w.Segments[i].Move = end, last
		return true
	}
	if n := len(w.Topics); n == 0 || !bytes.Equal(w.Topics[n-1][:], entry.GetTopicId()) {
		w.Topics = append(w.Topics, uuid.UUID(entry.GetTopicId()))
	}
	w.Segments[i].Move = len(w.Moves)
	w.Moves = append(w.Moves, Move{
		Topic: len(w.Topics) - 1, Partition: entry.GetPartition(), Epoch: entry.GetEpoch(), Old: entry.GetBaseOffset(), New: end,
	})
	return true
}

// Producers are those of the batches of a Whole, each once.
type Producers struct {
	// States: what is known before Follow, and what must be written after it.
	States []ProducerState
	// at has the index of each in States.
	at map[ProducerKey]int
}

// ProducerState is a producer on a partition.
type ProducerState struct {
	ProducerKey

	State producer.State
	// Known: the catalog has a row of it.
	Known bool
}

// Producers names them; partitionIDs has the ids of the partitions of Moves. Nothing is known of them yet.
func (w *Whole) Producers(partitionIDs []int64) *Producers {
	p := &Producers{at: map[ProducerKey]int{}}
	for _, s := range w.Segments {
		for _, b := range s.Entry.GetProducerBatches() {
			key := ProducerKey{partitionIDs[s.Move], b.GetProducerId()}
			if _, seen := p.at[key]; !seen {
				p.at[key] = len(p.States)
				p.States = append(p.States, ProducerState{ProducerKey: key})
			}
		}
	}
	return p
}

// Know takes what the catalog knows of a producer. Requires: it is one of p.
func (p *Producers) Know(key ProducerKey, state producer.State) {
	i := p.at[key]
	p.States[i].State, p.States[i].Known = state, true
}

// Follow runs all batches over the states. False: some batch does not follow, and p is of no use any more (P5).
func (w *Whole) Follow(partitionIDs []int64, p *Producers) bool {
	for _, s := range w.Segments {
		for _, b := range s.Entry.GetProducerBatches() {
			state := &p.States[p.at[ProducerKey{partitionIDs[s.Move], b.GetProducerId()}]].State
			next, verdict := state.Follow(int16(b.GetProducerEpoch()), rememberedBatch(b))
			if verdict != producer.Follows {
				return false
			}
			*state = next
		}
	}
	return true
}

// WholeOutcomes are those of the objects of a whole request.
func WholeOutcomes(objects []*controlplanev1.ObjectCommit) []*controlplanev1.ObjectOutcome {
	outcomes := make([]*controlplanev1.ObjectOutcome, len(objects))
	for i, object := range objects {
		segments := make([]controlplanev1.SegmentOutcome, len(object.GetSegments()))
		outcomes[i] = &controlplanev1.ObjectOutcome{Key: object.GetKey(), Segments: make([]*controlplanev1.SegmentOutcome, len(segments))}
		for j, entry := range object.GetSegments() {
			segments[j].Result = controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED
			segments[j].HighWatermark = entry.GetBaseOffset() + int64(entry.GetRecordCount())
			segments[j].CurrentEpoch = entry.GetEpoch()
			outcomes[i].Segments[j] = &segments[j]
		}
	}
	return outcomes
}
