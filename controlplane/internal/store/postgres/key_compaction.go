package postgres

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/keycompaction"
	"github.com/streamhouse/streamhouse/controlplane/internal/producer"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

const keyCompactKind = int16(controlplanev1.JobKind_JOB_KIND_KEY_COMPACT)

const (
	// keyCompactionPage is how many partitions one look is at.
	keyCompactionPage = 200
	// keyCompactionScan bounds the dirty segments of one pass.
	keyCompactionScan = 2000
	// keyCompactionLooks is how often partitions are looked at between two passes over the same one.
	keyCompactionLooks = 10
	// namedProducers bounds the producers whose batches a job is told by name.
	namedProducers = 2000
)

// keyCompactDue looks at the next partitions. The first one that is due has its turn; the others have theirs with the next claim.
func keyCompactDue(ctx context.Context, c *claim) (subjects []string, detail []byte, err error) {
	after, err := c.KeyCompactionLook(ctx, string(c.agentGroup))
	if err != nil || len(after) == 0 {
		return nil, nil, err
	}
	rows, err := c.KeyCompactionCandidates(ctx, db.KeyCompactionCandidatesParams{
		IntervalSeconds: c.config.KeyCompactionInterval.Seconds(), MinAgeSeconds: c.config.KeyCompactionMinAge.Seconds(),
		AgentGroup: string(c.agentGroup), After: after[0], Page: keyCompactionPage, Scan: keyCompactionScan,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("look for dirty partitions: %w", err)
	}
	for _, row := range rows {
		pass, due := keycompaction.Due(keycompaction.State{
			CleanEnd: row.CleanEnd, CleanBytes: row.CleanBytes, DirtyEnd: row.DirtyEnd, DirtyBytes: row.DirtyBytes,
			Tombstones: row.Tombstones, HorizonOffset: row.HorizonOffset, HorizonPassed: row.HorizonPassed, Rested: row.Rested,
		})
		if !due {
			continue
		}
		if subjects, err = c.free(ctx, controlplanev1.JobKind_JOB_KIND_KEY_COMPACT, strconv.FormatInt(row.PartitionID, 10)); err != nil {
			return nil, nil, err
		}
		if len(subjects) > 0 {
			detail, err = proto.Marshal(&controlplanev1.KeyCompactionDetail{
				CleanEnd: pass.CleanEnd, End: pass.End, DropTombstonesBelow: pass.DropTombstonesBelow,
			})
			if err != nil {
				return nil, nil, fmt.Errorf("encode job: %w", err)
			}
			return subjects, detail, c.looked(ctx, row.PartitionID, 0)
		}
	}
	if len(rows) == keyCompactionPage {
		return nil, nil, c.looked(ctx, rows[len(rows)-1].PartitionID, 0)
	}
	return nil, nil, c.looked(ctx, 0, c.config.KeyCompactionInterval/keyCompactionLooks)
}

func (c *claim) looked(ctx context.Context, after int64, pause time.Duration) error {
	if err := c.KeyCompactionLooked(ctx, after, pause.Seconds(), string(c.agentGroup)); err != nil {
		return fmt.Errorf("move on to other partitions: %w", err)
	}
	return nil
}

// tellKeyCompact says what was planned, as far as it is still there: the log start may have risen, the topic may be gone.
func tellKeyCompact(ctx context.Context, c *claim, row db.Job, job *controlplanev1.Job) (bool, error) {
	id, detail, err := keyCompaction(row)
	if err != nil {
		return false, err
	}
	partitions, err := c.KeyCompactionPartition(ctx, id, string(c.agentGroup))
	if err != nil {
		return false, fmt.Errorf("find the job's partition: %w", err)
	}
	if len(partitions) == 0 || partitions[0].LogStartOffset > detail.GetEnd() {
		return false, nil
	}
	p := partitions[0]
	state, err := c.CatalogState(ctx)
	if err != nil {
		return false, fmt.Errorf("read incarnation: %w", err)
	}
	if err := c.countRun(ctx, row, detail); err != nil {
		return false, err
	}
	work := &controlplanev1.KeyCompactWork{
		TopicId: p.TopicID[:], Partition: p.Partition, CleanEnd: max(detail.GetCleanEnd(), p.LogStartOffset), End: detail.GetEnd(),
		DropTombstonesBelow: detail.GetDropTombstonesBelow(), Incarnation: int32(state.Incarnation), Run: detail.GetRuns(),
	}
	if err := c.nameProducers(ctx, id, work); err != nil {
		return false, err
	}
	job.Work = &controlplanev1.Job_KeyCompact{KeyCompact: work}
	return true, nil
}

// countRun gives every run of a job keys of its own.
func (c *claim) countRun(ctx context.Context, row db.Job, detail *controlplanev1.KeyCompactionDetail) error {
	detail.Runs++
	encoded, err := proto.Marshal(detail)
	if err != nil {
		return fmt.Errorf("encode job: %w", err)
	}
	saved, err := c.SaveJob(ctx, encoded, row.JobID)
	return verdict("save job", saved, 1, err)
}

// nameProducers names the batches that say where producers stand (P5, P9).
func (c *claim) nameProducers(ctx context.Context, partitionID int64, work *controlplanev1.KeyCompactWork) error {
	rows, err := c.ProducersOfPartition(ctx, partitionID, namedProducers+1)
	if err != nil {
		return fmt.Errorf("read producers: %w", err)
	}
	if len(rows) > namedProducers {
		work.EveryProducerBatch = true
		return nil
	}
	for _, row := range rows {
		known, err := producer.Decode(row.ProducerEpoch, row.Batches)
		if err != nil {
			return err
		}
		for _, b := range known.Batches {
			if b.BaseOffset < work.GetEnd() {
				work.ProducerBatches = append(work.ProducerBatches, b.BaseOffset)
			}
		}
	}
	return nil
}

// keyCompaction reads what the job's row remembers.
func keyCompaction(row db.Job) (partitionID int64, detail *controlplanev1.KeyCompactionDetail, err error) {
	if row.Kind != keyCompactKind {
		return 0, nil, refuseField("job_id", "is not one that compacts by key")
	}
	detail = &controlplanev1.KeyCompactionDetail{}
	if err := proto.Unmarshal(row.Detail, detail); err != nil {
		return 0, nil, fmt.Errorf("decode job: %w", err)
	}
	if partitionID, err = strconv.ParseInt(row.Subject, 10, 64); err != nil {
		return 0, nil, fmt.Errorf("decode job: %w", err)
	}
	return partitionID, detail, nil
}

// FinishKeyCompaction moves the clean end.
func (s *Store) FinishKeyCompaction(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.FinishKeyCompactionRequest) (
	*controlplanev1.FinishKeyCompactionResponse, error,
) {
	id, err := parseJob(request.GetJobId())
	if err != nil {
		return nil, err
	}
	err = s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		row, err := lockJob(ctx, q, agentGroup, id)
		if err != nil {
			return err
		}
		partitionID, detail, err := keyCompaction(row)
		if err != nil {
			return err
		}
		if end := request.GetCleanEnd(); end < detail.GetCleanEnd() || end > detail.GetEnd() {
			return refuseField("clean_end", fmt.Sprintf("must lie between %d and %d, the job's", detail.GetCleanEnd(), detail.GetEnd()))
		}
		_, err = q.PutKeyCompaction(ctx, db.PutKeyCompactionParams{ // no row: the partition is gone, and nothing is to be remembered
			CleanEnd: request.GetCleanEnd(), CleanBytes: request.GetCleanBytes(), Tombstones: request.GetTombstones(), PartitionID: partitionID,
			Dropped: detail.GetDropTombstonesBelow() > 0,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.FinishKeyCompactionResponse{}, nil
}
