-- name: PlacedTopicsAfter :many
SELECT * FROM topics
WHERE agent_group = @agent_group AND revision > @after AND (deleted_at IS NULL OR @after::bigint > 0)
ORDER BY revision LIMIT @page;

-- name: PlacedPartitionsAfter :many
SELECT p.topic_id, p.partition, p.epoch, p.assigned_agent_id, p.leader_session_id, p.revision, s.agent_id AS leader_agent_id
FROM partitions p
JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
LEFT JOIN sessions s ON s.session_id = p.leader_session_id AND s.ended_at IS NULL
WHERE p.agent_group = @agent_group AND p.revision > @after
ORDER BY p.revision LIMIT @page;

-- name: ResolveTopics :many
SELECT * FROM topics
WHERE agent_group = @agent_group AND deleted_at IS NULL
  AND (name = ANY(@names::text[]) OR topic_id = ANY(@topic_ids::uuid[]))
ORDER BY name;

-- name: PlacedPartitionsOfTopics :many
SELECT p.topic_id, p.partition, p.epoch, p.assigned_agent_id, p.leader_session_id, p.revision, s.agent_id AS leader_agent_id
FROM partitions p
LEFT JOIN sessions s ON s.session_id = p.leader_session_id AND s.ended_at IS NULL
WHERE p.topic_id = ANY(@topic_ids::uuid[]) AND p.partition < @below
ORDER BY p.topic_id, p.partition;

-- Partitions that nobody fit should lead: without an assignment, or assigned to an agent that is not among those that count as present
-- (for topics that allow buffered acks a suspect still does). led: by an agent that leaves in good order, so that handing over costs a hand-off;
-- the others come first. Requires: LockAgentGroup, so that it stays true.
-- name: FindOrphans :many
SELECT p.partition_id, p.topic_id, p.partition, COALESCE(p.assigned_agent_id, '')::text AS assigned_agent_id, (s.session_id IS NOT NULL)::boolean AS led
FROM partitions p
JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
LEFT JOIN sessions s ON s.session_id = p.leader_session_id AND s.ended_at IS NULL AND NOT s.suspect AND NOT s.unfit
WHERE p.agent_group = @agent_group
  AND (p.assigned_agent_id IS NULL
       OR NOT (p.assigned_agent_id = ANY(CASE WHEN t.allow_buffered_acks THEN @present_or_suspect::text[] ELSE @present::text[] END)))
ORDER BY led, p.topic_id, p.partition
LIMIT @page;

-- Partitions whose leader is not who should lead: hand-offs under way. Requires: LockAgentGroup.
-- name: CountMoving :one
SELECT count(*) FROM partitions p
JOIN sessions s ON s.session_id = p.leader_session_id AND s.ended_at IS NULL AND NOT s.suspect AND NOT s.unfit
JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
WHERE p.agent_group = @agent_group AND s.agent_id <> p.assigned_agent_id;

-- Partitions that are to move, those that are still assigned as the plan had it and not pinned; led: somebody leads it who would have to hand
-- over. Requires: LockAgentGroup.
-- name: FindMoves :many
SELECT e.ordinal::int AS ordinal, p.partition_id, (s.session_id IS NOT NULL AND s.agent_id <> e.to_agent_id)::boolean AS led
FROM ROWS FROM (unnest(@topic_ids::uuid[]), unnest(@partitions::int[]), unnest(@from_agent_ids::text[]), unnest(@to_agent_ids::text[]), unnest(@ordinals::int[]))
     AS e(topic_id, partition, from_agent_id, to_agent_id, ordinal)
JOIN partitions p ON p.topic_id = e.topic_id AND p.partition = e.partition
JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
LEFT JOIN sessions s ON s.session_id = p.leader_session_id AND s.ended_at IS NULL AND NOT s.suspect AND NOT s.unfit
WHERE p.agent_group = @agent_group AND NOT p.pinned AND COALESCE(p.assigned_agent_id, '') = e.from_agent_id
ORDER BY e.ordinal;

-- In (topic_id, partition) order, like everywhere.
-- name: LockPartitionsByID :many
SELECT partition_id FROM partitions WHERE partition_id = ANY(@partition_ids::bigint[]) ORDER BY topic_id, partition FOR NO KEY UPDATE;

