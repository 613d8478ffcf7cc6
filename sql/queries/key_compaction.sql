-- It is time to look at the next partitions. No row: not yet. Requires: LockUpkeep.
-- name: KeyCompactionLook :many
SELECT key_compaction_after FROM upkeep WHERE agent_group = @agent_group AND key_compaction_due_at <= clock_timestamp();

-- Where the next look begins, and when. Requires: LockUpkeep.
-- name: KeyCompactionLooked :exec
UPDATE upkeep SET key_compaction_after = @after::bigint, key_compaction_due_at = clock_timestamp() + make_interval(secs => @pause_seconds::float8)
WHERE agent_group = @agent_group;

-- Some partitions of topics that are compacted by key, in order, and how much of each is dirty: from the clean end up to the first segment that is
-- young, by the commit of its object, or the first scan segments. A segment that is partly clean counts by its offsets. -1: nothing is. Tombstones
-- wait until all objects that were freed before their horizon are deleted: a catalog that is rebuilt from the bucket would find in those what they
-- delete (P9). Locks nothing.
-- name: KeyCompactionCandidates :many
WITH waiting AS MATERIALIZED (
    SELECT LEAST((SELECT min(o.unreferenced_at) FROM object_keys o
                  WHERE split_part(o.key, '/', 1) = @agent_group::text AND o.unreferenced_at IS NOT NULL AND o.freed_in IS NULL),
                 (SELECT min(o.unreferenced_at) FROM object_keys o
                  WHERE split_part(o.key, '/', 1) = @agent_group::text AND o.freed_in IS NOT NULL AND o.deleted_at IS NULL)) AS since
), page AS MATERIALIZED (
    SELECT p.partition_id, GREATEST(COALESCE(k.clean_end, 0), p.log_start_offset) AS clean_end, COALESCE(k.clean_bytes, 0)::bigint AS clean_bytes,
           COALESCE(k.tombstones, 0)::bigint AS tombstones, COALESCE(k.horizon_offset, 0)::bigint AS horizon_offset,
           COALESCE(k.horizon_at <= clock_timestamp() - make_interval(secs => t.delete_retention_ms / 1000.0)
                    AND k.horizon_at < COALESCE(w.since, 'infinity'), false)::boolean AS horizon_passed,
           COALESCE(k.finished_at <= clock_timestamp() - make_interval(secs => @interval_seconds::float8), true)::boolean AS rested,
           make_interval(secs => GREATEST(t.min_compaction_lag_ms / 1000.0, @min_age_seconds::float8)) AS young
    FROM topics t
    JOIN partitions p ON p.topic_id = t.topic_id
    CROSS JOIN waiting w
    LEFT JOIN key_compactions k ON k.partition_id = p.partition_id
    WHERE t.agent_group = @agent_group::text AND t.cleanup_policy IN (2, 3) AND t.deleted_at IS NULL AND p.partition_id > @after::bigint
    ORDER BY p.partition_id LIMIT @page
)
SELECT g.partition_id, g.clean_end::bigint AS clean_end, g.clean_bytes, g.tombstones, g.horizon_offset, g.horizon_passed, g.rested,
       d.dirty_end::bigint AS dirty_end, d.dirty_bytes::bigint AS dirty_bytes
FROM page g
CROSS JOIN LATERAL (
    SELECT COALESCE(max(f.end_offset) FILTER (WHERE NOT f.is_young), -1) AS dirty_end,
           COALESCE(sum(f.bytes) FILTER (WHERE NOT f.is_young), 0) AS dirty_bytes
    FROM (
        SELECT s.base_offset + s.record_count AS end_offset,
               s.size_bytes::bigint * LEAST(s.base_offset + s.record_count - g.clean_end, s.record_count) / s.record_count AS bytes,
               bool_or(COALESCE(o.newest_commit_at, o.created_at) > clock_timestamp() - g.young) OVER (ORDER BY s.base_offset) AS is_young
        FROM (
            SELECT n.base_offset, n.record_count, n.size_bytes, n.object_id FROM segments n
            WHERE n.partition_id = g.partition_id AND n.base_offset >= COALESCE(
                      (SELECT max(b.base_offset) FROM segments b WHERE b.partition_id = g.partition_id AND b.base_offset <= g.clean_end), 0)
              AND n.base_offset + n.record_count > g.clean_end
            ORDER BY n.base_offset LIMIT @scan
        ) AS s
        JOIN object_keys o ON o.object_id = s.object_id
    ) AS f
) AS d
ORDER BY g.partition_id;

