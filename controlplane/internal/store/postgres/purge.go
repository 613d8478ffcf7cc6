package postgres

import (
	"context"
	"fmt"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// purgePage bounds the rows of each kind that one purge removes.
const purgePage = 1000

// PurgeDeleted removes a page of what deleted topics left: first segments (their objects' keys are locked before), then producers and
// partitions that have no segment any more, at last the topics of which everyone has heard.
func (s *Store) PurgeDeleted(ctx context.Context) (purged int, more bool, err error) {
	err = s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		purged, more = 0, false
		held, err := q.TryPurgeLock(ctx, purgeLock)
		if err != nil || !held {
			return err
		}
		state, err := q.CatalogState(ctx)
		if err != nil || !state.Verified || state.HaltedAt != nil { // nothing is deleted on the word of a catalog that may have lost transactions
			return err
		}
		purged, more, err = purge(ctx, q)
		return err
	})
	return purged, more, err
}

func purge(ctx context.Context, q *db.Queries) (purged int, more bool, err error) {
	segments, err := purgeSegments(ctx, q)
	if err != nil {
		return 0, false, err
	}
	if segments == purgePage {
		return segments, true, nil
	}
	ids, err := q.LockDeletedPartitions(ctx, purgePage)
	if err != nil {
		return 0, false, fmt.Errorf("lock partitions: %w", err)
	}
	var producers, partitions int64
	if len(ids) > 0 {
		if producers, err = q.DeleteProducersOfEmptyPartitions(ctx, ids, purgePage); err != nil {
			return 0, false, fmt.Errorf("delete producers: %w", err)
		}
		if partitions, err = q.DeleteEmptyPartitions(ctx, ids); err != nil {
			return 0, false, fmt.Errorf("delete partitions: %w", err)
		}
	}
	topics, err := q.ForgetDeletedTopics(ctx)
	if err != nil {
		return 0, false, fmt.Errorf("forget topics: %w", err)
	}
	purged = segments + int(producers+partitions+topics)
	return purged, purged > 0 && len(ids) > 0, nil
}

// purgeSegments removes segments and the references to their objects.
func purgeSegments(ctx context.Context, q *db.Queries) (int, error) {
	rows, err := q.SegmentsOfDeletedTopics(ctx, purgePage)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	partitions, offsets, objects := make([]int64, len(rows)), make([]int64, len(rows)), make([]int64, len(rows))
	for i, row := range rows {
		partitions[i], offsets[i], objects[i] = row.PartitionID, row.BaseOffset, row.ObjectID
	}
	if _, err := q.LockObjects(ctx, objects); err != nil {
		return 0, fmt.Errorf("lock objects: %w", err)
	}
	gone, err := q.DeleteSegments(ctx, partitions, offsets)
	if err != nil {
		return 0, fmt.Errorf("delete segments: %w", err)
	}
	ids, dropped := countReferences(gone)
	changed, err := q.DropReferences(ctx, ids, dropped)
	return len(gone), verdict("drop references", changed, len(ids), err)
}

func countReferences(objects []int64) (ids []int64, dropped []int32) {
	at := map[int64]int{}
	for _, id := range objects {
		i, seen := at[id]
		if !seen {
			i = len(ids)
			at[id] = i
			ids, dropped = append(ids, id), append(dropped, 0)
		}
		dropped[i]++
	}
	return ids, dropped
}
