-- First statement of a commit: whoever inserts a key decides its fate. Sorted, so that two commits never wait for each other in a ring.
-- Waits for another transaction that is inserting the same key. A key that is not returned has its row: a repeat, or a tombstone; or else
-- the catalog does not serve (CatalogState tells).
-- name: InsertObjectKeys :many
INSERT INTO object_keys (key, session_id, size_bytes, outcome)
SELECT e.key, @session_id::uuid, e.size_bytes, ''::bytea
FROM ROWS FROM (unnest(@keys::text[]), unnest(@sizes_bytes::bigint[])) AS e(key, size_bytes)
WHERE catalog_serves()
ORDER BY e.key
ON CONFLICT (key) DO NOTHING
RETURNING key, object_id;

-- For the rest of the transaction: joins go from the first array element to the last, by an index, whatever the planner takes their number
-- for. So rows are locked in the order in which they are named, and no plan is made anew.
-- That asks two things of a statement, since a plan outlives what was true when it was made: for a table that was nearly empty then, the
-- planner would walk all of it in the order of an index and hold every row against every array element. It does so only where that order is
-- worth something to a merge join, which needs an equality of the index's first column. So that column is compared by BETWEEN with one and
-- the same value twice (several columns: as a row), and columns that other indexes begin with by IS NOT DISTINCT FROM.
-- name: GoInOrder :exec
SELECT set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true), set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true);

-- As InsertObjectKeys, of objects of which every entry is expected to succeed: with their outcomes. Where one does not, the transaction
-- must be rolled back.
-- name: InsertWholeObjects :many
INSERT INTO object_keys (key, session_id, size_bytes, outcome, reference_count)
SELECT e.key, @session_id::uuid, e.size_bytes, e.outcome, e.reference_count
FROM ROWS FROM (unnest(@keys::text[]), unnest(@sizes_bytes::bigint[]), unnest(@outcomes::bytea[]), unnest(@reference_counts::int[]))
     AS e(key, size_bytes, outcome, reference_count)
WHERE catalog_serves()
ORDER BY e.key
ON CONFLICT (key) DO NOTHING
RETURNING key, object_id;

-- P2, P3, P7: lock, check and move in one statement, a row per partition, in the order given, which must be that of (topic_id, partition).
-- It looks at the row's own columns alone, which are fresh after a wait. The ids come from a cache: topic and partition are compared, too.
-- The number of rows is the verdict: fewer than asked for, and the transaction must be rolled back. Requires: GoInOrder.
-- name: MovePartitions :execrows
UPDATE partitions p SET high_watermark = e.new_high_watermark
FROM ROWS FROM (unnest(@partition_ids::bigint[]), unnest(@topics::int[]), unnest(@partitions::int[]), unnest(@epochs::int[]),
                unnest(@old_high_watermarks::bigint[]), unnest(@new_high_watermarks::bigint[]))
     AS e(partition_id, topic, partition, epoch, old_high_watermark, new_high_watermark)
WHERE p.partition_id BETWEEN e.partition_id AND e.partition_id
  AND p.topic_id IS NOT DISTINCT FROM (@topic_ids::uuid[])[e.topic] AND p.partition IS NOT DISTINCT FROM e.partition
  AND p.leader_session_id IS NOT DISTINCT FROM @session_id::uuid AND p.epoch = e.epoch
  AND p.high_watermark = e.old_high_watermark AND p.agent_group IS NOT DISTINCT FROM @agent_group::text;

-- One partition: MovePartitions without arrays, at a third of its cost.
-- name: MovePartition :execrows
UPDATE partitions p SET high_watermark = @new_high_watermark
WHERE p.partition_id = @partition_id AND p.topic_id IS NOT DISTINCT FROM @topic_id::uuid AND p.partition IS NOT DISTINCT FROM @partition::int
  AND p.leader_session_id IS NOT DISTINCT FROM @session_id::uuid AND p.epoch = @epoch
  AND p.high_watermark = @old_high_watermark AND p.agent_group IS NOT DISTINCT FROM @agent_group::text;

-- How many of these topics exist and are not deleted. A later statement than MovePartitions: a deletion that it does not see counts as later.
-- name: CountLiveTopics :one
SELECT count(*) FROM topics WHERE topic_id = ANY(@topic_ids::uuid[]) AND deleted_at IS NULL;

-- Compact names of partitions. They never change; a partition that is not there yet has none.
-- name: PartitionIDs :many
SELECT p.partition_id, p.topic_id, p.partition
FROM ROWS FROM (unnest(@topic_ids::uuid[]), unnest(@partitions::int[])) AS e(topic_id, partition)
JOIN partitions p ON p.topic_id = e.topic_id AND p.partition = e.partition;

-- What became of keys: an outcome, or null for a tombstone. A later statement than InsertObjectKeys.
-- name: ObjectOutcomes :many
SELECT key, outcome FROM object_keys WHERE key = ANY(@keys::text[]);

-- Producer states that a commit checks. A later statement than LockPartitions; the locks of the partitions guard these rows.
-- Requires: GoInOrder.
-- name: ProducerStates :many
SELECT q.partition_id, q.producer_id, q.producer_epoch, q.batches
FROM ROWS FROM (unnest(@partition_ids::bigint[]), unnest(@producer_ids::bigint[])) AS e(partition_id, producer_id)
JOIN producers q ON (q.partition_id, q.producer_id) BETWEEN (e.partition_id, e.producer_id) AND (e.partition_id, e.producer_id);

-- One producer: ProducerStates without arrays.
-- name: ProducerState :many
SELECT partition_id, producer_id, producer_epoch, batches FROM producers WHERE partition_id = @partition_id AND producer_id = @producer_id;