-- The partition of a job. No row: it is gone, its topic is deleted, or is not compacted any more.
-- name: KeyCompactionPartition :many
SELECT p.topic_id, p.partition, p.log_start_offset, p.high_watermark
FROM partitions p JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL AND t.cleanup_policy IN (2, 3)
WHERE p.partition_id = @partition_id AND p.agent_group = @agent_group;

-- Where a partition's producers stand; some of them.
-- name: ProducersOfPartition :many
SELECT producer_epoch, batches FROM producers WHERE partition_id = @partition_id ORDER BY producer_id LIMIT @page;

-- An object that compaction by key has written; nothing refers to it yet. A key that is not returned has its row: a repeat, or a tombstone; or
-- else the catalog does not serve.
-- name: InsertKeyCompacted :many
INSERT INTO object_keys (key, session_id, size_bytes, outcome)
SELECT @key::text, @output_id::uuid, @size_bytes::bigint, ''::bytea WHERE catalog_serves()
ON CONFLICT (key) DO NOTHING
RETURNING object_id;

-- Segments of a partition that begin at these offsets. For the first look: object keys come first in the lock order. For the second, under their
-- locks: whoever removes a segment holds that of its object.
-- name: SegmentsAt :many
SELECT s.base_offset, s.object_id, s.record_count, s.size_bytes, s.epoch, s.crc32c
FROM segments s WHERE s.partition_id = @partition_id AND s.base_offset = ANY(@base_offsets::bigint[]) ORDER BY s.base_offset;

-- Requires: InsertKeyCompacted in this transaction. Retention by time counts from the newest commit among what it was made of. To the compaction of
-- objects it is one that was rewritten once: its segments are as long as they are going to be.
-- name: ReferToKeyCompacted :execrows
UPDATE object_keys o SET outcome = @outcome, reference_count = @reference_count::int,
       unreferenced_at = CASE WHEN @reference_count::int = 0 THEN clock_timestamp() END,
       newest_commit_at = (SELECT max(COALESCE(i.newest_commit_at, i.created_at)) FROM object_keys i WHERE i.object_id = ANY(@input_ids::bigint[])),
       compaction_level = 1, first_place = @place::bytea, last_place = @place::bytea
WHERE o.object_id = @object_id;

-- How far a pass has come. Requires: LockJob; the partition has one job at a time. Tombstones are looked at anew from here on when the pass was
-- one that removed some, or the first. A repeat changes nothing but times. No row: the partition is gone.
-- name: PutKeyCompaction :execrows
INSERT INTO key_compactions AS k (partition_id, clean_end, clean_bytes, tombstones, horizon_offset)
SELECT p.partition_id, @clean_end::bigint, @clean_bytes::bigint, @tombstones::bigint, @clean_end::bigint
FROM partitions p WHERE p.partition_id = @partition_id AND p.high_watermark >= @clean_end::bigint
ON CONFLICT (partition_id) DO UPDATE
SET clean_end = excluded.clean_end, clean_bytes = excluded.clean_bytes, tombstones = excluded.tombstones, finished_at = excluded.finished_at,
    horizon_offset = CASE WHEN @dropped::boolean THEN excluded.horizon_offset ELSE LEAST(k.horizon_offset, excluded.clean_end) END,
    horizon_at = CASE WHEN @dropped::boolean THEN excluded.horizon_at ELSE k.horizon_at END;

-- After an adoption segments may be others than those that were clean.
-- name: ForgetKeyCompactions :execrows
DELETE FROM key_compactions;
