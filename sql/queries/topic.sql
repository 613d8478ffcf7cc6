-- No row: a topic of this name exists (whoever inserts it at the same time is waited for). Requires: LockAgentGroup.
-- name: InsertTopic :many
INSERT INTO topics (topic_id, name, agent_group, partition_count, max_record_bytes, allow_buffered_acks, preferred_zones, revision,
                    retention_ms, retention_bytes, cleanup_policy, delete_retention_ms, min_compaction_lag_ms)
VALUES (@topic_id, @name, @agent_group, @partition_count, @max_record_bytes, @allow_buffered_acks, @preferred_zones::text[], @revision,
        @retention_ms, @retention_bytes, @cleanup_policy, @delete_retention_ms, @min_compaction_lag_ms)
ON CONFLICT (name) WHERE deleted_at IS NULL DO NOTHING
RETURNING *;

-- New partitions of a topic, with their assignments (empty for none) and revisions.
-- name: InsertPartitions :execrows
INSERT INTO partitions (topic_id, partition, agent_group, assigned_agent_id, revision)
SELECT @topic_id::uuid, e.partition, @agent_group::text, NULLIF(e.agent_id, ''), e.revision
FROM ROWS FROM (unnest(@partitions::int[]), unnest(@agent_ids::text[]), unnest(@revisions::bigint[])) AS e(partition, agent_id, revision)
ORDER BY e.partition;

-- No row: no such topic in this agent group (empty: any).
-- name: GetTopic :one
SELECT * FROM topics
WHERE name = @name AND deleted_at IS NULL AND (@agent_group::text = '' OR agent_group = @agent_group::text);

-- A page of the partitions from a number on.
-- name: PartitionStatuses :many
SELECT p.partition, p.epoch, p.log_start_offset, p.high_watermark, p.assigned_agent_id, s.agent_id AS leader_agent_id, s.zone AS leader_zone
FROM partitions p
LEFT JOIN sessions s ON s.session_id = p.leader_session_id AND s.ended_at IS NULL
WHERE p.topic_id = @topic_id AND p.partition >= @first
ORDER BY p.partition
LIMIT @page;

-- name: ListTopics :many
SELECT * FROM topics
WHERE deleted_at IS NULL AND name > @after AND (@agent_group::text = '' OR agent_group = @agent_group::text)
ORDER BY name LIMIT @page;

-- Requires: LockAgentGroup. No row: it has been deleted meanwhile. The number of partitions only rises.
-- name: UpdateTopic :many
UPDATE topics SET max_record_bytes = COALESCE(sqlc.narg(max_record_bytes), max_record_bytes),
                  allow_buffered_acks = COALESCE(sqlc.narg(allow_buffered_acks), allow_buffered_acks),
                  preferred_zones = COALESCE(sqlc.narg(preferred_zones)::text[], preferred_zones),
                  retention_ms = COALESCE(sqlc.narg(retention_ms), retention_ms),
                  retention_bytes = COALESCE(sqlc.narg(retention_bytes), retention_bytes),
                  cleanup_policy = COALESCE(sqlc.narg(cleanup_policy), cleanup_policy),
                  delete_retention_ms = COALESCE(sqlc.narg(delete_retention_ms), delete_retention_ms),
                  min_compaction_lag_ms = COALESCE(sqlc.narg(min_compaction_lag_ms), min_compaction_lag_ms),
                  partition_count = GREATEST(partition_count, @partition_count::int),
                  revision = @revision
WHERE topic_id = @topic_id AND deleted_at IS NULL
RETURNING *;

-- Marks the topic, which frees its name. Requires: LockAgentGroup. No row changed: somebody else deleted it.
-- name: MarkTopicDeleted :execrows
UPDATE topics SET deleted_at = clock_timestamp(), revision = @revision WHERE topic_id = @topic_id AND deleted_at IS NULL;
