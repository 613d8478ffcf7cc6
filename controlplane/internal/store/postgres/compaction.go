package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/compaction"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

var _ store.Compactions = (*Store)(nil)

const compactKind = int16(controlplanev1.JobKind_JOB_KIND_COMPACT)

// maxCompactions bounds the jobs of compaction that an agent group has at a time.
const maxCompactions = 16

// compactDue finds objects that are worth compacting and in no job; what can gain nothing is left for good.
func compactDue(ctx context.Context, c *claim) (subjects []string, detail []byte, err error) {
	taken, jobs, err := compacting(ctx, c.Queries, c.agentGroup)
	if err != nil || jobs >= maxCompactions || c.config.CompactionOff {
		return nil, nil, err
	}
	for level := range compaction.Levels {
		candidates, err := c.compactionCandidates(ctx, level, taken)
		if err != nil {
			return nil, nil, err
		}
		plan := compaction.Choose(level, candidates, c.config.CompactionConfig())
		if err := raiseLevel(ctx, c.Queries, objectIDs(plan.Leave), level, compaction.Settled); err != nil {
			return nil, nil, err
		}
		if len(plan.Inputs) > 0 {
			return compactionJob(level, plan.Inputs, c.config.CompactionTargetBytes)
		}
	}
	return nil, nil, nil
}

func compactionJob(level int, inputs []compaction.Candidate, target int64) (subjects []string, detail []byte, err error) {
	job := &controlplanev1.CompactionDetail{Level: int32(level), ObjectIds: objectIDs(inputs), TargetBytes: target}
	for _, c := range inputs {
		job.ObjectKeys, job.ObjectBytes = append(job.ObjectKeys, c.Key), append(job.ObjectBytes, c.SizeBytes)
	}
	if detail, err = proto.Marshal(job); err != nil {
		return nil, nil, fmt.Errorf("encode job of compaction: %w", err)
	}
	return []string{strconv.FormatInt(inputs[0].ObjectID, 10)}, detail, nil
}

// compacting are the objects that jobs have.
func compacting(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup) (taken map[int64]bool, jobs int, err error) {
	details, err := q.CompactionDetails(ctx, string(agentGroup), compactKind)
	if err != nil {
		return nil, 0, fmt.Errorf("read jobs: %w", err)
	}
	taken = map[int64]bool{}
	for _, encoded := range details {
		detail, err := decodeCompaction(encoded)
		if err != nil {
			return nil, 0, err
		}
		for _, id := range detail.GetObjectIds() {
			taken[id] = true
		}
	}
	return taken, len(details), nil
}

func decodeCompaction(encoded []byte) (*controlplanev1.CompactionDetail, error) {
	detail := &controlplanev1.CompactionDetail{}
	if err := proto.Unmarshal(encoded, detail); err != nil {
		return nil, fmt.Errorf("decode job of compaction: %w", err)
	}
	return detail, nil
}

func (c *claim) compactionCandidates(ctx context.Context, level int, taken map[int64]bool) ([]compaction.Candidate, error) {
	rows, err := c.CompactionCandidates(ctx, db.CompactionCandidatesParams{
		AgentGroup: string(c.agentGroup), Level: int16(level), MinAgeSeconds: c.config.CompactionMinAge.Seconds(),
		Page: int32(compaction.Page + len(taken)),
	})
	if err != nil {
		return nil, fmt.Errorf("read candidates: %w", err)
	}
	candidates := make([]compaction.Candidate, 0, len(rows))
	for _, row := range rows {
		if taken[row.ObjectID] || len(candidates) == compaction.Page {
			continue
		}
		candidates = append(candidates, compaction.Candidate{
			ObjectID: row.ObjectID, Key: row.Key, SizeBytes: row.SizeBytes, References: row.ReferenceCount,
			Age:   time.Duration(row.AgeSeconds * float64(time.Second)),
			First: compaction.Place(row.FirstPlace), Last: compaction.Place(row.LastPlace),
		})
	}
	return candidates, nil
}

func objectIDs(candidates []compaction.Candidate) []int64 {
	ids := make([]int64, len(candidates))
	for i, c := range candidates {
		ids[i] = c.ObjectID
	}
	return ids
}

