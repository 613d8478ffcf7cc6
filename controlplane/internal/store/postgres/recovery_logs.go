package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/commit"
	"github.com/streamhouse/streamhouse/controlplane/internal/rebuild"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

const (
	// buildTime is how long one call makes logs; buildPage and settlePage are a transaction's share of it.
	buildTime  = 3 * time.Second
	buildPage  = 100
	settlePage = 2000
	// chainPage is how many segments one statement inserts.
	chainPage = 20_000
)

// BuildLogs makes logs for a few seconds, page by page: each page is a transaction, after which its partitions and objects are done.
func (s *Store) BuildLogs(ctx context.Context, request *controlplanev1.BuildLogsRequest) (*controlplanev1.BuildLogsResponse, error) {
	response := &controlplanev1.BuildLogsResponse{}
	for began := time.Now(); ; {
		err := s.recover(ctx, request.GetRecoveryId(), func(ctx context.Context, q *db.Queries, row db.Recovery) error {
			if row.Step == stepInventory {
				if err := endInventory(ctx, q, row, request.GetAcceptLoss()); err != nil {
					return err
				}
				row.Step = stepLogs
			}
			step := row.Step
			if step == stepLogs {
				var err error
				if step, err = buildSome(ctx, q, row); err != nil {
					return err
				}
			}
			count, err := q.CountBuilt(ctx)
			response.BuiltCount, response.PartitionCount, response.Step = count.Built, count.Partitions, controlplanev1.RecoveryStep(step)
			return err
		}, stepInventory, stepLogs, stepProducers, stepReady)
		if err != nil {
			return nil, err
		}
		if int16(response.GetStep()) != stepLogs || time.Since(began) > buildTime {
			return response, nil
		}
	}
}

// buildSome makes a page of logs; where there are none left, it settles a page of objects; where all are, the step ends.
func buildSome(ctx context.Context, q *db.Queries, row db.Recovery) (step int16, err error) {
	page, err := q.PartitionsToBuild(ctx, buildPage)
	if err != nil {
		return 0, fmt.Errorf("read partitions: %w", err)
	}
	if len(page) > 0 {
		for _, p := range page {
			if err := buildLog(ctx, q, row, p); err != nil {
				return 0, fmt.Errorf("log of partition %s/%d: %w", p.TopicID, p.Partition, err)
			}
		}
		return stepLogs, nil
	}
	more, err := settleSome(ctx, q, row)
	if err != nil || more {
		return stepLogs, err
	}
	moved, err := q.MoveRecovery(ctx, stepProducers, row.RecoveryID, stepLogs)
	return stepProducers, verdict("end logs", moved, 1, err)
}

// knownOf is what is known of a partition beside its segments. Of a catalog that is rolled forward, everything below its high watermark is there;
// unless retention has passed it since, in which case nothing between the two is wanted any more.
func knownOf(kind int16, p db.PartitionsToBuildRow) rebuild.Known {
	known := rebuild.Known{LogStart: p.MarkLogStart, Marks: []rebuild.Mark{{HighWatermark: p.MarkHighWatermark, Epoch: p.MarkEpoch}}}
	if kind == kindRebuild {
		return known
	}
	known.Marks = append(known.Marks, rebuild.Mark{HighWatermark: p.HighWatermark, Epoch: p.Epoch})
	if p.MarkLogStart <= p.HighWatermark {
		known.LogStart, known.Exact = p.HighWatermark, true
	}
	return known
}

// buildLog follows one partition's candidates and adds what they come to.
func buildLog(ctx context.Context, q *db.Queries, row db.Recovery, p db.PartitionsToBuildRow) error {
	candidates, err := readCandidates(ctx, q, row.Kind, p)
	if err != nil {
		return err
	}
	known := knownOf(row.Kind, p)
	log := rebuild.Follow(known, candidates)
	size := int64(0)
	for chain := range slices.Chunk(log.Chain, chainPage) {
		for _, s := range chain {
			size += int64(s.SizeBytes)
		}
		if err := insertChain(ctx, q, p, chain); err != nil {
			return err
		}
	}
	start := max(p.LogStartOffset, min(p.MarkLogStart, log.HighWatermark))
	moved, err := q.SetRecoveredLog(ctx, start, log.HighWatermark, p.PartitionID)
	if err := verdict("move high watermark", moved, 1, err); err != nil {
		return err
	}
	first := known.LogStart
	if len(log.Chain) > 0 {
		first = log.Chain[0].BaseOffset
	}
	built, err := q.MarkBuilt(ctx, db.MarkBuiltParams{
		PartitionID: p.PartitionID, FirstOffset: first, HighWatermark: log.HighWatermark, Lost: log.Lost, SegmentCount: int32(len(log.Chain)), SizeBytes: size,
	})
	return verdict("mark built", built, 1, err)
}

