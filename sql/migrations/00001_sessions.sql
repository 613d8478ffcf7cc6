-- What the cluster is made of: agent groups, agents, their sessions, keys; and the clock-keepers of silence.
-- All tables are new and empty: no lock is held for longer than it takes to create them.

-- +goose Up

CREATE TABLE catalog (
    only_row    boolean  NOT NULL DEFAULT true,
    incarnation smallint NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT catalog_pkey PRIMARY KEY (only_row),
    CONSTRAINT catalog_has_one_row CHECK (only_row),
    CONSTRAINT catalog_incarnation_is_a_byte CHECK (incarnation BETWEEN 0 AND 255)
);
COMMENT ON TABLE catalog IS 'One row: the identity of this catalog.';
COMMENT ON COLUMN catalog.incarnation IS 'Upper 8 bits of every epoch granted and part of every object key; goes up when a catalog is restored, rebuilt or adopted.';
INSERT INTO catalog DEFAULT VALUES;

CREATE TABLE pulse (
    only_row    boolean     NOT NULL DEFAULT true,
    beat_at     timestamptz NOT NULL,
    quiet_until timestamptz NOT NULL,
    CONSTRAINT pulse_pkey PRIMARY KEY (only_row),
    CONSTRAINT pulse_has_one_row CHECK (only_row)
) WITH (fillfactor = 10); -- one row, updated every second: all versions fit its page
COMMENT ON TABLE pulse IS 'One row: the sign of life of those who judge silence. Nobody is ended or suspected by silence while it is old, in the future, or quiet.';
COMMENT ON COLUMN pulse.beat_at IS 'When a judge last beat.';
COMMENT ON COLUMN pulse.quiet_until IS 'The judges were absent: nobody is ended or suspected by silence before this time.';
INSERT INTO pulse (beat_at, quiet_until) VALUES (to_timestamp(0), to_timestamp(0));

CREATE TABLE agent_groups (
    agent_group text    NOT NULL,
    revision    bigint  NOT NULL DEFAULT 0,
    unsettled   boolean NOT NULL DEFAULT false,
    CONSTRAINT agent_groups_pkey PRIMARY KEY (agent_group),
    CONSTRAINT agent_groups_name_is_a_key_prefix CHECK (agent_group ~ '^[a-z0-9-]{1,40}$'),
    CONSTRAINT agent_groups_revision_is_not_negative CHECK (revision >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE agent_groups IS 'Agent groups: each has its own topics, agents, keys and prefix in the bucket.';
COMMENT ON COLUMN agent_groups.revision IS 'Newest revision given to a topic, partition or session change of this agent group. Taken under the lock of this row, so that commit order is revision order.';
COMMENT ON COLUMN agent_groups.unsettled IS 'A session or topic changed since partitions without a live agent were last looked for.';
INSERT INTO agent_groups (agent_group) VALUES ('default');

CREATE TABLE agents (
    agent_id    text NOT NULL,
    agent_group text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT agents_pkey PRIMARY KEY (agent_id),
    CONSTRAINT agents_agent_group_fkey FOREIGN KEY (agent_group) REFERENCES agent_groups
);
COMMENT ON TABLE agents IS 'Agent ids ever seen. An id never changes its agent group (P7).';

CREATE TABLE sessions (
    session_id        uuid        NOT NULL,
    agent_id          text        NOT NULL,
    agent_group       text        NOT NULL,
    zone              text        NOT NULL,
    address           text        NOT NULL,
    version           text        NOT NULL,
    duration_ms       bigint      NOT NULL,
    started_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    draining          boolean     NOT NULL DEFAULT false,
    unfit             boolean     NOT NULL DEFAULT false,
    suspect           boolean     NOT NULL DEFAULT false,
    ended_at          timestamptz,
    end_reason        text,
    CONSTRAINT sessions_pkey PRIMARY KEY (session_id),
    CONSTRAINT sessions_agent_id_fkey FOREIGN KEY (agent_id) REFERENCES agents,
    CONSTRAINT sessions_agent_group_fkey FOREIGN KEY (agent_group) REFERENCES agent_groups,
    CONSTRAINT sessions_duration_is_positive CHECK (duration_ms > 0),
    CONSTRAINT sessions_end_has_a_reason CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
    CONSTRAINT sessions_end_reason_is_known CHECK (end_reason IN ('expired', 'superseded', 'deregistered'))
) WITH (fillfactor = 50); -- a heartbeat must stay a HOT update: no index on what it changes
CREATE UNIQUE INDEX sessions_one_lives_per_agent ON sessions (agent_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_agent ON sessions (agent_id, started_at DESC);
COMMENT ON TABLE sessions IS 'An agent''s liveness: one row per registration, renewed by heartbeats. Deleted only when no partition, tenure or object key refers to it.';
COMMENT ON COLUMN sessions.duration_ms IS 'Silence of this many milliseconds ends the session.';
COMMENT ON COLUMN sessions.last_heartbeat_at IS 'By PostgreSQL''s clock; compared with a clock by the judges alone.';
COMMENT ON COLUMN sessions.draining IS 'The agent hands its partitions over and will deregister. Never goes back.';
COMMENT ON COLUMN sessions.unfit IS 'The agent cannot write to the bucket: nothing is placed on it.';
COMMENT ON COLUMN sessions.suspect IS 'Silent for longer than --suspect-after: its partitions may be granted elsewhere. Cleared by its next heartbeat.';
COMMENT ON COLUMN sessions.ended_at IS 'Death is this fact, never a comparison with a clock. Never goes back to null.';

CREATE TABLE api_keys (
    key_id      uuid        NOT NULL,
    name        text        NOT NULL,
    role        smallint    NOT NULL,
    agent_group text,
    key_sha256  bytea       NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at  timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (key_id),
    CONSTRAINT api_keys_key_sha256_key UNIQUE (key_sha256),
    CONSTRAINT api_keys_agent_group_fkey FOREIGN KEY (agent_group) REFERENCES agent_groups,
    CONSTRAINT api_keys_role_is_known CHECK (role BETWEEN 1 AND 3),
    CONSTRAINT api_keys_admins_alone_are_unbound CHECK ((role = 1) = (agent_group IS NULL)),
    CONSTRAINT api_keys_hash_is_sha256 CHECK (octet_length(key_sha256) = 32)
);
COMMENT ON TABLE api_keys IS 'API keys, by hash. Revoked ones stay.';
COMMENT ON COLUMN api_keys.role IS 'streamhouse.access.v1.Role: 1 admin, 2 agent, 3 client.';
