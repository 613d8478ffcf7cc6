-- Retention takes two steps. The first raises log starts, under the locks of the partitions, each for one short statement. The second
-- removes what lies below them, under the locks of object keys, which no commit waits for.

-- One replica at a time is at a page. False: another is.
-- name: TryRetentionLock :one
SELECT pg_try_advisory_xact_lock(@lock_id::bigint) AS held;

-- A page of all partitions, in the order of their ids, and where their topics' bounds would have them begin. Locks nothing. A segment is as
-- old as the commit of its object. -1: the bound moves nothing.
-- by_time: the first segment that is young, or where the first scan segments end. by_bytes: the last segment that has, with all behind it, as
-- many bytes as must be kept; only the last scan segments are looked at, and cut tells that there are more: their first one.
-- name: ExpiredPartitions :many
WITH page AS MATERIALIZED (
    SELECT p.partition_id, p.topic_id, p.log_start_offset, p.high_watermark
    FROM partitions p WHERE p.partition_id > @after::bigint ORDER BY p.partition_id LIMIT @page
)
SELECT g.partition_id, g.log_start_offset, g.high_watermark, COALESCE(t.retention_bytes, -1)::bigint AS retention_bytes,
       COALESCE(CASE WHEN t.retention_ms > 0 THEN COALESCE(
           (SELECT f.base_offset FROM (
               SELECT s.base_offset, s.object_id FROM segments s
               WHERE s.partition_id = g.partition_id AND s.base_offset >= COALESCE(
                   (SELECT max(b.base_offset) FROM segments b WHERE b.partition_id = g.partition_id AND b.base_offset <= g.log_start_offset), 0)
               ORDER BY s.base_offset LIMIT @scan) AS f
            JOIN object_keys o ON o.object_id = f.object_id
            WHERE COALESCE(o.newest_commit_at, o.created_at) >= clock_timestamp() - make_interval(secs => t.retention_ms / 1000.0)
            ORDER BY f.base_offset LIMIT 1),
           (SELECT max(f.base_offset + f.record_count) FROM (
               SELECT s.base_offset, s.record_count FROM segments s
               WHERE s.partition_id = g.partition_id AND s.base_offset >= COALESCE(
                   (SELECT max(b.base_offset) FROM segments b WHERE b.partition_id = g.partition_id AND b.base_offset <= g.log_start_offset), 0)
               ORDER BY s.base_offset LIMIT @scan) AS f)) END, -1)::bigint AS by_time,
       COALESCE(CASE WHEN t.retention_bytes > 0 THEN
           (SELECT k.base_offset FROM (
               SELECT f.base_offset, sum(f.size_bytes) OVER (ORDER BY f.base_offset DESC) AS kept FROM (
                   SELECT s.base_offset, s.size_bytes FROM segments s
                   WHERE s.partition_id = g.partition_id AND s.base_offset >= g.log_start_offset
                   ORDER BY s.base_offset DESC LIMIT @scan) AS f) AS k
            WHERE k.kept >= t.retention_bytes ORDER BY k.base_offset DESC LIMIT 1) END, -1)::bigint AS by_bytes,
       COALESCE(CASE WHEN t.retention_bytes > 0 THEN
           (SELECT s.base_offset FROM segments s
            WHERE s.partition_id = g.partition_id AND s.base_offset >= g.log_start_offset
            ORDER BY s.base_offset DESC OFFSET @scan LIMIT 1) END, -1)::bigint AS cut
FROM page g
LEFT JOIN topics t ON t.topic_id = g.topic_id AND t.deleted_at IS NULL AND t.cleanup_policy IN (1, 3)
ORDER BY g.partition_id;

-- How much some segments have, from the newest that begins below an offset on backwards, down to the log start: first is where the oldest
-- of them begins (-1: there is none), reached the first one with which there are as many bytes as wanted (-1: there are not).
-- name: RetainedBytes :one
WITH newest AS (
    SELECT f.base_offset, sum(f.size_bytes) OVER (ORDER BY f.base_offset DESC) AS kept FROM (
        SELECT s.base_offset, s.size_bytes FROM segments s
        WHERE s.partition_id = @partition_id AND s.base_offset < @below AND s.base_offset >= @log_start_offset
        ORDER BY s.base_offset DESC LIMIT @scan) AS f
)
SELECT COALESCE(min(base_offset), -1)::bigint AS first, COALESCE(max(kept), 0)::bigint AS bytes,
       COALESCE(max(base_offset) FILTER (WHERE kept >= @wanted::bigint), -1)::bigint AS reached