-- P2, P3: check and move are one statement, a row per partition (several segments of one partition are folded before).
-- The number of rows is the verdict: fewer than asked for, and nothing may be committed. Requires: GoInOrder. (IS NOT DISTINCT FROM keeps the
-- index by leader out of the plan: it would be walked once for each partition.)
-- name: AdvanceHighWatermarks :execrows
UPDATE partitions p SET high_watermark = e.new_high_watermark
FROM ROWS FROM (unnest(@partition_ids::bigint[]), unnest(@epochs::int[]), unnest(@old_high_watermarks::bigint[]),
                unnest(@new_high_watermarks::bigint[]))
     AS e(partition_id, epoch, old_high_watermark, new_high_watermark)
WHERE p.partition_id BETWEEN e.partition_id AND e.partition_id AND p.leader_session_id IS NOT DISTINCT FROM @session_id::uuid AND p.epoch = e.epoch
  AND p.high_watermark = e.old_high_watermark;

-- name: InsertSegments :execrows
INSERT INTO segments (partition_id, base_offset, object_id, byte_position, max_timestamp_ms, record_count, size_bytes, epoch, crc32c)
SELECT unnest(@partition_ids::bigint[]), unnest(@base_offsets::bigint[]), unnest(@object_ids::bigint[]),
       unnest(@byte_positions::bigint[]), unnest(@max_timestamps_ms::bigint[]), unnest(@record_counts::int[]),
       unnest(@sizes_bytes::int[]), unnest(@epochs::int[]), unnest(@crc32cs::int[]);

-- One segment: InsertSegments without arrays.
-- name: InsertSegment :execrows
INSERT INTO segments (partition_id, base_offset, object_id, byte_position, max_timestamp_ms, record_count, size_bytes, epoch, crc32c)
VALUES (@partition_id, @base_offset, @object_id, @byte_position, @max_timestamp_ms, @record_count, @size_bytes, @epoch, @crc32c);

-- P5: the state of the producer moves in the transaction that moves the high watermark.
-- name: PutProducers :execrows
INSERT INTO producers (partition_id, producer_id, producer_epoch, batches)
SELECT e.partition_id, e.producer_id, e.producer_epoch, e.batches
FROM ROWS FROM (unnest(@partition_ids::bigint[]), unnest(@producer_ids::bigint[]), unnest(@producer_epochs::smallint[]),
                unnest(@batches::bytea[]))
     AS e(partition_id, producer_id, producer_epoch, batches)
ORDER BY e.partition_id, e.producer_id
ON CONFLICT (partition_id, producer_id) DO UPDATE
SET producer_epoch = excluded.producer_epoch, batches = excluded.batches, updated_at = clock_timestamp();

-- As PutProducers, of producers that are known. One that has been forgotten since it was read fails the statement (SQLSTATE SH001), so that
-- a COMMIT in the same round trip does nothing: the transaction is run again. Requires: GoInOrder.
-- name: ChangeProducers :exec
WITH changed AS (
    UPDATE producers q SET producer_epoch = e.producer_epoch, batches = e.batches, updated_at = clock_timestamp()
    FROM ROWS FROM (unnest(@partition_ids::bigint[]), unnest(@producer_ids::bigint[]), unnest(@producer_epochs::smallint[]),
                    unnest(@batches::bytea[]))
         AS e(partition_id, producer_id, producer_epoch, batches)
    WHERE (q.partition_id, q.producer_id) BETWEEN (e.partition_id, e.producer_id) AND (e.partition_id, e.producer_id)
    RETURNING 1
)
SELECT all_or_nothing((SELECT count(*) FROM changed), @want::bigint);

-- One producer: ChangeProducers without arrays.
-- name: ChangeProducer :exec
WITH changed AS (
    UPDATE producers SET producer_epoch = @producer_epoch, batches = @batches, updated_at = clock_timestamp()
    WHERE partition_id = @partition_id AND producer_id = @producer_id
    RETURNING 1
)
SELECT all_or_nothing((SELECT count(*) FROM changed), 1);

-- Producers that were not known when they were read, under the locks of their partitions.
-- name: InsertProducers :exec
INSERT INTO producers (partition_id, producer_id, producer_epoch, batches)
SELECT unnest(@partition_ids::bigint[]), unnest(@producer_ids::bigint[]), unnest(@producer_epochs::smallint[]), unnest(@batches::bytea[]);

-- The answer that every repeat will get, failures included.
-- name: PutOutcomes :execrows
UPDATE object_keys o SET outcome = e.outcome, reference_count = e.reference_count,
       unreferenced_at = CASE WHEN e.reference_count = 0 THEN clock_timestamp() END
FROM ROWS FROM (unnest(@object_ids::bigint[]), unnest(@outcomes::bytea[]), unnest(@reference_counts::int[]))
     AS e(object_id, outcome, reference_count)
WHERE o.object_id = e.object_id;

-- Takes back the keys of objects that their session had settled long ago: nothing of such a late repeat is stored. Requires: this transaction
-- inserted them.
-- name: TakeBackObjectKeys :execrows
DELETE FROM object_keys WHERE object_id = ANY(@object_ids::bigint[]);

-- Kills keys that nobody has committed; a late commit finds its key dead. A key that is not dead afterwards was committed.
-- name: InsertTombstones :execrows
INSERT INTO object_keys (key, tombstoned_at)
SELECT e.key, clock_timestamp() FROM unnest(@keys::text[]) AS e(key) ORDER BY e.key
ON CONFLICT (key) DO NOTHING;

-- A later statement than InsertTombstones.
-- name: DeadKeys :many
SELECT key FROM object_keys WHERE key = ANY(@keys::text[]) AND tombstoned_at IS NOT NULL ORDER BY key;
