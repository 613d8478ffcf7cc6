-- The newest session of every agent that lives or ended within the last day. empty: every agent group.
-- name: ListAgents :many
SELECT s.*, (s.last_heartbeat_at + s.duration_ms * interval '1 millisecond')::timestamptz AS expires_at,
       (SELECT count(*) FROM partitions p JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
        WHERE p.leader_session_id = s.session_id AND s.ended_at IS NULL)::int AS lease_count
FROM agents a
JOIN LATERAL (SELECT * FROM sessions n WHERE n.agent_id = a.agent_id ORDER BY n.started_at DESC LIMIT 1) AS s ON true
WHERE (@agent_group::text = '' OR a.agent_group = @agent_group::text)
  AND (s.ended_at IS NULL OR s.ended_at > clock_timestamp() - interval '1 day')
ORDER BY s.agent_group, s.zone, s.agent_id;

-- A row for each partition of a live topic, in order of topic name and partition, after the given ones. Empty: no bound.
-- name: ListLeases :many
SELECT t.name AS topic, t.topic_id, p.partition, p.epoch, p.assigned_agent_id, p.high_watermark, s.agent_id AS leader, s.zone,
       s.last_heartbeat_at, s.duration_ms
FROM partitions p
JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
LEFT JOIN sessions s ON s.session_id = p.leader_session_id AND s.ended_at IS NULL
WHERE (t.name, p.partition) > (@after_topic::text, @after_partition::int)
  AND (@agent_group::text = '' OR t.agent_group = @agent_group::text)
  AND (@topic::text = '' OR t.name = @topic::text)
  AND (@leader_agent_id::text = '' OR s.agent_id = @leader_agent_id::text)
ORDER BY t.name, p.partition
LIMIT @page;