FROM newest;

-- Its transaction is over in a moment: nothing of it must be on disk before the next one, which removes what lies below, is.
-- name: NotDurableByItself :exec
SET LOCAL synchronous_commit = off;

-- Only upwards, and never beyond the high watermark. Partitions that somebody holds are passed over: this waits for no commit, and no commit
-- for more than a few rows. Answers those that were raised.
-- name: RaiseLogStarts :many
WITH free AS MATERIALIZED (
    SELECT p.partition_id, e.log_start_offset
    FROM ROWS FROM (unnest(@partition_ids::bigint[]), unnest(@log_start_offsets::bigint[])) AS e(partition_id, log_start_offset)
    JOIN partitions p ON p.partition_id = e.partition_id
    FOR NO KEY UPDATE OF p SKIP LOCKED
)
UPDATE partitions p SET log_start_offset = f.log_start_offset
FROM free f
WHERE p.partition_id = f.partition_id AND p.log_start_offset < f.log_start_offset AND f.log_start_offset <= p.high_watermark
RETURNING p.partition_id;

-- One partition: it waits for its turn, and can stand in no ring, since it holds nothing else.
-- name: RaiseLogStart :execrows
UPDATE partitions SET log_start_offset = @log_start_offset
WHERE partition_id = @partition_id AND log_start_offset < @log_start_offset AND @log_start_offset <= high_watermark;

-- Segments that lie wholly below the log start of their partition, on a page of partitions; one row with base_offset -1 for a partition
-- without any. Unlocked: object keys come first in the lock order.
-- name: SegmentsBelowLogStart :many
WITH page AS MATERIALIZED (
    SELECT p.partition_id, p.log_start_offset FROM partitions p WHERE p.partition_id > @after::bigint ORDER BY p.partition_id LIMIT @page
)
SELECT g.partition_id, COALESCE(s.base_offset, -1)::bigint AS base_offset, COALESCE(s.object_id, 0)::bigint AS object_id
FROM page g
LEFT JOIN LATERAL (
    SELECT f.base_offset, f.object_id FROM segments f
    WHERE f.partition_id = g.partition_id AND f.base_offset < g.log_start_offset AND f.base_offset + f.record_count <= g.log_start_offset
    ORDER BY f.base_offset LIMIT @most
) AS s ON true
ORDER BY g.partition_id, s.base_offset
LIMIT @most;

-- Requires: LockObjects of the objects that are named, GoInOrder. What was compacted meanwhile lies in another object, and stays for the next time.
-- name: DeleteSegmentsBelowLogStart :many
DELETE FROM segments s
USING ROWS FROM (unnest(@partition_ids::bigint[]), unnest(@base_offsets::bigint[]), unnest(@object_ids::bigint[]))
      AS e(partition_id, base_offset, object_id), partitions p
WHERE (s.partition_id, s.base_offset) BETWEEN (e.partition_id, e.base_offset) AND (e.partition_id, e.base_offset) AND s.object_id = e.object_id
  AND p.partition_id BETWEEN e.partition_id AND e.partition_id AND s.base_offset + s.record_count <= p.log_start_offset
RETURNING s.object_id, s.size_bytes;

-- Raises log starts by an operator's will, each partition once, in the order of their numbers; -1: to the high watermark. Fewer rows than
-- asked for: one is not there, or ends before. Requires: GoInOrder.
-- name: DeleteRecords :many
UPDATE partitions p SET log_start_offset = GREATEST(p.log_start_offset, CASE WHEN e.before_offset < 0 THEN p.high_watermark ELSE e.before_offset END)
FROM ROWS FROM (unnest(@partitions::int[]), unnest(@before_offsets::bigint[])) AS e(partition, before_offset)
WHERE p.topic_id = @topic_id AND p.partition = e.partition AND e.before_offset <= p.high_watermark
RETURNING p.partition, p.log_start_offset;

-- Where some partitions of a topic begin and end.
-- name: PartitionEdges :many
SELECT p.partition, p.log_start_offset, p.high_watermark FROM partitions p
WHERE p.topic_id = @topic_id AND p.partition = ANY(@partitions::int[]) ORDER BY p.partition;
