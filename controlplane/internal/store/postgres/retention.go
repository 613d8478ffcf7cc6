package postgres

import (
	"context"
	"fmt"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

var _ store.Retention = (*Store)(nil)

const (
	// retentionPage is how many partitions one statement looks at.
	retentionPage = 500
	// retentionScan is how many segments of one partition are looked at, from its beginning for time, from its end for bytes: what is left is seen
	// to in the next pass, or by further statements.
	retentionScan = 1000
	// raiseTogether bounds the partitions that one statement locks.
	raiseTogether = 50
	// removePage bounds the segments that one transaction removes.
	removePage = 2000
)

// RaiseLogStarts looks without locks, and then raises what it has found, guarded by what makes it right.
func (s *Store) RaiseLogStarts(ctx context.Context, after store.RetentionCursor) (page store.RaisedPage, err error) {
	raise, next, err := s.expired(ctx, after)
	if err != nil {
		return page, err
	}
	for first := 0; first < len(raise); first += raiseTogether {
		raised, err := s.raise(ctx, raise[first:min(first+raiseTogether, len(raise))])
		page.Partitions += raised
		if err != nil {
			return page, err
		}
	}
	page.Next = next
	return page, nil
}

// logStart is where a partition is to begin.
type logStart struct{ partitionID, offset int64 }

// expired finds which partitions of the page are to begin elsewhere.
func (s *Store) expired(ctx context.Context, after store.RetentionCursor) (raise []logStart, next *store.RetentionCursor, err error) {
	err = s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		raise, next = nil, nil
		if mayDelete, err := s.mayRetain(ctx, q); err != nil || !mayDelete {
			return err
		}
		rows, err := q.ExpiredPartitions(ctx, retentionScan, after.PartitionID, retentionPage)
		if err != nil {
			return fmt.Errorf("look for expired segments: %w", err)
		}
		if len(rows) == retentionPage {
			next = &store.RetentionCursor{PartitionID: rows[len(rows)-1].PartitionID}
		}
		for _, row := range rows {
			by, err := byBytes(ctx, q, row, retentionScan)
			if err != nil {
				return err
			}
			if to := max(row.ByTime, by); to > row.LogStartOffset {
				raise = append(raise, logStart{row.PartitionID, to})
			}
		}
		return nil
	})
	return raise, next, err
}

// mayRetain says whether this replica may look at a page now: the catalog is trusted, and no other replica is at one.
func (s *Store) mayRetain(ctx context.Context, q *db.Queries) (bool, error) {
	held, err := q.TryRetentionLock(ctx, retentionLock)
	if err != nil || !held {
		return false, err
	}
	state, err := q.CatalogState(ctx)
	return err == nil && state.Verified && state.HaltedAt == nil, err
}

// byBytes is where the partition is to begin by its bound in bytes; -1: where it begins. One with many segments takes further statements.
func byBytes(ctx context.Context, q *db.Queries, row db.ExpiredPartitionsRow, scan int32) (int64, error) {
	if row.ByBytes >= 0 || row.Cut < 0 {
		return row.ByBytes, nil
	}
	for below, kept := row.HighWatermark, int64(0); ; {
		found, err := q.RetainedBytes(ctx, db.RetainedBytesParams{
			PartitionID: row.PartitionID, Below: below, LogStartOffset: row.LogStartOffset, Scan: scan, Wanted: row.RetentionBytes - kept,
		})
		if err != nil {
			return -1, fmt.Errorf("count retained bytes: %w", err)
		}
		if found.Reached >= 0 || found.First < 0 {
			return found.Reached, nil
		}
		below, kept = found.First, kept+found.Bytes
	}
}

