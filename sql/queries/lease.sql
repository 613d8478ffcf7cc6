-- Locks partitions in (topic_id, partition) order. The its own columns are fresh once the lock is held; those of the topic are from
-- before the wait, which is enough: allow_buffered_acks changes under LockAgentGroup alone, and a commit that crosses a deletion counts as
-- having come before it. A missing row: no such partition.
-- The topics are joined outside: inside, the planner may go from a topic to all of its partitions.
-- name: LockPartitions :many
WITH locked AS MATERIALIZED (
    SELECT p.* FROM ROWS FROM (unnest(@topic_ids::uuid[]), unnest(@partitions::int[])) AS e(topic_id, partition)
    JOIN partitions p ON p.topic_id = e.topic_id AND p.partition = e.partition
    ORDER BY p.topic_id, p.partition
    FOR NO KEY UPDATE OF p
)
SELECT l.partition_id, l.topic_id, l.partition, l.agent_group, l.epoch, l.leader_session_id, l.high_watermark, l.log_start_offset,
       l.assigned_agent_id, (t.deleted_at IS NOT NULL)::boolean AS deleted, t.allow_buffered_acks, t.name AS topic_name
FROM locked l
JOIN topics t ON t.topic_id = l.topic_id;

-- P3: the epoch that a grant counts up from is checked in the statement that writes. Requires: LockAgentGroup, the locks of the partitions.
-- The number of rows is the verdict: fewer than asked for, and nothing may be committed.
-- name: GrantLeases :execrows
UPDATE partitions p
SET epoch = e.new_epoch, leader_session_id = e.session_id, assigned_agent_id = e.agent_id, revision = e.revision
FROM ROWS FROM (unnest(@partition_ids::bigint[]), unnest(@old_epochs::int[]), unnest(@new_epochs::int[]),
                unnest(@session_ids::uuid[]), unnest(@agent_ids::text[]), unnest(@revisions::bigint[]))
     AS e(partition_id, old_epoch, new_epoch, session_id, agent_id, revision)
WHERE p.partition_id = e.partition_id AND p.epoch = e.old_epoch;

-- Leases released to nobody. Requires and verdict: as GrantLeases.
-- name: FreeLeases :execrows
UPDATE partitions p SET leader_session_id = NULL, revision = e.revision
FROM ROWS FROM (unnest(@partition_ids::bigint[]), unnest(@epochs::int[]), unnest(@revisions::bigint[]))
     AS e(partition_id, epoch, revision)
WHERE p.partition_id = e.partition_id AND p.epoch = e.epoch;

-- Writes down the end of the tenures before these, where they have not ended yet.
-- name: EndTenures :execrows
UPDATE tenures t SET ended_at = clock_timestamp(), end_reason = e.end_reason
FROM ROWS FROM (unnest(@partition_ids::bigint[]), unnest(@epochs::int[]), unnest(@end_reasons::text[]))
     AS e(partition_id, epoch, end_reason)
WHERE t.partition_id = e.partition_id AND t.epoch = e.epoch AND t.ended_at IS NULL;

-- name: InsertTenures :execrows
INSERT INTO tenures (partition_id, epoch, session_id, first_offset)
SELECT unnest(@partition_ids::bigint[]), unnest(@epochs::int[]), unnest(@session_ids::uuid[]), unnest(@first_offsets::bigint[]);

-- name: TenureFirstOffsets :many
SELECT t.partition_id, t.epoch, t.first_offset
FROM ROWS FROM (unnest(@partition_ids::bigint[]), unnest(@epochs::int[])) AS e(partition_id, epoch)
JOIN tenures t ON t.partition_id = e.partition_id AND t.epoch = e.epoch;

-- The producers seen last on each partition, newest first. Consistent with the high watermark while the lock of the partition is held.
-- name: RecentProducers :many
SELECT r.partition_id, r.producer_id, r.producer_epoch, r.batches
FROM unnest(@partition_ids::bigint[]) AS e(partition_id)
CROSS JOIN LATERAL (
    SELECT q.partition_id, q.producer_id, q.producer_epoch, q.batches FROM producers q
    WHERE q.partition_id = e.partition_id ORDER BY q.updated_at DESC LIMIT @per_partition
) AS r;