func raiseLevel(ctx context.Context, q *db.Queries, ids []int64, from, to int) error {
	if len(ids) == 0 {
		return nil
	}
	if _, err := q.RaiseLevel(ctx, int16(to), ids, int16(from)); err != nil {
		return fmt.Errorf("raise level: %w", err)
	}
	return nil
}

// tellCompact says what was planned, and how far others have come.
func tellCompact(ctx context.Context, c *claim, row db.Job, job *controlplanev1.Job) (bool, error) {
	detail, err := decodeCompaction(row.Detail)
	if err != nil {
		return false, err
	}
	state, err := c.CatalogState(ctx)
	if err != nil {
		return false, fmt.Errorf("read incarnation: %w", err)
	}
	job.Work = &controlplanev1.Job_Compact{Compact: &controlplanev1.CompactWork{
		ObjectKeys: detail.GetObjectKeys(), TargetBytes: detail.GetTargetBytes(), Incarnation: int32(state.Incarnation),
		Outputs: detail.GetOutputs(), Output: detail.GetOutput(), ObjectBytes: detail.GetObjectBytes(),
	}}
	return true, nil
}

// compactDone sees to it that inputs which are still referenced are not tried at their level again: something in them changed or is damaged.
func compactDone(ctx context.Context, p *place, row db.Job) error {
	detail, err := decodeCompaction(row.Detail)
	if err != nil {
		return err
	}
	return raiseLevel(ctx, p.Queries, detail.GetObjectIds(), int(detail.GetLevel()), int(detail.GetLevel())+1)
}

// AnnounceOutput is kept in the job's row.
func (s *Store) AnnounceOutput(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.AnnounceOutputRequest) (
	*controlplanev1.AnnounceOutputResponse, error,
) {
	err := s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		job, detail, err := lockCompaction(ctx, q, agentGroup, request.GetJobId())
		if err != nil {
			return err
		}
		output := request.GetOutput()
		if !strings.HasPrefix(output.GetObjectKey(), string(agentGroup)+"/") || !strings.Contains(output.GetObjectKey(), "-"+job.OutputID.String()+"-") { // P7
			return refuseField("output.object_key", "is not one of the job's")
		}
		if detail.GetOutput().GetObjectKey() != output.GetObjectKey() {
			detail.Outputs++
		}
		detail.Output = output
		encoded, err := proto.Marshal(detail)
		if err != nil {
			return fmt.Errorf("encode job of compaction: %w", err)
		}
		saved, err := q.SaveJob(ctx, encoded, job.JobID)
		return verdict("save job", saved, 1, err)
	})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.AnnounceOutputResponse{}, nil
}

// lockCompaction is the fence of a call about a job of compaction.
func lockCompaction(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup, jobID string) (db.Job, *controlplanev1.CompactionDetail, error) {
	id, err := parseJob(jobID)
	if err != nil {
		return db.Job{}, nil, err
	}
	job, err := lockJob(ctx, q, agentGroup, id)
	if err != nil {
		return db.Job{}, nil, err
	}
	if job.Kind != compactKind {
		return db.Job{}, nil, refuseField("job_id", "is not one of compaction")
	}
	detail, err := decodeCompaction(job.Detail)
	return job, detail, err
}

// CommitCompaction is one transaction for one output. Locks: the job, then the output's key, which nobody else knows, then those of the inputs in order.
func (s *Store) CommitCompaction(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.CommitCompactionRequest) (
	response *controlplanev1.CommitCompactionResponse, err error,
) {
	err = s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		job, detail, err := lockCompaction(ctx, q, agentGroup, request.GetJobId())
		if err != nil {
			return err
		}
		if request.GetObjectKey() != detail.GetOutput().GetObjectKey() {
			return refuseField("object_key", "was not announced last")
		}
		c, err := newCompactionCommit(q, agentGroup, request)
		if err != nil {
			return err
		}
		response, err = c.run(ctx, job.OutputID, detail)
		return err
	})
	return response, err
}

// compactionCommit is one transaction.
type compactionCommit struct {
	q       *db.Queries
	group   store.AgentGroup
	request *controlplanev1.CommitCompactionRequest
	ranges  db.SegmentsInRangesParams
	places  []compaction.Place // of the segments
}

