package postgres

import (
	"context"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/commit"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// writePlan writes what was decided: a row change for each partition, a row for each segment, the producers, the outcomes (failures
// included). Each statement's row count must be what the plan says, or nothing is committed.
func (c *committing) writePlan(ctx context.Context, objects []*controlplanev1.ObjectCommit, plan commit.Plan) error {
	if err := c.advance(ctx, plan.Advances); err != nil {
		return err
	}
	if err := c.insertSegments(ctx, objects, plan.Segments); err != nil {
		return err
	}
	if err := c.putProducers(ctx, plan); err != nil {
		return err
	}
	return c.putOutcomes(ctx, plan)
}

func (c *committing) advance(ctx context.Context, advances []commit.Advance) error {
	n := len(advances)
	if n == 0 {
		return nil
	}
	arg := db.AdvanceHighWatermarksParams{
		SessionID: c.session, PartitionIds: make([]int64, n), Epochs: make([]int32, n),
		OldHighWatermarks: make([]int64, n), NewHighWatermarks: make([]int64, n),
	}
	for i, a := range advances {
		arg.PartitionIds[i], arg.Epochs[i] = a.PartitionID, a.Epoch
		arg.OldHighWatermarks[i], arg.NewHighWatermarks[i] = a.Old, a.New
	}
	rows, err := c.q.AdvanceHighWatermarks(ctx, arg)
	return verdict("advance high watermarks", rows, n, err)
}

func (c *committing) insertSegments(ctx context.Context, objects []*controlplanev1.ObjectCommit, segments []commit.Segment) error {
	n := len(segments)
	if n == 0 {
		return nil
	}
	arg := db.InsertSegmentsParams{
		PartitionIds: make([]int64, n), BaseOffsets: make([]int64, n), ObjectIds: make([]int64, n), BytePositions: make([]int64, n),
		MaxTimestampsMs: make([]int64, n), RecordCounts: make([]int32, n), SizesBytes: make([]int32, n), Epochs: make([]int32, n),
		Crc32cs: make([]int32, n),
	}
	for i, s := range segments {
		arg.PartitionIds[i], arg.BaseOffsets[i] = s.PartitionID, s.Entry.GetBaseOffset()
		arg.ObjectIds[i], arg.BytePositions[i] = c.ids[objects[s.Object].GetKey()], s.Entry.GetBytePosition()
		arg.MaxTimestampsMs[i], arg.RecordCounts[i] = s.Entry.GetMaxTimestampMs(), s.Entry.GetRecordCount()
		arg.SizesBytes[i], arg.Epochs[i] = s.Entry.GetSizeBytes(), s.Entry.GetEpoch()
		arg.Crc32cs[i] = int32(s.Entry.GetCrc32C())
	}
	rows, err := c.q.InsertSegments(ctx, arg)
	return verdict("insert segments", rows, n, err)
}

func (c *committing) putProducers(ctx context.Context, plan commit.Plan) error {
	n := len(plan.Producers)
	if n == 0 {
		return nil
	}
	arg := db.PutProducersParams{
		PartitionIds: make([]int64, 0, n), ProducerIds: make([]int64, 0, n), ProducerEpochs: make([]int16, 0, n), Batches: make([][]byte, 0, n),
	}
	for key, state := range plan.Producers {
		arg.PartitionIds, arg.ProducerIds = append(arg.PartitionIds, key.PartitionID), append(arg.ProducerIds, key.ProducerID)
		arg.ProducerEpochs, arg.Batches = append(arg.ProducerEpochs, state.Epoch), append(arg.Batches, state.Encode())
	}
	rows, err := c.q.PutProducers(ctx, arg)
	return verdict("put producers", rows, n, err)
}

func (c *committing) putOutcomes(ctx context.Context, plan commit.Plan) error {
	n := len(plan.Outcomes)
	ids, stored, references := make([]int64, n), make([][]byte, n), make([]int32, n)
	for i, outcome := range plan.Outcomes {
		bytes, err := commit.EncodeOutcome(outcome)
		if err != nil {
			return err
		}
		ids[i], stored[i] = c.ids[outcome.GetKey()], bytes
	}
	for _, s := range plan.Segments {
		references[s.Object]++
	}
	rows, err := c.q.PutOutcomes(ctx, ids, stored, references)
	return verdict("put outcomes", rows, n, err)
}
