-- Placement: agent groups that can be removed, capacity and drain of agents, what they report, pins, preferred zones.
-- Locks: each table for the moment that its definition changes; columns come with constant defaults, which rewrites no row. The index on
-- sessions is empty, and built while heartbeats wait: milliseconds for 100,000 sessions. The previous release goes on: it knows none of this,
-- and writes none of it.

-- +goose Up

ALTER TABLE agent_groups
    ADD COLUMN deleted_at timestamptz,
    ADD COLUMN shape_revision bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN agent_groups.deleted_at IS 'It was removed, empty. The row stays, so that its revisions go on when a group of this name is made again.';
COMMENT ON COLUMN agent_groups.shape_revision IS 'Revision of the last change that placement may have an answer to: of a session, a topic, a pin. Leaders that come and go, and the moves of placement itself, do not count.';

ALTER TABLE sessions
    ADD COLUMN capacity_bytes_per_second bigint NOT NULL DEFAULT 104857600,
    ADD COLUMN registration_id uuid,
    ADD COLUMN drain_requested boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT sessions_capacity_is_positive CHECK (capacity_bytes_per_second > 0) NOT VALID;
CREATE UNIQUE INDEX sessions_registration_id_key ON sessions (registration_id) WHERE registration_id IS NOT NULL;
COMMENT ON COLUMN sessions.capacity_bytes_per_second IS 'Bytes of records that the agent is meant for: its weight in placement.';
COMMENT ON COLUMN sessions.registration_id IS 'Names one wish for a session: a repeat of Register, however late, finds this row. Null: the agent gave none.';
COMMENT ON COLUMN sessions.drain_requested IS 'An operator wants it drained; placement treats it as draining from now on. Never goes back.';

CREATE TABLE agent_reports (
    session_id           uuid        NOT NULL,
    reported_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    in_bytes_per_second  bigint      NOT NULL,
    out_bytes_per_second bigint      NOT NULL,
    traffic              bytea       NOT NULL,
    partitions           bytea       NOT NULL,
    CONSTRAINT agent_reports_pkey PRIMARY KEY (session_id),
    CONSTRAINT agent_reports_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions ON DELETE CASCADE
) WITH (fillfactor = 50); -- a report must stay a HOT update: no index on what it changes
-- Ids hardly compress: it would only cost.
ALTER TABLE agent_reports ALTER COLUMN partitions SET STORAGE EXTERNAL;
COMMENT ON TABLE agent_reports IS 'What the agent of a session measured last. No promise rests on it.';
COMMENT ON COLUMN agent_reports.traffic IS 'streamhouse.controlplane.v1.AgentReport with nothing but traffic.';
COMMENT ON COLUMN agent_reports.partitions IS 'streamhouse.controlplane.v1.AgentReport with nothing but partitions.';

ALTER TABLE topics ADD COLUMN preferred_zones text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN topics.preferred_zones IS 'Zones whose agents should lead it while any live there; empty: every zone leads its share.';

ALTER TABLE partitions ADD COLUMN pinned boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN partitions.pinned IS 'An operator assigned it: it stays until that agent cannot lead any more, which ends the pin.';
