package postgres

import (
	"context"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/proto"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/compaction"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

var _ store.KeyCompactions = (*Store)(nil)

// keyCompacted marks the outcome of an object that compaction by key has written; the rest is the answer that every repeat gets.
const keyCompacted = 2

// maxKeyCompacted bounds the segments that one commit takes away, and with them its locks.
const maxKeyCompacted = 20000

// CommitKeyCompaction is one transaction: the key of the new object is inserted, which makes a repeat find it; the keys of the objects that lose
// references are locked; then, in a later statement, the segments are read again, and what is not as it was is left out.
func (s *Store) CommitKeyCompaction(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.CommitKeyCompactionRequest) (
	*controlplanev1.CommitKeyCompactionResponse, error,
) {
	if err := validKeyCompaction(request); err != nil {
		return nil, err
	}
	id, err := parseJob(request.GetJobId())
	if err != nil {
		return nil, err
	}
	var response *controlplanev1.CommitKeyCompactionResponse
	err = s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		row, err := lockJob(ctx, q, agentGroup, id)
		if err != nil {
			return err
		}
		partitionID, _, err := keyCompaction(row)
		if err != nil {
			return err
		}
		if key := request.GetObjectKey(); !strings.HasPrefix(key, string(agentGroup)+"/") || !strings.Contains(key, "-"+row.OutputID.String()+"-") { // P7
			return refuseField("object_key", "is not one of the job's")
		}
		inserted, err := q.InsertKeyCompacted(ctx, request.GetObjectKey(), row.OutputID, request.GetSizeBytes())
		if err != nil {
			return fmt.Errorf("insert object key: %w", err)
		}
		if len(inserted) == 0 {
			response, err = repeatedKeyCompaction(ctx, q, request.GetObjectKey())
			return err
		}
		response, err = exchange(ctx, q, agentGroup, partitionID, inserted[0], request)
		return err
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// validKeyCompaction refuses what no agent sends.
func validKeyCompaction(request *controlplanev1.CommitKeyCompactionRequest) error {
	inputs, end := 0, int64(0)
	for i, segment := range request.GetSegments() {
		first := segment.GetInputs()[0]
		if inputs += len(segment.GetInputs()); inputs > maxKeyCompacted {
			return refuseField("segments", fmt.Sprintf("are made of more than %d", maxKeyCompacted))
		}
		if first.GetBaseOffset() < end {
			return refuseField(fmt.Sprintf("segments[%d]", i), "does not follow the one before")
		}
		end = first.GetBaseOffset()
		for j, in := range segment.GetInputs() {
			if in.GetBaseOffset() != end || in.GetEpoch() != first.GetEpoch() || end > math.MaxInt64-int64(in.GetRecordCount()) {
				return refuseField(fmt.Sprintf("segments[%d].inputs[%d]", i, j), "does not follow the one before in its epoch")
			}
			end += int64(in.GetRecordCount())
		}
		if end-first.GetBaseOffset() > math.MaxInt32 {
			return refuseField(fmt.Sprintf("segments[%d]", i), "covers too many offsets")
		}
	}
	return nil
}

// repeatedKeyCompaction answers what the first attempt was answered. Nothing there: the catalog does not serve, or the row has just gone.
func repeatedKeyCompaction(ctx context.Context, q *db.Queries, key string) (*controlplanev1.CommitKeyCompactionResponse, error) {
	rows, err := q.ObjectOutcomes(ctx, []string{key})
	if err != nil {
		return nil, fmt.Errorf("read outcome: %w", err)
	}
	if len(rows) == 0 {
		return nil, errKeyGone
	}
	response := &controlplanev1.CommitKeyCompactionResponse{}
	if outcome := rows[0].Outcome; len(outcome) == 0 || outcome[0] != keyCompacted || proto.Unmarshal(outcome[1:], response) != nil {
		return nil, store.Refuse(refusalv1.Reason_REASON_OBJECT_TOMBSTONED, "the object %s is dead: write another one", key)
	}
	return response, nil
}

// exchange takes the inputs of each segment away and puts the segment there, if they are all as they were read.
func exchange(
	ctx context.Context, q *db.Queries, agentGroup store.AgentGroup, partitionID, objectID int64, request *controlplanev1.CommitKeyCompactionRequest,
) (*controlplanev1.CommitKeyCompactionResponse, error) {
	var offsets []int64
	for _, segment := range request.GetSegments() {
		for _, in := range segment.GetInputs() {
			offsets = append(offsets, in.GetBaseOffset())
		}
	}
	there, err := lockSegmentsAt(ctx, q, partitionID, offsets)
	if err != nil {
		return nil, err
	}
	partitions, err := q.KeyCompactionPartition(ctx, partitionID, string(agentGroup))
	if err != nil {
		return nil, fmt.Errorf("find the job's partition: %w", err)
	}
	var out exchanged
	response := &controlplanev1.CommitKeyCompactionResponse{}
	for _, segment := range request.GetSegments() {
		if len(partitions) > 0 && out.take(partitionID, objectID, segment, there) {
			response.Accepted++
		} else {
			response.LeftOut++
		}
	}
	outcome, err := proto.Marshal(response)
	if err != nil {
		return nil, fmt.Errorf("encode outcome: %w", err)
	}
	var place compaction.Place
	if len(partitions) > 0 {
		place = compaction.PlaceOf(partitions[0].TopicID, partitions[0].Partition)
	}
	return response, out.write(ctx, q, objectID, place, append([]byte{keyCompacted}, outcome...))
}

// lockSegmentsAt locks the objects of the segments that begin there, and answers those that still do.
func lockSegmentsAt(ctx context.Context, q *db.Queries, partitionID int64, offsets []int64) (map[int64]db.SegmentsAtRow, error) {
	before, err := q.SegmentsAt(ctx, partitionID, offsets)
	if err != nil {
		return nil, fmt.Errorf("find segments: %w", err)
	}
	objects := make([]int64, len(before))
	for i, row := range before {
		objects[i] = row.ObjectID
	}
	locked, err := q.LockObjects(ctx, objects)
	if err != nil {
		return nil, fmt.Errorf("lock objects: %w", err)
	}
	rows, err := q.SegmentsAt(ctx, partitionID, offsets)
	if err != nil {
		return nil, fmt.Errorf("read segments: %w", err)
	}
	held := make(map[int64]bool, len(locked))
	for _, id := range locked {
		held[id] = true
	}
	there := make(map[int64]db.SegmentsAtRow, len(rows))
	for _, row := range rows {
		if held[row.ObjectID] { // else another has come in its place meanwhile, and nothing holds that one
			there[row.BaseOffset] = row
		}
	}
	return there, nil
}

// exchanged is what goes and what comes.
type exchanged struct {
	gone references
	come db.InsertSegmentsParams
}

// take looks whether a segment's inputs are as they were read. False: they are not.
func (e *exchanged) take(partitionID, objectID int64, segment *controlplanev1.KeyCompactedSegment, there map[int64]db.SegmentsAtRow) bool {
	covered := int32(0)
	for _, in := range segment.GetInputs() {
		row, ok := there[in.GetBaseOffset()]
		if !ok || row.RecordCount != in.GetRecordCount() || row.SizeBytes != in.GetSizeBytes() || row.Epoch != in.GetEpoch() || uint32(row.Crc32c) != in.GetCrc32C() {
			return false
		}
		covered += in.GetRecordCount()
	}
	for _, in := range segment.GetInputs() {
		e.gone.add(partitionID, in.GetBaseOffset(), there[in.GetBaseOffset()].ObjectID)
	}
	first := segment.GetInputs()[0]
	e.come.PartitionIds = append(e.come.PartitionIds, partitionID)
	e.come.BaseOffsets = append(e.come.BaseOffsets, first.GetBaseOffset())
	e.come.ObjectIds = append(e.come.ObjectIds, objectID)
	e.come.BytePositions = append(e.come.BytePositions, segment.GetBytePosition())
	e.come.MaxTimestampsMs = append(e.come.MaxTimestampsMs, segment.GetMaxTimestampMs())
	e.come.RecordCounts = append(e.come.RecordCounts, covered)
	e.come.SizesBytes = append(e.come.SizesBytes, segment.GetSizeBytes())
	e.come.Epochs = append(e.come.Epochs, first.GetEpoch())
	e.come.Crc32cs = append(e.come.Crc32cs, int32(segment.GetCrc32C()))
	return true
}

func (e *exchanged) write(ctx context.Context, q *db.Queries, objectID int64, place compaction.Place, outcome []byte) error {
	come := len(e.come.BaseOffsets)
	if come > 0 {
		if err := q.GoInOrder(ctx); err != nil {
			return fmt.Errorf("set planner: %w", err)
		}
		gone, err := q.DeleteSegments(ctx, e.gone.partitions, e.gone.offsets, e.gone.objects)
		if err := verdict("delete segments", int64(len(gone)), len(e.gone.offsets), err); err != nil {
			return err
		}
		inserted, err := q.InsertSegments(ctx, e.come)
		if err := verdict("insert segments", inserted, come, err); err != nil {
			return err
		}
		if err := dropReferences(ctx, q, gone); err != nil {
			return err
		}
	}
	referred, err := q.ReferToKeyCompacted(ctx, db.ReferToKeyCompactedParams{
		Outcome: outcome, ReferenceCount: int32(come), InputIds: e.gone.objects, ObjectID: objectID, Place: []byte(place),
	})
	return verdict("refer to the object", referred, 1, err)
}
