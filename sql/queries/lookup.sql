-- P4: a partition and its segments in one snapshot. One row a segment, in order; one row without a segment (base_offset -1) where there
-- is none to show. Positions: 0 none, 1 from the segment that holds the offset, 2 from the first segment with a timestamp at or after.
-- An ordinal without a row: no such partition.
-- name: LookupPartitions :many
SELECT e.ordinal::int AS ordinal, p.agent_group, p.epoch, p.leader_session_id, p.log_start_offset, p.high_watermark,
       (t.deleted_at IS NOT NULL)::boolean AS deleted,
       COALESCE(s.key, '')::text AS object_key, COALESCE(s.byte_position, 0)::bigint AS byte_position,
       COALESCE(s.size_bytes, 0)::int AS size_bytes, COALESCE(s.crc32c, 0)::int AS crc32c,
       COALESCE(s.base_offset, -1)::bigint AS base_offset, COALESCE(s.record_count, 0)::int AS record_count,
       COALESCE(s.epoch, 0)::int AS segment_epoch, COALESCE(s.max_timestamp_ms, 0)::bigint AS max_timestamp_ms,
       COALESCE(s.object_size_bytes, 0)::bigint AS object_size_bytes
FROM ROWS FROM (unnest(@topic_ids::uuid[]), unnest(@partitions::int[]), unnest(@positions::int[]), unnest(@offsets::bigint[]),
                unnest(@max_segments::int[]), unnest(@ordinals::int[]))
     AS e(topic_id, partition, position, "offset", max_segments, ordinal)
JOIN partitions p ON p.topic_id = e.topic_id AND p.partition = e.partition
JOIN topics t ON t.topic_id = p.topic_id
LEFT JOIN LATERAL (
    SELECT g.base_offset, g.byte_position, g.size_bytes, g.crc32c, g.record_count, g.epoch, g.max_timestamp_ms, o.key, o.size_bytes AS object_size_bytes
    FROM (
        SELECT * FROM segments f
        WHERE e.position <> 0 AND f.partition_id = p.partition_id
          AND f.base_offset < p.high_watermark
          AND f.base_offset >= CASE e.position
              WHEN 1 THEN COALESCE((SELECT max(b.base_offset) FROM segments b
                                    WHERE b.partition_id = p.partition_id AND b.base_offset <= e."offset"), 0)
              ELSE COALESCE((SELECT b.base_offset FROM segments b
                             WHERE b.partition_id = p.partition_id AND b.max_timestamp_ms >= e."offset"
                               AND b.base_offset + b.record_count > p.log_start_offset
                             ORDER BY b.base_offset LIMIT 1), p.high_watermark)
              END
          AND NOT (e.position = 1 AND e."offset" >= p.high_watermark)
        ORDER BY f.base_offset LIMIT e.max_segments
    ) AS g
    JOIN object_keys o ON o.object_id = g.object_id
) AS s ON true
ORDER BY e.ordinal, s.base_offset;

-- Which of these topics exist and are not deleted. A missing row: unknown topic.
-- name: LiveTopics :many
SELECT topic_id, agent_group FROM topics WHERE topic_id = ANY(@topic_ids::uuid[]) AND deleted_at IS NULL;

-- One snapshot: the epoch and, where it is known, the producer. An ordinal without a row: no such partition in this agent group.
-- name: LookupProducers :many
SELECT e.ordinal::int AS ordinal, p.epoch, COALESCE(q.producer_epoch, -1)::int AS producer_epoch, COALESCE(q.batches, ''::bytea)::bytea AS batches
FROM ROWS FROM (unnest(@topic_ids::uuid[]), unnest(@partitions::int[]), unnest(@producer_ids::bigint[]), unnest(@ordinals::int[]))
     AS e(topic_id, partition, producer_id, ordinal)
JOIN partitions p ON p.topic_id = e.topic_id AND p.partition = e.partition AND p.agent_group = @agent_group::text
JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
LEFT JOIN producers q ON q.partition_id = p.partition_id AND q.producer_id = e.producer_id
ORDER BY e.ordinal;

-- Takes a range of producer ids; committed, it is never given out again. No row: the catalog does not serve.
-- name: TakeProducerIDs :one
UPDATE producer_ids SET next_id = next_id + @count::bigint WHERE catalog_serves() RETURNING (next_id - @count::bigint)::bigint AS first_id;
