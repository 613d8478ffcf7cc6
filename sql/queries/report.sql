-- The last report of a session that lives. One row a session, overwritten in place.
-- name: SaveReport :execrows
INSERT INTO agent_reports (session_id, in_bytes_per_second, out_bytes_per_second, traffic, partitions)
SELECT s.session_id, @in_bytes_per_second::bigint, @out_bytes_per_second::bigint, @traffic::bytea, @partitions::bytea
FROM sessions s WHERE s.session_id = @session_id AND s.agent_group = @agent_group AND s.ended_at IS NULL
ON CONFLICT (session_id) DO UPDATE SET reported_at = clock_timestamp(), in_bytes_per_second = EXCLUDED.in_bytes_per_second,
    out_bytes_per_second = EXCLUDED.out_bytes_per_second, traffic = EXCLUDED.traffic, partitions = EXCLUDED.partitions;

-- What the agents of an agent group that live measured of their partitions.
-- name: PartitionReports :many
SELECT r.partitions FROM agent_reports r JOIN sessions s ON s.session_id = r.session_id
WHERE s.agent_group = @agent_group AND s.ended_at IS NULL ORDER BY s.agent_id;

-- What the agents that live measured of their traffic, of one agent group or of all (empty).
-- name: TrafficReports :many
SELECT s.agent_group, s.zone, r.traffic FROM agent_reports r JOIN sessions s ON s.session_id = r.session_id
WHERE s.ended_at IS NULL AND (@agent_group::text = '' OR s.agent_group = @agent_group::text) ORDER BY s.agent_group, s.agent_id;

-- name: TrafficOfSession :many
SELECT traffic, reported_at FROM agent_reports WHERE session_id = @session_id;
