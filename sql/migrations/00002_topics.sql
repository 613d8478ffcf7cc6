-- Topics, their partitions, and who led them when.
-- All tables are new and empty.

-- +goose Up

CREATE TABLE topics (
    topic_id            uuid        NOT NULL,
    name                text        NOT NULL,
    agent_group         text        NOT NULL,
    partition_count     integer     NOT NULL,
    max_record_bytes    integer     NOT NULL,
    allow_buffered_acks boolean     NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at          timestamptz,
    revision            bigint      NOT NULL,
    CONSTRAINT topics_pkey PRIMARY KEY (topic_id),
    CONSTRAINT topics_agent_group_fkey FOREIGN KEY (agent_group) REFERENCES agent_groups,
    CONSTRAINT topics_partition_count_is_bounded CHECK (partition_count BETWEEN 1 AND 100000),
    CONSTRAINT topics_max_record_bytes_is_positive CHECK (max_record_bytes > 0)
);
CREATE UNIQUE INDEX topics_name_is_free_or_live ON topics (name) WHERE deleted_at IS NULL;
CREATE INDEX topics_by_revision ON topics (agent_group, revision);
CREATE INDEX topics_deleted ON topics (deleted_at) WHERE deleted_at IS NOT NULL;
COMMENT ON TABLE topics IS 'A topic is its random id; the name is a label that is free again once the topic is deleted.';
COMMENT ON COLUMN topics.agent_group IS 'Never changes (P7).';
COMMENT ON COLUMN topics.deleted_at IS 'Its partitions are removed in the background; the row stays for a while so that agents hear of it.';
COMMENT ON COLUMN topics.revision IS 'Revision of its agent group at the last change.';

CREATE TABLE partitions (
    partition_id      bigint  NOT NULL GENERATED ALWAYS AS IDENTITY,
    topic_id          uuid    NOT NULL,
    partition         integer NOT NULL,
    agent_group       text    NOT NULL,
    epoch             integer NOT NULL DEFAULT 0,
    leader_session_id uuid,
    high_watermark    bigint  NOT NULL DEFAULT 0,
    log_start_offset  bigint  NOT NULL DEFAULT 0,
    assigned_agent_id text,
    revision          bigint  NOT NULL,
    CONSTRAINT partitions_pkey PRIMARY KEY (topic_id, partition),
    CONSTRAINT partitions_partition_id_key UNIQUE (partition_id),
    CONSTRAINT partitions_topic_id_fkey FOREIGN KEY (topic_id) REFERENCES topics,
    CONSTRAINT partitions_leader_session_id_fkey FOREIGN KEY (leader_session_id) REFERENCES sessions,
    CONSTRAINT partitions_partition_is_not_negative CHECK (partition >= 0),
    CONSTRAINT partitions_epoch_is_not_negative CHECK (epoch >= 0),
    CONSTRAINT partitions_leader_has_an_epoch CHECK (leader_session_id IS NULL OR epoch > 0),
    CONSTRAINT partitions_log_start_is_not_negative CHECK (log_start_offset >= 0),
    CONSTRAINT partitions_log_start_is_not_beyond_the_end CHECK (log_start_offset <= high_watermark)
) WITH (fillfactor = 80); -- a commit must stay a HOT update: never index epoch, high_watermark or log_start_offset
CREATE INDEX partitions_by_revision ON partitions (agent_group, revision);
CREATE INDEX partitions_by_leader ON partitions (leader_session_id) WHERE leader_session_id IS NOT NULL;
COMMENT ON TABLE partitions IS 'Epoch and high watermark live in one row: between "am I still leader?" and "write" there is no moment (P2, P3).';
COMMENT ON COLUMN partitions.partition_id IS 'Compact name of this partition in segments, producers and tenures; never reused, so a re-created topic shares nothing.';
COMMENT ON COLUMN partitions.agent_group IS 'The topic''s; never changes.';
COMMENT ON COLUMN partitions.epoch IS 'Number of the newest tenure: incarnation * 2^23 + tenure; 0: never led. Goes up with every tenure and with nothing else.';
COMMENT ON COLUMN partitions.leader_session_id IS 'Session of the newest tenure, ended or not; null: released to nobody, or never led.';
COMMENT ON COLUMN partitions.high_watermark IS 'First offset that cannot be read yet; the only base offset that a commit may have.';
COMMENT ON COLUMN partitions.assigned_agent_id IS 'Agent that should lead it; null: none.';
COMMENT ON COLUMN partitions.revision IS 'Revision of its agent group at the last change of leader or assignment; not changed by commits.';

CREATE TABLE tenures (
    partition_id bigint      NOT NULL,
    epoch        integer     NOT NULL,
    session_id   uuid        NOT NULL,
    first_offset bigint      NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at     timestamptz,
    end_reason   text,
    CONSTRAINT tenures_pkey PRIMARY KEY (partition_id, epoch),
    CONSTRAINT tenures_partition_id_fkey FOREIGN KEY (partition_id) REFERENCES partitions (partition_id) ON DELETE CASCADE,
    CONSTRAINT tenures_session_id_fkey FOREIGN KEY (session_id) REFERENCES sessions,
    CONSTRAINT tenures_epoch_is_positive CHECK (epoch > 0),
    CONSTRAINT tenures_first_offset_is_not_negative CHECK (first_offset >= 0),
    CONSTRAINT tenures_end_has_a_reason CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
    CONSTRAINT tenures_end_reason_is_known CHECK (end_reason IN ('released', 'resigned', 'taken over', 'session ended'))
);
COMMENT ON TABLE tenures IS 'Every tenure of a session over a partition: which session wrote which epoch, from which offset on.';
COMMENT ON COLUMN tenures.end_reason IS 'released; resigned: the same session began another; taken over from a suspect; session ended before the next tenure began.';

CREATE VIEW partition_leases AS
SELECT t.name AS topic,
       p.partition,
       s.agent_id AS leader,
       s.last_heartbeat_at + s.duration_ms * interval '1 millisecond' AS expires_at,
       p.epoch
FROM partitions p
JOIN topics t ON t.topic_id = p.topic_id AND t.deleted_at IS NULL
LEFT JOIN sessions s ON s.session_id = p.leader_session_id AND s.ended_at IS NULL;
COMMENT ON VIEW partition_leases IS 'For people: who leads each partition, and when that ends if no further heartbeat arrives. Programs use the API.';
