-- The newest session of every agent that lives or ended within the last day, with its last rates. Empty: every agent group, every agent.
-- name: ListAgents :many
SELECT s.*, (s.last_heartbeat_at + s.duration_ms * interval '1 millisecond')::timestamptz AS expires_at,
       (SELECT count(*) FROM partitions p JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
        WHERE p.leader_session_id = s.session_id AND s.ended_at IS NULL)::int AS lease_count,
       COALESCE(l.partitions, 0)::int AS assigned_count,
       COALESCE(r.in_bytes_per_second, 0)::bigint AS in_bytes_per_second, COALESCE(r.out_bytes_per_second, 0)::bigint AS out_bytes_per_second
FROM agents a
JOIN LATERAL (SELECT * FROM sessions n WHERE n.agent_id = a.agent_id ORDER BY n.started_at DESC LIMIT 1) AS s ON true
LEFT JOIN agent_reports r ON r.session_id = s.session_id
LEFT JOIN (SELECT p.assigned_agent_id, count(*) AS partitions FROM partitions p
           JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
           WHERE @agent_group::text = '' OR p.agent_group = @agent_group::text
           GROUP BY p.assigned_agent_id) AS l ON l.assigned_agent_id = a.agent_id
WHERE (@agent_group::text = '' OR a.agent_group = @agent_group::text)
  AND (@agent_id::text = '' OR a.agent_id = @agent_id::text)
  AND (s.ended_at IS NULL OR s.ended_at > clock_timestamp() - interval '1 day')
ORDER BY s.agent_group, s.zone, s.agent_id;

-- Topics of each agent group. Empty: of all.
-- name: TopicTally :many
SELECT g.agent_group, count(t.topic_id)::int AS topics
FROM agent_groups g LEFT JOIN topics t ON t.agent_group = g.agent_group AND t.deleted_at IS NULL
WHERE g.deleted_at IS NULL AND (@agent_group::text = '' OR g.agent_group = @agent_group::text)
GROUP BY g.agent_group ORDER BY g.agent_group;

-- Partitions by agent group and the zone of their leader (empty: nobody leads). moving: the leader is not who should lead. epoch: the greatest.
-- name: PartitionTally :many
SELECT p.agent_group, COALESCE(s.zone, '')::text AS zone, (s.session_id IS NOT NULL)::boolean AS led, count(*)::int AS partitions,
       count(*) FILTER (WHERE s.agent_id <> p.assigned_agent_id)::int AS moving, max(p.epoch)::int AS epoch
FROM partitions p
JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
LEFT JOIN sessions s ON s.session_id = p.leader_session_id AND s.ended_at IS NULL
WHERE @agent_group::text = '' OR p.agent_group = @agent_group::text
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- Zones that topics prefer and in which no agent lives, with one such topic each.
-- name: DesertedZones :many
SELECT t.agent_group, z.zone::text AS zone, min(t.name)::text AS topic
FROM topics t CROSS JOIN LATERAL unnest(t.preferred_zones) AS z(zone)
WHERE t.deleted_at IS NULL AND (@agent_group::text = '' OR t.agent_group = @agent_group::text)
  AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.agent_group = t.agent_group AND s.zone = z.zone AND s.ended_at IS NULL)
GROUP BY 1, 2 ORDER BY 1, 2;

-- A row for each partition of a live topic, in order of topic name and partition, after the given ones. Empty: no bound.
-- name: ListLeases :many
SELECT t.name AS topic, t.topic_id, p.partition, p.epoch, p.assigned_agent_id, p.high_watermark, p.pinned, s.agent_id AS leader, s.zone,
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

-- The lease of one partition of a live topic. No row: no such partition.
-- name: GetLease :many
SELECT t.name AS topic, t.topic_id, p.partition, p.epoch, p.assigned_agent_id, p.high_watermark, p.pinned, s.agent_id AS leader, s.zone,
       s.last_heartbeat_at, s.duration_ms
FROM partitions p
JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
LEFT JOIN sessions s ON s.session_id = p.leader_session_id AND s.ended_at IS NULL
WHERE p.topic_id = @topic_id AND p.partition = @partition;

-- Tenures over one partition of a live topic, the newest first, below the given epoch. One whose session ended has ended with it, although
-- that is written down only when the next begins.
-- name: ListTenures :many
SELECT t.epoch, t.session_id, t.first_offset, t.started_at, s.agent_id, s.zone, t.end_reason,
       t.ended_at, s.ended_at AS session_ended_at
FROM partitions p
JOIN tenures t ON t.partition_id = p.partition_id
JOIN sessions s ON s.session_id = t.session_id
WHERE p.topic_id = @topic_id AND p.partition = @partition AND t.epoch < @below_epoch
ORDER BY t.epoch DESC
LIMIT @page;

-- name: AllLiveSessions :many
SELECT * FROM sessions WHERE ended_at IS NULL ORDER BY agent_group, agent_id;
