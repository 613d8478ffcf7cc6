package commit

import (
	"maps"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/producer"
)

// PartitionKey names a partition.
type PartitionKey struct {
	Topic  uuid.UUID
	Number int32
}

// Partition is a partition's row, its lock held.
type Partition struct {
	// ID is the compact name that segments use.
	ID         int64
	AgentGroup string
	// Deleted: its topic is.
	Deleted bool
	Epoch   int32
	// Leader is the session of the newest tenure; uuid.Nil: none.
	Leader        uuid.UUID
	HighWatermark int64
}

// ProducerKey names a producer on a partition.
type ProducerKey struct {
	PartitionID int64
	ProducerID  int64
}

// Catalog is what a decision needs to know. What is absent does not exist.
type Catalog struct {
	Partitions map[PartitionKey]Partition
	Producers  map[ProducerKey]producer.State
}

// Plan is what the caller must write, all of it or nothing.
type Plan struct {
	// Outcomes: one for each object, in order.
	Outcomes []*controlplanev1.ObjectOutcome
	// Segments to insert.
	Segments []Segment
	// Advances: at most one for each partition, however many of its segments were committed.
	Advances []Advance
	// Producers whose state changes.
	Producers map[ProducerKey]producer.State
}

// Segment is an entry that succeeded.
type Segment struct {
	PartitionID int64
	// Object is the index of its object in the request.
	Object int
	Entry  *controlplanev1.SegmentCommit
}

// Advance moves a high watermark; the row must still have Epoch and Old.
type Advance struct {
	PartitionID int64
	Epoch       int32
	Old, New    int64
}

// Decide judges the entries of the objects one by one, in order; each sees what those before it changed. A failed entry changes nothing.
// The catalog is not changed. Requires: CheckRequest found nothing.
func Decide(agentGroup string, session uuid.UUID, objects []*controlplanev1.ObjectCommit, catalog Catalog) Plan {
	d := decision{
		agentGroup: agentGroup, session: session, catalog: catalog,
		advanced: map[PartitionKey]int{},
		plan:     Plan{Producers: map[ProducerKey]producer.State{}},
	}
	for i, object := range objects {
		outcome := &controlplanev1.ObjectOutcome{Key: object.GetKey()}
		for _, entry := range object.GetSegments() {
			outcome.Segments = append(outcome.Segments, d.segment(i, entry))
		}
		d.plan.Outcomes = append(d.plan.Outcomes, outcome)
	}
	return d.plan
}

// decision is the state of one Decide.
type decision struct {
	agentGroup string
	session    uuid.UUID
	catalog    Catalog
	// advanced has the index in plan.Advances of the partitions that moved.
	advanced map[PartitionKey]int
	plan     Plan
}

func (d *decision) segment(object int, entry *controlplanev1.SegmentCommit) *controlplanev1.SegmentOutcome {
	key := PartitionKey{uuid.UUID(entry.GetTopicId()), entry.GetPartition()}
	partition, found := d.catalog.Partitions[key]
	if !found || partition.Deleted {
		return &controlplanev1.SegmentOutcome{Result: controlplanev1.SegmentResult_SEGMENT_RESULT_UNKNOWN_TOPIC, HighWatermark: -1}
	}
	if partition.AgentGroup != d.agentGroup { // P7: another agent group's offsets are none of the caller's business
		return &controlplanev1.SegmentOutcome{Result: controlplanev1.SegmentResult_SEGMENT_RESULT_WRONG_AGENT_GROUP, HighWatermark: -1}
	}
	highWatermark := d.highWatermark(key, partition)
	result, producers := d.judge(partition, highWatermark, entry)
	if result == controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED {
		highWatermark += int64(entry.GetRecordCount())
		d.accept(object, key, partition, highWatermark, entry, producers)
	}
	return &controlplanev1.SegmentOutcome{Result: result, HighWatermark: highWatermark, CurrentEpoch: partition.Epoch}
}

// highWatermark is the partition's after the entries before.
func (d *decision) highWatermark(key PartitionKey, partition Partition) int64 {
	if i, moved := d.advanced[key]; moved {
		return d.plan.Advances[i].New
	}
	return partition.HighWatermark
}

// judge is the heart of it. Silence is not checked: a leader whom nobody has replaced may still commit.
func (d *decision) judge(partition Partition, highWatermark int64, entry *controlplanev1.SegmentCommit) (
	controlplanev1.SegmentResult, map[ProducerKey]producer.State,
) {
	if partition.Leader != d.session || partition.Epoch != entry.GetEpoch() { // P3
		return controlplanev1.SegmentResult_SEGMENT_RESULT_FENCED, nil
	}
	if entry.GetBaseOffset() != highWatermark { // P2
		return controlplanev1.SegmentResult_SEGMENT_RESULT_OFFSET_MISMATCH, nil
	}
	return d.follow(partition.ID, entry.GetProducerBatches())
}

// follow runs the batches over the producers' states: all must follow (P5).
func (d *decision) follow(partitionID int64, batches []*controlplanev1.ProducerBatch) (controlplanev1.SegmentResult, map[ProducerKey]producer.State) {
	states := make(map[ProducerKey]producer.State, len(batches))
	for _, b := range batches {
		key := ProducerKey{partitionID, b.GetProducerId()}
		state, here := states[key]
		if !here {
			state = d.producer(key)
		}
		next, verdict := state.Follow(int16(b.GetProducerEpoch()), rememberedBatch(b))
		switch verdict {
		case producer.Gap:
			return controlplanev1.SegmentResult_SEGMENT_RESULT_SEQUENCE_GAP, nil
		case producer.Fenced:
			return controlplanev1.SegmentResult_SEGMENT_RESULT_PRODUCER_FENCED, nil
		case producer.Follows:
			states[key] = next
		}
	}
	return controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED, states
}

func rememberedBatch(b *controlplanev1.ProducerBatch) producer.Batch {
	return producer.Batch{BaseSequence: b.GetBaseSequence(), RecordCount: b.GetRecordCount(), BaseOffset: b.GetBaseOffset()}
}

// producer is the producer's state after the entries before.
func (d *decision) producer(key ProducerKey) producer.State {
	if state, changed := d.plan.Producers[key]; changed {
		return state
	}
	return d.catalog.Producers[key]
}

// accept puts an entry that succeeded into the plan.
func (d *decision) accept(object int, key PartitionKey, partition Partition, newHighWatermark int64,
	entry *controlplanev1.SegmentCommit, producers map[ProducerKey]producer.State,
) {
	d.plan.Segments = append(d.plan.Segments, Segment{PartitionID: partition.ID, Object: object, Entry: entry})
	if i, moved := d.advanced[key]; moved {
		d.plan.Advances[i].New = newHighWatermark
	} else {
		d.advanced[key] = len(d.plan.Advances)
		d.plan.Advances = append(d.plan.Advances, Advance{
			PartitionID: partition.ID, Epoch: partition.Epoch, Old: partition.HighWatermark, New: newHighWatermark,
		})
	}
	maps.Copy(d.plan.Producers, producers)
}