-- How many partitions each agent is assigned, in all.
-- name: AgentLoads :many
SELECT p.assigned_agent_id::text AS agent_id, count(*) AS partitions
FROM partitions p
JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
WHERE p.agent_group = @agent_group AND p.assigned_agent_id IS NOT NULL
GROUP BY p.assigned_agent_id;

-- How many partitions of each topic each agent is assigned.
-- name: TopicLoads :many
SELECT p.topic_id, p.assigned_agent_id::text AS agent_id, count(*) AS partitions
FROM partitions p
JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
WHERE p.agent_group = @agent_group AND p.assigned_agent_id IS NOT NULL
GROUP BY p.topic_id, p.assigned_agent_id;

-- Requires: LockAgentGroup, the locks of the partitions. Leader and epoch stay: whoever leads goes on until it releases or is replaced. A pin
-- ends: it was to another agent.
-- name: AssignPartitions :execrows
UPDATE partitions p SET assigned_agent_id = e.agent_id, revision = e.revision, pinned = false
FROM ROWS FROM (unnest(@partition_ids::bigint[]), unnest(@agent_ids::text[]), unnest(@revisions::bigint[]))
     AS e(partition_id, agent_id, revision)
WHERE p.partition_id = e.partition_id;

-- An operator's will. The partition may have been assigned to this very agent. Requires: LockAgentGroup.
-- name: PinPartition :execrows
UPDATE partitions SET assigned_agent_id = @agent_id::text, pinned = true, revision = @revision WHERE topic_id = @topic_id AND partition = @partition;

-- Requires: LockAgentGroup. No row changed: it was not pinned.
-- name: UnpinPartition :execrows
UPDATE partitions SET pinned = false, revision = @revision WHERE topic_id = @topic_id AND partition = @partition AND pinned;

-- What placement looks at before it reads more: the newest revision, that of the last change which it may answer, the newest report.
-- name: Shapes :many
SELECT g.agent_group, g.revision, g.shape_revision,
       COALESCE((SELECT (extract(epoch FROM max(r.reported_at)) * 1000000)::bigint FROM agent_reports r
                 JOIN sessions s ON s.session_id = r.session_id AND s.ended_at IS NULL WHERE s.agent_group = g.agent_group), 0)::bigint AS reported_us
FROM agent_groups g WHERE g.deleted_at IS NULL ORDER BY g.agent_group;

-- name: PlanTopics :many
SELECT topic_id, name, allow_buffered_acks, preferred_zones FROM topics WHERE agent_group = @agent_group AND deleted_at IS NULL ORDER BY topic_id;

-- All partitions of live topics of the agent group, in no order. led: by an agent that would have to hand over.
-- name: PlanPartitions :many
SELECT p.topic_id, p.partition, COALESCE(p.assigned_agent_id, '')::text AS assigned_agent_id, p.pinned,
       COALESCE(s.agent_id, '')::text AS leader_agent_id
FROM partitions p
JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
LEFT JOIN sessions s ON s.session_id = p.leader_session_id AND s.ended_at IS NULL AND NOT s.suspect AND NOT s.unfit
WHERE p.agent_group = @agent_group;

-- The replica that decides placement now. No row: none does. lock_id: below 2^32 times 2^31.
-- name: PlacementLeader :many
SELECT a.application_name::text AS application_name
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = a.datid AND a.datname = current_database()
  AND l.classid::bigint = (@lock_id::bigint >> 32) AND l.objid::bigint = (@lock_id::bigint & 4294967295);

-- name: TopicsByID :many
SELECT * FROM topics WHERE topic_id = ANY(@topic_ids::uuid[]);

-- One replica at a time decides placement. False: another does. Not to be called by who holds it.
-- name: TryPlacementLock :one
SELECT pg_try_advisory_lock(@lock_id::bigint)::boolean AS held;

-- Gives the lead of placement up before its connection is closed, which PostgreSQL may notice a moment later. False: it was not held.
-- name: ReleasePlacementLock :one
SELECT pg_advisory_unlock(@lock_id::bigint) AS released;