func newCompactionCommit(q *db.Queries, agentGroup store.AgentGroup, request *controlplanev1.CommitCompactionRequest) (*compactionCommit, error) {
	c := &compactionCommit{q: q, group: agentGroup, request: request, ranges: db.SegmentsInRangesParams{AgentGroup: string(agentGroup)}}
	end := int64(0)
	for i, segment := range request.GetSegments() {
		topic, err := uuid.FromBytes(segment.GetTopicId())
		if err != nil {
			return nil, refuseField(fmt.Sprintf("segments[%d].topic_id", i), "must be 16 bytes")
		}
		place := compaction.PlaceOf(topic, segment.GetPartition())
		if i > 0 && (place < c.places[i-1] || (place == c.places[i-1] && segment.GetBaseOffset() < end)) {
			return nil, refuseField(fmt.Sprintf("segments[%d]", i), "is out of order")
		}
		end = segment.GetBaseOffset() + int64(segment.GetRecordCount())
		c.places = append(c.places, place)
		c.ranges.TopicIds, c.ranges.Partitions = append(c.ranges.TopicIds, topic), append(c.ranges.Partitions, segment.GetPartition())
		c.ranges.BaseOffsets, c.ranges.EndOffsets = append(c.ranges.BaseOffsets, segment.GetBaseOffset()), append(c.ranges.EndOffsets, end)
		c.ranges.Ordinals = append(c.ranges.Ordinals, int32(i))
	}
	return c, nil
}

// compactedOutcome is kept with the key of an output: no commit will ever ask for it.
var compactedOutcome = []byte{1, 0} // packed, no entries: see package commit

func (c *compactionCommit) run(ctx context.Context, outputID uuid.UUID, detail *controlplanev1.CompactionDetail) (
	*controlplanev1.CommitCompactionResponse, error,
) {
	if err := c.q.GoInOrder(ctx); err != nil {
		return nil, fmt.Errorf("set planner: %w", err)
	}
	inserted, err := c.q.InsertCompacted(ctx, db.InsertCompactedParams{
		Key: c.request.GetObjectKey(), OutputID: outputID, SizeBytes: detail.GetOutput().GetSizeBytes(), Outcome: compactedOutcome,
		Level: int16(detail.GetLevel() + 1), FirstPlace: []byte(c.places[0]), LastPlace: []byte(c.places[len(c.places)-1]),
	})
	if err != nil {
		return nil, fmt.Errorf("insert output: %w", err)
	}
	if len(inserted) == 0 {
		return c.repeated(ctx)
	}
	objects, err := c.q.ObjectsInRanges(ctx, db.ObjectsInRangesParams{
		TopicIds: c.ranges.TopicIds, Partitions: c.ranges.Partitions, BaseOffsets: c.ranges.BaseOffsets, EndOffsets: c.ranges.EndOffsets,
	})
	if err != nil {
		return nil, fmt.Errorf("find inputs: %w", err)
	}
	if _, err := c.q.LockObjects(ctx, objects); err != nil {
		return nil, fmt.Errorf("lock inputs: %w", err)
	}
	rows, err := c.q.SegmentsInRanges(ctx, c.ranges) // later than the lock
	if err != nil {
		return nil, fmt.Errorf("read segments: %w", err)
	}
	return c.replace(ctx, inserted[0], c.accepted(rows, inserted[0], objects))
}

// repeated answers a repeat: what is in the catalog of the output.
func (c *compactionCommit) repeated(ctx context.Context) (*controlplanev1.CommitCompactionResponse, error) {
	found, err := c.q.CompactedObject(ctx, c.request.GetObjectKey())
	if err != nil {
		return nil, fmt.Errorf("look output up: %w", err)
	}
	if len(found) == 0 {
		return nil, errKeyGone // a tombstone that was forgotten this moment, or a catalog that does not serve
	}
	if found[0].Dead {
		refused := store.Refuse(refusalv1.Reason_REASON_OBJECT_TOMBSTONED, "object %q was taken for an orphan: write it under another key", c.request.GetObjectKey())
		return nil, refused
	}
	rows, err := c.q.SegmentsInRanges(ctx, c.ranges)
	if err != nil {
		return nil, fmt.Errorf("read segments: %w", err)
	}
	response := &controlplanev1.CommitCompactionResponse{}
	for _, row := range rows {
		if row.ObjectID == found[0].ObjectID {
			response.Accepted++
		}
	}
	return response, nil
}