// readCandidates leaves out what begins below a catalog's high watermark: the catalog has its own there.
func readCandidates(ctx context.Context, q *db.Queries, kind int16, p db.PartitionsToBuildRow) ([]rebuild.Segment, error) {
	rows, err := q.RecoveryCandidates(ctx, p.TopicID, p.Partition)
	if err != nil {
		return nil, fmt.Errorf("read candidates: %w", err)
	}
	candidates := make([]rebuild.Segment, 0, len(rows))
	for _, r := range rows {
		if kind == kindRollForward && r.BaseOffset < p.HighWatermark {
			continue
		}
		candidates = append(candidates, rebuild.Segment{
			ID: r.StagedID, BaseOffset: r.BaseOffset, TenureFirst: r.TenureFirstOffset, RecordCount: r.RecordCount, SizeBytes: r.SizeBytes, Epoch: r.Epoch,
		})
	}
	return candidates, nil
}

func insertChain(ctx context.Context, q *db.Queries, p db.PartitionsToBuildRow, chain []rebuild.Segment) error {
	arg := db.InsertRecoveredSegmentsParams{PartitionID: p.PartitionID, TopicID: p.TopicID, Partition: p.Partition}
	for _, s := range chain {
		arg.StagedIds, arg.BaseOffsets = append(arg.StagedIds, s.ID), append(arg.BaseOffsets, s.BaseOffset)
	}
	if err := q.AdoptObjects(ctx, arg.StagedIds); err != nil {
		return fmt.Errorf("adopt objects: %w", err)
	}
	inserted, err := q.InsertRecoveredSegments(ctx, arg)
	return verdict("insert segments", inserted, len(chain), err)
}

// settleSome gives a page of objects their reference counts, and the outcomes that repeats of their commits are answered with.
func settleSome(ctx context.Context, q *db.Queries, row db.Recovery) (more bool, err error) {
	rows, err := q.ObjectsToSettle(ctx, row.SettledStagedID, settlePage)
	if err != nil || len(rows) == 0 {
		return false, err
	}
	var arg settledObjects
	last := row.SettledStagedID
	for first := 0; first < len(rows); {
		end := first
		for end < len(rows) && rows[end].StagedID == rows[first].StagedID {
			end++
		}
		if err := addOutcome(&arg, rows[first:end]); err != nil {
			return false, err
		}
		last, first = rows[first].StagedID, end
	}
	changed, err := q.PutOutcomes(ctx, arg.objectIDs, arg.outcomes, arg.references)
	if err := verdict("put outcomes", changed, len(arg.objectIDs), err); err != nil {
		return false, err
	}
	return true, q.SettleUpTo(ctx, last)
}

// settledObjects are columns of objects that are settled together.
type settledObjects struct {
	objectIDs  []int64
	outcomes   [][]byte
	references []int32
}

// addOutcome takes the rows of one object. One that no log lies in has none: nobody has committed it, and the sweeper finds it.
func addOutcome(arg *settledObjects, rows []db.ObjectsToSettleRow) error {
	if rows[0].ObjectID == 0 {
		return nil
	}
	outcome, references := &controlplanev1.ObjectOutcome{}, int32(0)
	for _, r := range rows {
		s := &controlplanev1.SegmentOutcome{Result: controlplanev1.SegmentResult_SEGMENT_RESULT_FENCED, HighWatermark: r.HighWatermark, CurrentEpoch: r.Epoch}
		switch {
		case r.Referenced:
			references++
			s.Result, s.HighWatermark, s.CurrentEpoch = controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED, r.SegmentEnd, r.SegmentEpoch
		case !r.Known:
			s.Result = controlplanev1.SegmentResult_SEGMENT_RESULT_UNKNOWN_TOPIC
		}
		outcome.Segments = append(outcome.Segments, s)
	}
	encoded, err := commit.EncodeOutcome(outcome)
	if err != nil {
		return err
	}
	arg.objectIDs, arg.outcomes, arg.references = append(arg.objectIDs, rows[0].ObjectID), append(arg.outcomes, encoded), append(arg.references, references)
	return nil
}
