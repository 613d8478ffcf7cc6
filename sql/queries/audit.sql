-- What the catalog has on object keys.
-- name: AuditKeys :many
SELECT o.key, o.object_id, COALESCE(o.size_bytes, 0)::bigint AS size_bytes, o.reference_count, (o.tombstoned_at IS NOT NULL)::boolean AS dead
FROM object_keys o WHERE o.key = ANY(@keys::text[]);

-- Segments that the catalog has where footers say that there are some: only those that lie in that very object.
-- name: AuditSegments :many
SELECT e.ordinal::int AS ordinal, s.byte_position, s.max_timestamp_ms, s.record_count, s.size_bytes, s.epoch, s.crc32c
FROM ROWS FROM (unnest(@ordinals::int[]), unnest(@object_ids::bigint[]), unnest(@topic_ids::uuid[]), unnest(@partitions::int[]), unnest(@base_offsets::bigint[]))
     AS e(ordinal, object_id, topic_id, partition, base_offset)
JOIN partitions p ON p.topic_id = e.topic_id AND p.partition = e.partition
JOIN segments s ON s.partition_id = p.partition_id AND s.base_offset = e.base_offset AND s.object_id = e.object_id
ORDER BY e.ordinal;

-- name: ReferencedObjects :many
SELECT object_id, key, COALESCE(size_bytes, 0)::bigint AS size_bytes FROM object_keys
WHERE object_id > @after_object_id::bigint AND reference_count > 0
ORDER BY object_id LIMIT @page;

-- The segments of partitions, added up. breaks: segments above the log start that do not begin where the one before ended.
-- name: AuditLogs :many
WITH page AS MATERIALIZED (
    SELECT p.partition_id, t.name, p.partition, p.log_start_offset, p.high_watermark
    FROM partitions p JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
    WHERE p.partition_id > @after_partition_id::bigint ORDER BY p.partition_id LIMIT @page
), chain AS (
    SELECT g.partition_id, g.log_start_offset, s.base_offset, s.base_offset + s.record_count AS ends, s.object_id,
           lag(s.base_offset + s.record_count) OVER (PARTITION BY g.partition_id ORDER BY s.base_offset) AS before
    FROM page g JOIN segments s ON s.partition_id = g.partition_id
)
SELECT g.partition_id, g.name, g.partition, g.log_start_offset, g.high_watermark, COALESCE(c.segments, 0)::bigint AS segments,
       COALESCE(c.first, -1)::bigint AS first, COALESCE(c.ends, -1)::bigint AS ends, COALESCE(c.breaks, 0)::bigint AS breaks,
       COALESCE(c.first_break, -1)::bigint AS first_break, COALESCE(c.homeless, 0)::bigint AS homeless
FROM page g
LEFT JOIN (
    SELECT h.partition_id, count(*) AS segments, min(h.base_offset) FILTER (WHERE h.ends > h.log_start_offset) AS first, max(h.ends) AS ends,
           count(*) FILTER (WHERE h.base_offset > h.log_start_offset AND h.before <> h.base_offset) AS breaks,
           min(h.base_offset) FILTER (WHERE h.base_offset > h.log_start_offset AND h.before <> h.base_offset) AS first_break,
           count(*) FILTER (WHERE NOT EXISTS (SELECT 1 FROM object_keys o WHERE o.object_id = h.object_id AND o.reference_count > 0)) AS homeless
    FROM chain h GROUP BY h.partition_id
) AS c ON c.partition_id = g.partition_id
ORDER BY g.partition_id;
