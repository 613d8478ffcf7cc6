-- Whether a purge would find anything: asked first, and mostly alone. (A partition is looked for by each deleted topic's own index entry: EXISTS
-- may be answered from a list of all.)
-- name: PurgeIsDue :one
SELECT EXISTS (
    SELECT 1 FROM topics t WHERE t.deleted_at IS NOT NULL
    AND ((SELECT p.topic_id FROM partitions p WHERE p.topic_id = t.topic_id LIMIT 1) IS NOT NULL
         OR (t.deleted_at < clock_timestamp() - interval '1 day' AND t.recorded_revision >= t.revision))
)::boolean AS due;

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

-- Segments of these partitions, some of them. Unlocked: their object keys come first in the lock order. Requires: GoInOrder: each partition is
-- looked up by itself, so that to find none costs as much however many segments others have.
-- name: SegmentsOfPartitions :many
SELECT s.partition_id, s.base_offset, s.object_id
FROM unnest(@partition_ids::bigint[]) AS e(partition_id)
CROSS JOIN LATERAL (
    SELECT f.partition_id, f.base_offset, f.object_id FROM segments f WHERE f.partition_id = e.partition_id ORDER BY f.base_offset LIMIT @page
) AS s
LIMIT @page;

-- Whoever removes references locks the key row of the object first. In key order.
-- name: LockObjects :many
SELECT object_id FROM object_keys WHERE object_id = ANY(@object_ids::bigint[]) ORDER BY key FOR NO KEY UPDATE;

-- Requires: LockObjects of the objects that are named, GoInOrder. Answers only what was there, so that references are counted down once.
-- name: DeleteSegments :many
DELETE FROM segments s
USING ROWS FROM (unnest(@partition_ids::bigint[]), unnest(@base_offsets::bigint[]), unnest(@object_ids::bigint[])) AS e(partition_id, base_offset, object_id)
WHERE (s.partition_id, s.base_offset) BETWEEN (e.partition_id, e.base_offset) AND (e.partition_id, e.base_offset) AND s.object_id = e.object_id
RETURNING s.object_id;

-- Requires: LockObjects, GoInOrder.
-- name: DropReferences :execrows
UPDATE object_keys o SET reference_count = o.reference_count - e.dropped,
       unreferenced_at = CASE WHEN o.reference_count = e.dropped THEN clock_timestamp() ELSE o.unreferenced_at END
FROM ROWS FROM (unnest(@object_ids::bigint[]), unnest(@dropped::int[])) AS e(object_id, dropped)
WHERE o.object_id BETWEEN e.object_id AND e.object_id;

-- Those of these partitions that no commit holds at the moment. A commit that names one waits for this transaction, which is short.
-- name: LockFreePartitions :many
SELECT p.partition_id FROM partitions p WHERE p.partition_id = ANY(@partition_ids::bigint[]) ORDER BY p.topic_id, p.partition FOR UPDATE SKIP LOCKED;

-- Requires: LockFreePartitions, whose locks guard these rows; GoInOrder. Producers of partitions that have no segment any more, some of them.
-- (The look for a segment is one for each partition: as a join it could be one through all segments. So below.)
-- name: DeleteProducersOfEmptyPartitions :execrows
DELETE FROM producers q
WHERE q.ctid = ANY(ARRAY(
    SELECT f.ctid FROM producers f
    WHERE f.partition_id = ANY(@partition_ids::bigint[])
      AND (SELECT s.partition_id FROM segments s WHERE s.partition_id = f.partition_id LIMIT 1) IS NULL
    LIMIT @page));

-- Requires: LockFreePartitions, in an earlier statement: the last commit before the lock may have left a segment; GoInOrder.
-- name: DeleteEmptyPartitions :execrows
DELETE FROM partitions p
WHERE p.partition_id = ANY(@partition_ids::bigint[])
  AND (SELECT s.partition_id FROM segments s WHERE s.partition_id = p.partition_id LIMIT 1) IS NULL
  AND (SELECT q.partition_id FROM producers q WHERE q.partition_id = p.partition_id LIMIT 1) IS NULL;

-- Topics whose deletion every agent has had a day to hear of, and a checkpoint has, and of which nothing is left.
-- name: ForgetDeletedTopics :execrows
DELETE FROM topics t
WHERE t.deleted_at < clock_timestamp() - interval '1 day' AND t.recorded_revision >= t.revision
  AND NOT EXISTS (SELECT 1 FROM partitions p WHERE p.topic_id = t.topic_id);
