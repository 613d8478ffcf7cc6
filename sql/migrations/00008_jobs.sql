-- What becomes of objects that nothing refers to, jobs on the bucket, checkpoints, and a catalog that forgets what nothing needs.
-- Locks: sessions, topics and object_keys for the moment that their definitions change (constant defaults rewrite no row, the constraint looks
-- at none). The indexes of object_keys are built while commits go on, a second or so for a million rows, which is why this migration is no
-- transaction; each statement can be run again, so that one that was cut short is finished by the next start. The previous release goes on: it
-- knows none of this and writes none of it. It would let a late repeat of a commit pass whose row has been removed, which its offset fences.

-- +goose NO TRANSACTION
-- +goose Up

ALTER TABLE object_keys
    ADD COLUMN IF NOT EXISTS freed_in bigint,
    ADD COLUMN IF NOT EXISTS deleted_at timestamptz,
    ADD COLUMN IF NOT EXISTS newest_commit_at timestamptz,
    DROP CONSTRAINT IF EXISTS object_keys_deleted_ones_are_not_referenced,
    ADD CONSTRAINT object_keys_deleted_ones_are_not_referenced CHECK (deleted_at IS NULL OR reference_count = 0) NOT VALID;
COMMENT ON COLUMN object_keys.freed_in IS 'Number of the first checkpoint of its agent group that began after the last reference went. Once that one is in the bucket, nothing needs the object to rebuild the catalog (P9).';
COMMENT ON COLUMN object_keys.deleted_at IS 'When its object was found to be gone. The row stays until the key is settled: a late repeat of its commit must still be answered with what happened.';
COMMENT ON COLUMN object_keys.newest_commit_at IS 'Newest commit time among what was compacted into it; null: created_at. Retention by time counts from there.';
COMMENT ON COLUMN object_keys.session_id IS 'Session (or compaction) that committed it. No foreign key: rows outlive it.';

-- The agent group is the key's first part. In its life an object that nothing refers to is in one of them at a time: freed, waiting, gone. A commit
-- writes into none.
DROP INDEX CONCURRENTLY IF EXISTS object_keys_unreferenced;
DROP INDEX CONCURRENTLY IF EXISTS object_keys_freed;
CREATE INDEX CONCURRENTLY object_keys_freed ON object_keys (split_part(key, '/', 1)) WHERE unreferenced_at IS NOT NULL AND freed_in IS NULL;
DROP INDEX CONCURRENTLY IF EXISTS object_keys_waiting;
CREATE INDEX CONCURRENTLY object_keys_waiting ON object_keys (split_part(key, '/', 1), unreferenced_at) WHERE freed_in IS NOT NULL AND deleted_at IS NULL;
DROP INDEX CONCURRENTLY IF EXISTS object_keys_dead;
CREATE INDEX CONCURRENTLY object_keys_dead ON object_keys (split_part(key, '/', 1), tombstoned_at) WHERE tombstoned_at IS NOT NULL AND deleted_at IS NULL;
DROP INDEX CONCURRENTLY IF EXISTS object_keys_gone;
CREATE INDEX CONCURRENTLY object_keys_gone ON object_keys (key) WHERE deleted_at IS NOT NULL;

ALTER TABLE sessions ADD COLUMN IF NOT EXISTS settled_object_counter bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN sessions.settled_object_counter IS 'Objects of this session with a counter below it have a definite outcome or will never be committed: a commit that names one without a row is refused for good. Only rises.';
COMMENT ON TABLE sessions IS 'An agent''s liveness: one row per registration, renewed by heartbeats. Deleted a day after its end, when no partition or tenure refers to it.';

ALTER TABLE topics ADD COLUMN IF NOT EXISTS recorded_revision bigint NOT NULL DEFAULT 0;
DROP INDEX CONCURRENTLY IF EXISTS topics_unrecorded;
CREATE INDEX CONCURRENTLY topics_unrecorded ON topics (agent_group) WHERE revision > recorded_revision;
COMMENT ON COLUMN topics.recorded_revision IS 'Revision of this row that the newest checkpoint in the bucket has; 0: none has the topic at all, so its leaders describe it in an object of its own (P9).';

