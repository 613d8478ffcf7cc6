package postgres

import (
	"context"
	"fmt"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

const (
	// purgePage bounds the segments, and the producers, that one purge removes.
	purgePage = 2000
	// purgePartitions bounds the partitions that one purge looks at, and removes: a commit that names one waits for it.
	purgePartitions = 250
)

// PurgeDeleted removes some of what deleted topics left, of their first partitions: as long as these have segments, segments (their objects'
// keys are locked before), and no commit waits for that; then producers and the partitions themselves; at last the topics of which everyone
// has heard.
func (s *Store) PurgeDeleted(ctx context.Context) (purged int, more bool, err error) {
	var due bool
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) (err error) {
		due, err = q.PurgeIsDue(ctx)
		return err
	})
	if err != nil || !due {
		return 0, false, err
	}
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
	ids, err := q.DeletedPartitions(ctx, purgePartitions)
	if err != nil {
		return 0, false, fmt.Errorf("find partitions of deleted topics: %w", err)
	}
	if len(ids) == 0 {
		topics, err := q.ForgetDeletedTopics(ctx)
		if err != nil {
			return 0, false, fmt.Errorf("forget topics: %w", err)
		}
		return int(topics), false, nil
	}
	if err := q.GoInOrder(ctx); err != nil {
		return 0, false, fmt.Errorf("set planner: %w", err)
	}
	purged, err = purgeSegments(ctx, q, ids)
	if err == nil && purged == 0 {
		purged, err = purgePartitionsOf(ctx, q, ids)
	}
	return purged, purged > 0, err
}

// purgeSegments removes segments and the references to their objects.
func purgeSegments(ctx context.Context, q *db.Queries, ids []int64) (int, error) {
	rows, err := q.SegmentsOfPartitions(ctx, ids, purgePage)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	var found references
	for _, row := range rows {
		found.add(row.PartitionID, row.BaseOffset, row.ObjectID)
	}
	if _, err := q.LockObjects(ctx, found.objects); err != nil {
		return 0, fmt.Errorf("lock objects: %w", err)
	}
	gone, err := q.DeleteSegments(ctx, found.partitions, found.offsets, found.objects)
	if err != nil {
		return 0, fmt.Errorf("delete segments: %w", err)
	}
	return len(gone), dropReferences(ctx, q, gone)
}

// purgePartitionsOf removes partitions that are empty, and their producers before. Those that a commit holds have their turn next time.
func purgePartitionsOf(ctx context.Context, q *db.Queries, ids []int64) (int, error) {
	free, err := q.LockFreePartitions(ctx, ids)
	if err != nil || len(free) == 0 {
		return 0, err
	}
	producers, err := q.DeleteProducersOfEmptyPartitions(ctx, free, purgePage)
	if err != nil {
		return 0, fmt.Errorf("delete producers: %w", err)
	}
	partitions, err := q.DeleteEmptyPartitions(ctx, free)
	if err != nil {
		return 0, fmt.Errorf("delete partitions: %w", err)
	}
	return int(producers + partitions), nil
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