// replacement is a segment that was accepted, and the rows whose place it takes.
type replacement struct {
	segment     *controlplanev1.CompactedSegment
	partitionID int64
	rows        []db.SegmentsInRangesRow
}

// accepted holds each segment against what is there. Rows of objects that are not locked came meanwhile: they may change yet.
func (c *compactionCommit) accepted(rows []db.SegmentsInRangesRow, output int64, locked []int64) (accepted []replacement) {
	safe := make(map[int64]bool, len(locked))
	for _, id := range locked {
		safe[id] = true
	}
	for len(rows) > 0 {
		n, good := 0, true
		var found []compaction.Segment
		for ; n < len(rows) && rows[n].Ordinal == rows[0].Ordinal; n++ {
			row := rows[n]
			good = good && safe[row.ObjectID] && row.BaseOffset+int64(row.RecordCount) > row.LogStartOffset // retention is about to remove the others
			found = append(found, compaction.Segment{
				ObjectID: row.ObjectID, BaseOffset: row.BaseOffset, RecordCount: row.RecordCount, SizeBytes: row.SizeBytes, CRC32C: uint32(row.Crc32c),
				Epoch: row.Epoch, MaxTimestampMs: row.MaxTimestampMs,
			})
		}
		segment := c.request.GetSegments()[rows[0].Ordinal]
		if good && compaction.Replaces(compacted(segment, output), found) {
			accepted = append(accepted, replacement{segment, rows[0].PartitionID, rows[:n]})
		}
		rows = rows[n:]
	}
	return accepted
}

func compacted(s *controlplanev1.CompactedSegment, output int64) compaction.Segment {
	return compaction.Segment{
		ObjectID: output, BaseOffset: s.GetBaseOffset(), RecordCount: s.GetRecordCount(), SizeBytes: s.GetSizeBytes(), CRC32C: s.GetCrc32C(),
		Epoch: s.GetEpoch(), MaxTimestampMs: s.GetMaxTimestampMs(),
	}
}

// replace deletes rows, inserts what takes their place, and counts references. Nothing accepted: the output is unreferenced from its beginning.
func (c *compactionCommit) replace(ctx context.Context, output int64, accepted []replacement) (*controlplanev1.CommitCompactionResponse, error) {
	var old references
	var in db.InsertSegmentsParams
	for _, r := range accepted {
		for _, row := range r.rows {
			old.add(row.PartitionID, row.BaseOffset, row.ObjectID)
		}
		s := r.segment
		in.PartitionIds, in.BaseOffsets = append(in.PartitionIds, r.partitionID), append(in.BaseOffsets, s.GetBaseOffset())
		in.ObjectIds, in.BytePositions = append(in.ObjectIds, output), append(in.BytePositions, s.GetBytePosition())
		in.MaxTimestampsMs, in.RecordCounts = append(in.MaxTimestampsMs, s.GetMaxTimestampMs()), append(in.RecordCounts, s.GetRecordCount())
		in.SizesBytes, in.Epochs, in.Crc32cs = append(in.SizesBytes, s.GetSizeBytes()), append(in.Epochs, s.GetEpoch()), append(in.Crc32cs, int32(s.GetCrc32C()))
	}
	gone, err := c.q.DeleteSegments(ctx, old.partitions, old.offsets, old.objects)
	if err := verdict("delete segments", int64(len(gone)), len(old.partitions), err); err != nil {
		return nil, err
	}
	added, err := c.q.InsertSegments(ctx, in)
	if err := verdict("insert segments", added, len(accepted), err); err != nil {
		return nil, err
	}
	inputs, dropped := countReferences(gone)
	changed, err := c.q.DropReferences(ctx, inputs, dropped)
	if err := verdict("drop references", changed, len(inputs), err); err != nil {
		return nil, err
	}
	referred, err := c.q.ReferToCompacted(ctx, int32(len(accepted)), inputs, output)
	if err := verdict("refer to output", referred, 1, err); err != nil {
		return nil, err
	}
	return &controlplanev1.CommitCompactionResponse{
		Accepted: int32(len(accepted)), LeftOut: int32(len(c.request.GetSegments()) - len(accepted)), Replaced: int32(len(gone)),
	}, nil
}
