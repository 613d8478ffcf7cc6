-- A replica that is stopped, or cut off, while it holds the pulse holds up every other judge, and once the pulse is three seconds old nobody is
-- judged for a session duration. So PostgreSQL ends this transaction after a second of silence, well before that.
-- name: LockPulse :one
SELECT beat_at, quiet_until, set_config('idle_in_transaction_session_timeout', '1000', true) AS hold FROM pulse FOR NO KEY UPDATE;

-- The clock of PostgreSQL, and the longest duration of a session that lives (0: none lives). A later statement than LockPulse.
-- name: ReadClock :one
SELECT clock_timestamp()::timestamptz AS now,
       COALESCE((SELECT max(duration_ms) FROM sessions WHERE ended_at IS NULL), 0)::bigint AS longest_duration_ms;

-- name: SetPulse :exec
UPDATE pulse SET beat_at = @beat_at, quiet_until = @quiet_until;

-- After The clock of PostgreSQL has jumped back: a heartbeat from the future would protect a dead session for the length of the jump.
-- name: ClampHeartbeats :execrows
UPDATE sessions SET last_heartbeat_at = clock_timestamp() WHERE ended_at IS NULL AND last_heartbeat_at > clock_timestamp();

-- Agent groups with a session that looks silent beyond its duration; EndSilentSessions decides.
-- name: AgentGroupsWithSilence :many
SELECT DISTINCT agent_group FROM sessions
WHERE ended_at IS NULL AND last_heartbeat_at < clock_timestamp() - duration_ms * interval '1 millisecond'
ORDER BY agent_group;

-- Death as a fact: the reason is checked on the row as it is once its lock is held, so a heartbeat that was waited for saves its session.
-- Nobody is ended while the pulse is old, in the future, or quiet. Requires: LockAgentGroup.
-- name: EndSilentSessions :many
UPDATE sessions SET ended_at = clock_timestamp(), end_reason = 'expired'
WHERE agent_group = @agent_group AND ended_at IS NULL
  AND last_heartbeat_at < clock_timestamp() - duration_ms * interval '1 millisecond'
  AND EXISTS (SELECT 1 FROM pulse WHERE beat_at > clock_timestamp() - interval '3 seconds'
                                    AND beat_at <= clock_timestamp() AND quiet_until <= clock_timestamp())
RETURNING session_id, agent_id;

-- Agent groups with a session that looks silent for longer than this and is not suspect yet; SuspectSilentSessions decides.
-- name: AgentGroupsWithUnsuspected :many
SELECT DISTINCT agent_group FROM sessions
WHERE ended_at IS NULL AND NOT suspect AND last_heartbeat_at < clock_timestamp() - make_interval(secs => @silence_seconds::float8)
ORDER BY agent_group;

-- Suspicion, guarded like EndSilentSessions; the next heartbeat clears it. Requires: LockAgentGroup.
-- name: SuspectSilentSessions :many
UPDATE sessions SET suspect = true
WHERE agent_group = @agent_group AND ended_at IS NULL AND NOT suspect
  AND last_heartbeat_at < clock_timestamp() - make_interval(secs => @silence_seconds::float8)
  AND EXISTS (SELECT 1 FROM pulse WHERE beat_at > clock_timestamp() - interval '3 seconds'
                                    AND beat_at <= clock_timestamp() AND quiet_until <= clock_timestamp())
RETURNING session_id, agent_id;

-- Milliseconds until the first session that lives and is not suspect will have been silent for so long. No row: nobody lives.
-- name: UntilSilent :many
SELECT (extract(epoch FROM last_heartbeat_at - clock_timestamp()) * 1000 + @silence_ms::float8)::float8 AS until_ms FROM sessions
WHERE ended_at IS NULL AND NOT suspect
ORDER BY last_heartbeat_at LIMIT 1;

-- Suspicion without silence: the agent's address refuses connections. No pulse is asked, for no clock is read; the next heartbeat clears
-- it. No row changed: the session has ended, or is suspect already. Requires: LockAgentGroup.
-- name: SuspectRefusedSession :execrows
UPDATE sessions SET suspect = true
WHERE session_id = @session_id AND agent_group = @agent_group AND ended_at IS NULL AND NOT suspect;
