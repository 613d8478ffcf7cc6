-- A checkpoint is due: there is none, or the newest is older than the interval, or older than a share of it and something waits for the next one: a
-- topic that none has as it is, an object that none began after. Requires: LockUpkeep.
-- name: CheckpointDue :one
SELECT (u.finished_at IS NULL OR u.finished_at < clock_timestamp() - make_interval(secs => @interval_seconds::float8)
        OR (u.finished_at < clock_timestamp() - make_interval(secs => @pace_seconds::float8)
            AND (EXISTS (SELECT 1 FROM topics t WHERE t.agent_group = u.agent_group AND t.revision > t.recorded_revision)
                 OR EXISTS (SELECT 1 FROM object_keys o WHERE split_part(o.key, '/', 1) = u.agent_group AND o.unreferenced_at IS NOT NULL AND o.freed_in IS NULL)))
       )::boolean AS due
FROM upkeep u WHERE u.agent_group = @agent_group;

-- Requires: LockUpkeep.
-- name: BeginCheckpoint :one
UPDATE upkeep u SET checkpoint_begun = u.checkpoint_begun + 1, checkpoint_revision = g.revision
FROM agent_groups g WHERE u.agent_group = @agent_group AND g.agent_group = u.agent_group
RETURNING u.checkpoint_begun;

-- P9: what is free when a checkpoint begins is free in all that is read for it afterwards, since this commits first. Some of many: the rest is for
-- the next one. Rows are locked in key order.
-- name: MarkFreed :execrows
WITH page AS MATERIALIZED (
    SELECT o.object_id FROM object_keys o
    WHERE split_part(o.key, '/', 1) = @agent_group::text AND o.unreferenced_at IS NOT NULL AND o.freed_in IS NULL
    ORDER BY o.key LIMIT @page FOR NO KEY UPDATE
)
UPDATE object_keys o SET freed_in = @number::bigint FROM page g WHERE o.object_id = g.object_id AND o.freed_in IS NULL;

-- Requires: LockUpkeep, LockJob of the checkpoint.
-- name: FinishCheckpoint :one
UPDATE upkeep SET checkpoint_finished = checkpoint_begun, finished_at = clock_timestamp() WHERE agent_group = @agent_group
RETURNING checkpoint_finished, checkpoint_revision;

-- Topics that the checkpoint has as they are, and one before it had already. Requires: LockAgentGroup.
-- name: RecordTopics :execrows
UPDATE topics SET recorded_revision = revision
WHERE agent_group = @agent_group AND revision > recorded_revision AND recorded_revision > 0 AND revision <= @up_to;

-- Topics that the checkpoint is the first to have, some of them. Requires: LockAgentGroup.
-- name: NewlyRecordedTopics :many
SELECT topic_id FROM topics
WHERE agent_group = @agent_group AND revision > recorded_revision AND recorded_revision = 0 AND revision <= @up_to
ORDER BY topic_id;

-- Tells the agents. Requires: LockAgentGroup.
-- name: RecordNewTopics :execrows
UPDATE topics t SET revision = e.revision, recorded_revision = e.revision
FROM ROWS FROM (unnest(@topic_ids::uuid[]), unnest(@revisions::bigint[])) AS e(topic_id, revision)
WHERE t.topic_id = e.topic_id;

-- name: CheckpointHead :one
SELECT c.catalog_id, c.incarnation, u.checkpoint_begun, i.next_id
FROM catalog c CROSS JOIN upkeep u CROSS JOIN producer_ids i WHERE u.agent_group = @agent_group;

-- name: CheckpointTopics :many
SELECT * FROM topics WHERE agent_group = @agent_group AND topic_id > @after ORDER BY topic_id LIMIT @page;

-- name: CheckpointPartitions :many
SELECT p.topic_id, p.partition, p.log_start_offset, p.high_watermark, p.epoch
FROM partitions p JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
WHERE p.agent_group = @agent_group AND (p.topic_id, p.partition) > (@after_topic_id::uuid, @after_partition::int)
ORDER BY p.topic_id, p.partition LIMIT @page;

-- Number of the newest checkpoint in the bucket; 0: none.
-- name: NewestCheckpoint :one
SELECT COALESCE((SELECT u.checkpoint_finished FROM upkeep u WHERE u.agent_group = @agent_group), 0)::bigint AS number;