// raise raises log starts together; then those that a commit held, one by one, each in its turn.
func (s *Store) raise(ctx context.Context, starts []logStart) (raised int, err error) {
	ids, offsets := make([]int64, len(starts)), make([]int64, len(starts))
	for i, start := range starts {
		ids[i], offsets[i] = start.partitionID, start.offset
	}
	var done []int64
	err = s.atOnce(ctx, func(ctx context.Context, d db.DBTX) (err error) {
		done, err = db.New(d).RaiseLogStarts(ctx, ids, offsets)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("raise log starts: %w", err)
	}
	free := make(map[int64]bool, len(done))
	for _, id := range done {
		free[id] = true
	}
	raised = len(done)
	for _, start := range starts {
		if free[start.partitionID] {
			continue
		}
		var rows int64
		err = s.atOnce(ctx, func(ctx context.Context, d db.DBTX) (err error) {
			rows, err = db.New(d).RaiseLogStart(ctx, start.offset, start.partitionID)
			return err
		})
		if err != nil {
			return raised, fmt.Errorf("raise a log start: %w", err)
		}
		raised += int(rows)
	}
	return raised, nil
}

// atOnce runs one statement in a transaction of its own that goes to the server as a whole and does not wait for the disk: what it locks is
// free again in a moment, whatever becomes of this process. Run twice it must do no harm.
func (s *Store) atOnce(ctx context.Context, one step) error {
	return s.retry(ctx, harmless, func() error {
		conn, err := s.pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		_, err = roundTrip(ctx, conn.Conn(), []step{
			statement("begin isolation level read committed"),
			func(ctx context.Context, d db.DBTX) error { return db.New(d).NotDurableByItself(ctx) },
			one, statement("commit"),
		})
		if err != nil {
			s.rollbackConn(ctx, conn.Conn())
		}
		return err
	})
}

// RemoveBelowLogStarts is one transaction: object keys are locked, segments deleted, references counted down.
func (s *Store) RemoveBelowLogStarts(ctx context.Context, after store.RetentionCursor) (page store.RemovedPage, err error) {
	err = s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		page = store.RemovedPage{}
		if mayDelete, err := s.mayRetain(ctx, q); err != nil || !mayDelete {
			return err
		}
		page, err = removeBelow(ctx, q, after, removePage, retentionPage)
		return err
	})
	return page, err
}

func removeBelow(ctx context.Context, q *db.Queries, after store.RetentionCursor, most, partitionPage int32) (page store.RemovedPage, err error) {
	rows, err := q.SegmentsBelowLogStart(ctx, most, after.PartitionID, partitionPage)
	if err != nil {
		return page, fmt.Errorf("look for segments below log starts: %w", err)
	}
	var found references
	partitions, last := 0, after.PartitionID
	for _, row := range rows {
		if row.PartitionID != last {
			partitions, last = partitions+1, row.PartitionID
		}
		if row.BaseOffset >= 0 {
			found.add(row.PartitionID, row.BaseOffset, row.ObjectID)
		}
	}
	switch {
	case len(rows) == int(most): // the last partition may have more
		page.Next = &store.RetentionCursor{PartitionID: last - 1}
	case partitions == int(partitionPage):
		page.Next = &store.RetentionCursor{PartitionID: last}
	}
	page.Segments, page.Bytes, err = found.dropBelow(ctx, q)
	return page, err
}

// references are segments that are to go, with the objects that they lie in.
type references struct{ partitions, offsets, objects []int64 }

func (r *references) add(partition, offset, object int64) {
	r.partitions, r.offsets, r.objects = append(r.partitions, partition), append(r.offsets, offset), append(r.objects, object)
}

// dropBelow removes those that still lie below the log start.
func (r *references) dropBelow(ctx context.Context, q *db.Queries) (segments int, bytes int64, err error) {
	if len(r.partitions) == 0 {
		return 0, 0, nil
	}
	if err := q.GoInOrder(ctx); err != nil {
		return 0, 0, fmt.Errorf("set planner: %w", err)
	}
	if _, err := q.LockObjects(ctx, r.objects); err != nil {
		return 0, 0, fmt.Errorf("lock objects: %w", err)
	}
	gone, err := q.DeleteSegmentsBelowLogStart(ctx, r.partitions, r.offsets, r.objects)
	if err != nil {
		return 0, 0, fmt.Errorf("delete segments: %w", err)
	}
	objects := make([]int64, len(gone))
	for i, row := range gone {
		objects[i] = row.ObjectID
		bytes += int64(row.SizeBytes)
	}
	return len(gone), bytes, dropReferences(ctx, q, objects)
}

// dropReferences counts each object down as often as it is named. Requires: their keys are locked; GoInOrder.
func dropReferences(ctx context.Context, q *db.Queries, objects []int64) error {
	if len(objects) == 0 {
		return nil
	}
	ids, dropped := countReferences(objects)
	changed, err := q.DropReferences(ctx, ids, dropped)
	return verdict("drop references", changed, len(ids), err)
}
