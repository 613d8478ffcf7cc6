-- How far the work on an agent group has come. Whoever claims or ends a job holds this lock, before those of jobs. No row: somebody holds it, or
-- there is none yet.
-- name: TryLockUpkeep :many
SELECT * FROM upkeep WHERE agent_group = @agent_group FOR UPDATE SKIP LOCKED;

-- As TryLockUpkeep, but waits: others hold it shortly.
-- name: LockUpkeep :many
SELECT * FROM upkeep WHERE agent_group = @agent_group FOR UPDATE;

-- The agent group's first look for work; idempotent.
-- name: BeginUpkeep :exec
INSERT INTO upkeep (agent_group) SELECT g.agent_group FROM agent_groups g WHERE g.agent_group = @agent_group AND g.deleted_at IS NULL ON CONFLICT DO NOTHING;

-- The job of one of these kinds that the session has already. No row: it has none.
-- name: HeldJob :many
SELECT * FROM jobs WHERE agent_group = @agent_group AND session_id = @session_id AND kind = ANY(@kinds::smallint[]) ORDER BY kind LIMIT 1;

-- A job whose owner's session has ended, is suspect, or is not known. Those that somebody is just calling about are passed over.
-- Requires: LockUpkeep.
-- name: AbandonedJob :many
SELECT j.* FROM jobs j
WHERE j.agent_group = @agent_group AND j.kind = ANY(@kinds::smallint[])
  AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.session_id = j.session_id AND s.ended_at IS NULL AND NOT s.suspect)
ORDER BY j.kind, j.claimed_at LIMIT 1
FOR UPDATE OF j SKIP LOCKED;

-- The fence: what names the old id changes nothing from now on. Requires: AbandonedJob.
-- name: TakeOverJob :one
UPDATE jobs SET job_id = @new_job_id, session_id = @session_id, claimed_at = clock_timestamp() WHERE job_id = @job_id RETURNING *;

-- Whether somebody is at it. Requires: LockUpkeep, under which alone jobs are made.
-- name: HasJob :one
SELECT EXISTS (SELECT 1 FROM jobs WHERE agent_group = @agent_group AND kind = @kind AND subject = @subject)::boolean AS has;

-- Requires: HasJob said no.
-- name: InsertJob :one
INSERT INTO jobs (agent_group, kind, subject, job_id, output_id, session_id, detail)
VALUES (@agent_group, @kind, @subject, @job_id, @job_id, @session_id, @detail)
RETURNING *;

-- Every call of a job's owner begins with it. No row: another has taken the job over, or it has ended (JOB_LOST).
-- name: LockJob :many
SELECT * FROM jobs WHERE job_id = @job_id AND agent_group = @agent_group FOR UPDATE;

-- The fence for calls that only read. No row: JOB_LOST.
-- name: GetJob :many
SELECT * FROM jobs WHERE job_id = @job_id AND agent_group = @agent_group;

-- Requires: LockJob.
-- name: SaveJob :execrows
UPDATE jobs SET detail = @detail WHERE job_id = @job_id;

-- Requires: LockJob, or TakeOverJob, or InsertJob.
-- name: DeleteJob :execrows
DELETE FROM jobs WHERE job_id = @job_id;

-- A new incarnation begins without: it knows nobody who could end them.
-- name: DeleteAllJobs :execrows
DELETE FROM jobs;

-- What an older incarnation knew of the bucket may have been lost with its transactions: a checkpoint is due at once, and until it is there nothing
-- is deleted.
-- name: ResetUpkeep :exec
UPDATE upkeep SET checkpoint_finished = 0, finished_at = NULL;

-- The next part of the bucket is due to be swept: the one after it is due a share of the interval later, and is
-- what is returned. No row: not yet, or never: a catalog that was adopted without the bucket does not know the objects of lost transactions, which
-- look like orphans and are all that is left of acknowledged records (P1). Requires: LockUpkeep.
-- name: TakeShard :many
UPDATE upkeep u SET next_shard = (u.next_shard + 1) % @shards::int, shard_due_at = clock_timestamp() + make_interval(secs => @share_seconds::float8)
WHERE u.agent_group = @agent_group AND u.shard_due_at <= clock_timestamp()
  AND (SELECT c.incarnation = c.complete_incarnation FROM catalog c)
RETURNING u.next_shard;
