-- No row changed: the agent id is known; GetAgent tells in which agent group.
-- name: InsertAgent :execrows
INSERT INTO agents (agent_id, agent_group) VALUES (@agent_id, @agent_group) ON CONFLICT DO NOTHING;

-- name: GetAgent :one
SELECT agent_group FROM agents WHERE agent_id = @agent_id;

-- Death as a fact: the session of this agent id that lives, if one does, ends. Requires: LockAgentGroup.
-- name: SupersedeSession :execrows
UPDATE sessions SET ended_at = clock_timestamp(), end_reason = 'superseded' WHERE agent_id = @agent_id AND ended_at IS NULL;

-- name: InsertSession :exec
INSERT INTO sessions (session_id, agent_id, agent_group, zone, address, version, duration_ms, capacity_bytes_per_second, registration_id)
VALUES (@session_id, @agent_id, @agent_group, @zone, @address, @version, @duration_ms, @capacity_bytes_per_second, sqlc.narg(registration_id));

-- The session of an earlier attempt of the same registration, whatever has become of it. Requires: LockAgentGroup. No row: this is the first.
-- name: FindRegistration :many
SELECT session_id, agent_id, agent_group FROM sessions WHERE registration_id = @registration_id::uuid;

-- The heartbeat that changes nothing but the time, which is nearly every one. Compares no clock: a session that lives is renewed,
-- one that has ended is not (a slow heartbeat waits for the expirer and then finds the fact).
-- No row: the session has ended, never was, or something else changes too: RenewSessionAndState tells.
-- name: RenewSession :many
UPDATE sessions SET last_heartbeat_at = clock_timestamp(), settled_object_counter = GREATEST(settled_object_counter, @settled_object_counter::bigint)
WHERE session_id = @session_id AND agent_group = @agent_group AND ended_at IS NULL
  AND NOT suspect AND (draining OR NOT @draining::boolean) AND unfit = @unfit::boolean
RETURNING drain_requested;

-- The heartbeat that clears suspicion, or begins to drain, or changes fitness. Requires: LockAgentGroup.
-- No row: the session has ended or never was.
-- name: RenewSessionAndState :many
UPDATE sessions SET last_heartbeat_at = clock_timestamp(), suspect = false, draining = draining OR @draining::boolean, unfit = @unfit::boolean,
                    settled_object_counter = GREATEST(settled_object_counter, @settled_object_counter::bigint)
WHERE session_id = @session_id AND agent_group = @agent_group AND ended_at IS NULL
RETURNING drain_requested;

-- An operator wants the agent drained. Requires: LockAgentGroup. No row changed: it was wanted before, or the agent does not live.
-- name: RequestDrain :execrows
UPDATE sessions SET drain_requested = true
WHERE agent_id = @agent_id AND agent_group = @agent_group AND ended_at IS NULL AND NOT drain_requested;

-- No row: the session never was, or is of another agent group.
-- name: GetSession :one
SELECT * FROM sessions WHERE session_id = @session_id AND agent_group = @agent_group;

-- Requires: LockAgentGroup. No row changed: it had ended before.
-- name: DeregisterSession :execrows
UPDATE sessions SET ended_at = clock_timestamp(), end_reason = 'deregistered'
WHERE session_id = @session_id AND agent_group = @agent_group AND ended_at IS NULL;

-- Locks sessions in order, so that none is deleted meanwhile; says nothing of whether they live (that is read in a later statement).
-- A missing row: the session never was, or is gone.
-- name: LockSessions :many
SELECT session_id, agent_group, settled_object_counter FROM sessions WHERE session_id = ANY(@session_ids::uuid[]) ORDER BY session_id FOR KEY SHARE;

-- As LockSessions, of one.
-- name: LockSession :many
SELECT agent_group, settled_object_counter FROM sessions WHERE session_id = @session_id FOR KEY SHARE;

-- name: SessionsByID :many
SELECT * FROM sessions WHERE session_id = ANY(@session_ids::uuid[]);

-- The sessions of an agent group that live.
-- name: LiveSessions :many
SELECT * FROM sessions WHERE agent_group = @agent_group AND ended_at IS NULL ORDER BY agent_id;

-- The sessions that live of the agents to which these partitions are assigned. Requires: LockAgentGroup, so that it stays true.
-- name: AssigneeSessions :many
SELECT DISTINCT s.session_id
FROM ROWS FROM (unnest(@topic_ids::uuid[]), unnest(@partitions::int[])) AS e(topic_id, partition)
JOIN partitions p ON p.topic_id = e.topic_id AND p.partition = e.partition
JOIN sessions s ON s.agent_id = p.assigned_agent_id AND s.agent_group = p.agent_group AND s.ended_at IS NULL;
