-- One replica at a time purges. False: another does.
-- name: TryPurgeLock :one
SELECT pg_try_advisory_xact_lock(@lock_id::bigint) AS held;

-- Some partitions of deleted topics: those that are gone once they are empty make room for the next. Unlocked.
-- name: DeletedPartitions :many
SELECT p.partition_id
FROM topics t
JOIN partitions p ON p.topic_id = t.topic_id
WHERE t.deleted_at IS NOT NULL
ORDER BY p.topic_id, p.partition
LIMIT @page;

-- Segments of these partitions, some of them. Unlocked: their object keys come first in the lock order.
-- name: SegmentsOfPartitions :many
SELECT s.partition_id, s.base_offset, s.object_id FROM segments s WHERE s.partition_id = ANY(@partition_ids::bigint[]) LIMIT @page;

-- Whoever removes references locks the key row of the object first. In key order.
-- name: LockObjects :many
SELECT object_id FROM object_keys WHERE object_id = ANY(@object_ids::bigint[]) ORDER BY key FOR NO KEY UPDATE;

-- Requires: LockObjects of the objects that are named. Answers only what was there, so that references are counted down once.
-- name: DeleteSegments :many
DELETE FROM segments s
USING ROWS FROM (unnest(@partition_ids::bigint[]), unnest(@base_offsets::bigint[]), unnest(@object_ids::bigint[])) AS e(partition_id, base_offset, object_id)
WHERE s.partition_id = e.partition_id AND s.base_offset = e.base_offset AND s.object_id = e.object_id
RETURNING s.object_id;

-- Requires: LockObjects.
-- name: DropReferences :execrows
UPDATE object_keys o SET reference_count = o.reference_count - e.dropped,
       unreferenced_at = CASE WHEN o.reference_count = e.dropped THEN clock_timestamp() ELSE o.unreferenced_at END
FROM ROWS FROM (unnest(@object_ids::bigint[]), unnest(@dropped::int[])) AS e(object_id, dropped)
WHERE o.object_id = e.object_id;

-- Those of these partitions that no commit holds at the moment. A commit that names one waits for this transaction, which is short.
-- name: LockFreePartitions :many
SELECT p.partition_id FROM partitions p WHERE p.partition_id = ANY(@partition_ids::bigint[]) ORDER BY p.topic_id, p.partition FOR UPDATE SKIP LOCKED;

-- Requires: LockFreePartitions. Producers of partitions that have no segment any more, some of them.
-- name: DeleteProducersOfEmptyPartitions :execrows
DELETE FROM producers q
WHERE (q.partition_id, q.producer_id) IN (
    SELECT f.partition_id, f.producer_id FROM producers f
    WHERE f.partition_id = ANY(@partition_ids::bigint[])
      AND NOT EXISTS (SELECT 1 FROM segments s WHERE s.partition_id = f.partition_id)
    LIMIT @page);

-- Requires: LockFreePartitions, in an earlier statement: the last commit before the lock may have left a segment.
-- name: DeleteEmptyPartitions :execrows
DELETE FROM partitions p
WHERE p.partition_id = ANY(@partition_ids::bigint[])
  AND NOT EXISTS (SELECT 1 FROM segments s WHERE s.partition_id = p.partition_id)
  AND NOT EXISTS (SELECT 1 FROM producers q WHERE q.partition_id = p.partition_id);

-- Topics whose deletion every agent has had a day to hear of, and a checkpoint has, and of which nothing is left.
-- name: ForgetDeletedTopics :execrows
DELETE FROM topics t
WHERE t.deleted_at < clock_timestamp() - interval '1 day' AND t.recorded_revision >= t.revision
  AND NOT EXISTS (SELECT 1 FROM partitions p WHERE p.topic_id = t.topic_id);