CREATE TABLE IF NOT EXISTS upkeep (
    agent_group         text        NOT NULL,
    checkpoint_begun    bigint      NOT NULL DEFAULT 0,
    checkpoint_revision bigint      NOT NULL DEFAULT 0,
    checkpoint_finished bigint      NOT NULL DEFAULT 0,
    finished_at         timestamptz,
    next_shard          integer     NOT NULL DEFAULT 0,
    shard_due_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT upkeep_pkey PRIMARY KEY (agent_group),
    CONSTRAINT upkeep_finishes_what_has_begun CHECK (checkpoint_finished <= checkpoint_begun),
    CONSTRAINT upkeep_shard_is_one CHECK (next_shard BETWEEN 0 AND 256)
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE upkeep IS 'How far the work on an agent group''s part of the bucket has come. Its lock is taken by whoever claims a job, and waits for nobody.';
COMMENT ON COLUMN upkeep.checkpoint_begun IS 'Number of the newest checkpoint that has begun.';
COMMENT ON COLUMN upkeep.checkpoint_revision IS 'Revision of the agent group when it began: it has every topic up to there.';
COMMENT ON COLUMN upkeep.checkpoint_finished IS 'Number of the newest checkpoint that is in the bucket; 0: none.';
COMMENT ON COLUMN upkeep.next_shard IS 'The part of the bucket that is swept next: 0 to 255 are the two hexadecimal digits of keys, 256 the topics'' descriptions.';

CREATE TABLE IF NOT EXISTS jobs (
    agent_group text        NOT NULL,
    kind        smallint    NOT NULL,
    subject     text        NOT NULL,
    job_id      uuid        NOT NULL,
    output_id   uuid        NOT NULL,
    session_id  uuid        NOT NULL,
    claimed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    detail      bytea       NOT NULL DEFAULT '',
    CONSTRAINT jobs_pkey PRIMARY KEY (agent_group, kind, subject),
    CONSTRAINT jobs_job_id_key UNIQUE (job_id),
    CONSTRAINT jobs_kind_is_known CHECK (kind > 0)
) WITH (autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0, autovacuum_analyze_threshold = 1000);
COMMENT ON TABLE jobs IS 'Work on the bucket that somebody is at. First in the lock order, before object keys.';
COMMENT ON COLUMN jobs.kind IS 'streamhouse.controlplane.v1.JobKind.';
COMMENT ON COLUMN jobs.subject IS 'What of its kind it is about; there is one job about it at a time. Empty: the agent group.';
COMMENT ON COLUMN jobs.job_id IS 'The fence: random, and another one for everyone who takes the job over. Calls that name an old one change nothing.';
COMMENT ON COLUMN jobs.output_id IS 'Stands for the session in the keys of objects that the job makes; stays when it is taken over.';
COMMENT ON COLUMN jobs.detail IS 'What the kind of job remembers.';

-- Rows come and go: what is dead is cleared away before it is a large part of the table, and does not wait for a fifth of millions of rows.
ALTER TABLE object_keys SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
ALTER TABLE segments SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05);
ALTER TABLE tenures SET (autovacuum_vacuum_scale_factor = 0.05);

-- One look for all sessions that a statement deletes: tenures have no index by session, which every grant would pay for. What it looks at is
-- what has committed when it looks, so whoever was about to refer to a deleted row (and held its lock) is seen.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION keep_sessions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM gone g JOIN partitions p ON p.leader_session_id = g.session_id)
       OR EXISTS (SELECT FROM gone g JOIN tenures t ON t.session_id = g.session_id) THEN
        RAISE EXCEPTION 'a session is still referred to by partitions or tenures' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
DROP TRIGGER IF EXISTS sessions_stay_while_referred_to ON sessions;
CREATE TRIGGER sessions_stay_while_referred_to AFTER DELETE ON sessions REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION keep_sessions();
DROP FUNCTION IF EXISTS keep_session();
