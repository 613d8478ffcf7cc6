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
-- (for topics that allow buffered acks a suspect still does). Locked in (topic_id, partition) order. Requires: LockAgentGroup.
-- name: LockOrphans :many
SELECT p.partition_id, p.topic_id, p.partition
FROM partitions p
JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
WHERE p.agent_group = @agent_group
  AND (p.assigned_agent_id IS NULL
       OR NOT (p.assigned_agent_id = ANY(CASE WHEN t.allow_buffered_acks THEN @present_or_suspect::text[] ELSE @present::text[] END)))
ORDER BY p.topic_id, p.partition
LIMIT @page
FOR NO KEY UPDATE OF p;

-- How many partitions each agent is assigned, in all.
-- name: AgentLoads :many
SELECT p.assigned_agent_id::text AS agent_id, count(*) AS partitions
FROM partitions p
JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
WHERE p.agent_group = @agent_group AND p.assigned_agent_id IS NOT NULL
GROUP BY p.assigned_agent_id;

-- How many partitions of these topics each agent is assigned.
-- name: TopicLoads :many
SELECT topic_id, assigned_agent_id::text AS agent_id, count(*) AS partitions
FROM partitions
WHERE topic_id = ANY(@topic_ids::uuid[]) AND assigned_agent_id IS NOT NULL
GROUP BY topic_id, assigned_agent_id;

-- Requires: LockAgentGroup, the locks of the partitions. Leader and epoch stay: whoever leads goes on until it releases or is replaced.
-- name: AssignPartitions :execrows
UPDATE partitions p SET assigned_agent_id = e.agent_id, revision = e.revision
FROM ROWS FROM (unnest(@partition_ids::bigint[]), unnest(@agent_ids::text[]), unnest(@revisions::bigint[]))
     AS e(partition_id, agent_id, revision)
WHERE p.partition_id = e.partition_id;
