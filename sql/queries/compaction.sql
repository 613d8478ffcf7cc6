-- The oldest objects of a level that are referenced and not younger than the tail, oldest first.
-- name: CompactionCandidates :many
SELECT o.object_id, o.key, COALESCE(o.size_bytes, 0)::bigint AS size_bytes, o.reference_count,
       extract(epoch FROM clock_timestamp() - o.created_at)::float8 AS age_seconds,
       COALESCE(o.first_place, ''::bytea)::bytea AS first_place, COALESCE(o.last_place, ''::bytea)::bytea AS last_place
FROM object_keys o
WHERE split_part(o.key, '/', 1) = @agent_group::text AND o.compaction_level = @level::smallint
  AND o.compaction_level < 2 AND o.unreferenced_at IS NULL AND o.tombstoned_at IS NULL
  AND o.created_at < clock_timestamp() - make_interval(secs => @min_age_seconds::float8)
ORDER BY o.object_id
LIMIT @page;

-- What the compaction jobs of an agent group have. Requires: LockUpkeep.
-- name: CompactionDetails :many
SELECT detail FROM jobs WHERE agent_group = @agent_group AND kind = @kind;

-- Objects of a level that are not to be looked at again there. It waits for nobody, so it may come after any lock: what is locked is passed over, and
-- looked at again.
-- name: RaiseLevel :execrows
WITH unlocked AS MATERIALIZED (
    SELECT o.object_id FROM object_keys o
    WHERE o.object_id = ANY(@object_ids::bigint[]) AND o.compaction_level = @level::smallint AND o.unreferenced_at IS NULL
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE object_keys o SET compaction_level = @new_level::smallint FROM unlocked u WHERE o.object_id = u.object_id;

-- An output of compaction, which nothing refers to yet. A key that is not returned has its row: a repeat, or a tombstone; or else the
-- catalog does not serve.
-- name: InsertCompacted :many
INSERT INTO object_keys (key, session_id, size_bytes, outcome, compaction_level, first_place, last_place)
SELECT @key::text, @output_id::uuid, @size_bytes::bigint, @outcome::bytea, @level::smallint, @first_place::bytea, @last_place::bytea
WHERE catalog_serves()
ON CONFLICT (key) DO NOTHING
RETURNING object_id;

-- What has become of an output. A later statement than InsertCompacted.
-- name: CompactedObject :many
SELECT object_id, reference_count, (tombstoned_at IS NOT NULL)::boolean AS dead FROM object_keys WHERE key = @key;

-- Objects that hold segments which begin within these offsets. Unlocked: their keys come first in the lock order.
-- name: ObjectsInRanges :many
SELECT DISTINCT s.object_id
FROM ROWS FROM (unnest(@topic_ids::uuid[]), unnest(@partitions::int[]), unnest(@base_offsets::bigint[]), unnest(@end_offsets::bigint[]))
     AS e(topic_id, partition, base_offset, end_offset)
JOIN partitions p ON p.topic_id = e.topic_id AND p.partition = e.partition
JOIN segments s ON s.partition_id = p.partition_id AND s.base_offset >= e.base_offset AND s.base_offset < e.end_offset;

-- P7: segments that begin within these offsets, of partitions of this agent group whose topics are not deleted, in order. Requires: LockObjects in an
-- earlier statement. Who removes segments holds the lock of their object, so those of locked objects stay.
-- name: SegmentsInRanges :many
SELECT e.ordinal::int AS ordinal, p.partition_id, p.log_start_offset, s.base_offset, s.object_id, s.record_count, s.size_bytes, s.crc32c, s.epoch, s.max_timestamp_ms
FROM ROWS FROM (unnest(@topic_ids::uuid[]), unnest(@partitions::int[]), unnest(@base_offsets::bigint[]), unnest(@end_offsets::bigint[]), unnest(@ordinals::int[]))
     AS e(topic_id, partition, base_offset, end_offset, ordinal)
JOIN partitions p ON p.topic_id = e.topic_id AND p.partition = e.partition AND p.agent_group = @agent_group::text
JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
JOIN segments s ON s.partition_id = p.partition_id AND s.base_offset >= e.base_offset AND s.base_offset < e.end_offset
ORDER BY e.ordinal, s.base_offset;

-- Requires: InsertCompacted in this transaction. Retention by time counts from the newest commit among what was taken over.
-- name: ReferToCompacted :execrows
UPDATE object_keys o SET reference_count = @reference_count::int,
       unreferenced_at = CASE WHEN @reference_count::int = 0 THEN clock_timestamp() END,
       newest_commit_at = (SELECT max(COALESCE(i.newest_commit_at, i.created_at)) FROM object_keys i WHERE i.object_id = ANY(@input_ids::bigint[]))
WHERE o.object_id = @object_id;

-- Nobody is at it any more: whoever claims a job next takes it over, with what it remembers. Requires: LockJob.
-- name: LeaveJob :execrows
UPDATE jobs SET session_id = '00000000-0000-0000-0000-000000000000' WHERE job_id = @job_id;
