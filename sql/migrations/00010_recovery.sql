-- Where a recovery keeps what the bucket has, until the catalog is made of it.
-- All tables are new and empty, and stay empty but for a recovery. The previous release goes on: it knows none of them.

-- +goose Up

CREATE TABLE recoveries (
    only_row            boolean     NOT NULL DEFAULT true,
    recovery_id         uuid        NOT NULL,
    kind                smallint    NOT NULL,
    step                smallint    NOT NULL DEFAULT 1,
    begun_at            timestamptz NOT NULL DEFAULT clock_timestamp(),
    newest_incarnation  smallint    NOT NULL DEFAULT 0,
    settled_staged_id   bigint      NOT NULL DEFAULT 0,
    replayed_partition  bigint      NOT NULL DEFAULT 0,
    replayed_offset     bigint      NOT NULL DEFAULT -1,
    notes               text[]      NOT NULL DEFAULT '{}',
    CONSTRAINT recoveries_pkey PRIMARY KEY (only_row),
    CONSTRAINT recoveries_one_at_a_time CHECK (only_row),
    CONSTRAINT recoveries_kind_is_known CHECK (kind BETWEEN 1 AND 2),
    CONSTRAINT recoveries_step_is_known CHECK (step BETWEEN 1 AND 4)
);
COMMENT ON TABLE recoveries IS 'The recovery that is under way, if any. Every step locks this row first, so that two callers take turns.';
COMMENT ON COLUMN recoveries.kind IS 'streamhouse.controlplane.v1.RecoveryKind.';
COMMENT ON COLUMN recoveries.step IS 'streamhouse.controlplane.v1.RecoveryStep.';
COMMENT ON COLUMN recoveries.newest_incarnation IS 'Newest incarnation that the bucket speaks of, in keys, epochs and checkpoints: the next one is above it.';
COMMENT ON COLUMN recoveries.settled_staged_id IS 'Objects up to this one have their outcome.';
COMMENT ON COLUMN recoveries.replayed_partition IS 'With replayed_offset: producers of the segments up to this one have been replayed.';
COMMENT ON COLUMN recoveries.notes IS 'Sentences for people.';

CREATE TABLE recovery_shards (
    agent_group text     NOT NULL,
    shard       smallint NOT NULL,
    CONSTRAINT recovery_shards_pkey PRIMARY KEY (agent_group, shard),
    CONSTRAINT recovery_shards_are_a_byte CHECK (shard BETWEEN 0 AND 255)
);
COMMENT ON TABLE recovery_shards IS 'Parts of the bucket that are wholly taken in.';

CREATE TABLE recovery_objects (
    staged_id   bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    key         text        NOT NULL,
    session_id  uuid        NOT NULL,
    size_bytes  bigint      NOT NULL,
    modified_at timestamptz NOT NULL,
    fault       text        NOT NULL,
    CONSTRAINT recovery_objects_pkey PRIMARY KEY (staged_id),
    CONSTRAINT recovery_objects_key_key UNIQUE (key)
);
COMMENT ON TABLE recovery_objects IS 'Objects in the bucket; of a roll-forward, those that the catalog did not know.';
COMMENT ON COLUMN recovery_objects.modified_at IS 'By the bucket''s clock: from here retention by time counts where the catalog''s own time is lost.';

CREATE TABLE recovery_segments (
    topic_id            uuid    NOT NULL,
    partition           integer NOT NULL,
    base_offset         bigint  NOT NULL,
    staged_id           bigint  NOT NULL,
    byte_position       bigint  NOT NULL,
    max_timestamp_ms    bigint  NOT NULL,
    tenure_first_offset bigint  NOT NULL,
    record_count        integer NOT NULL,
    size_bytes          integer NOT NULL,
    epoch               integer NOT NULL,
    crc32c              integer NOT NULL,
    CONSTRAINT recovery_segments_pkey PRIMARY KEY (topic_id, partition, base_offset, staged_id)
);
CREATE INDEX recovery_segments_by_object ON recovery_segments (staged_id, byte_position);
COMMENT ON TABLE recovery_segments IS 'What the footers of recovery_objects name: candidates for the logs.';

CREATE TABLE recovery_topics (
    topic_id        uuid        NOT NULL,
    from_checkpoint boolean     NOT NULL,
    agent_group     text        NOT NULL,
    name            text        NOT NULL,
    created_at      timestamptz NOT NULL,
    partition_count integer     NOT NULL,
    deleted         boolean     NOT NULL,
    config          bytea       NOT NULL,
    CONSTRAINT recovery_topics_pkey PRIMARY KEY (topic_id, from_checkpoint)
);
COMMENT ON TABLE recovery_topics IS 'Topics as the newest checkpoints and the descriptions have them.';
COMMENT ON COLUMN recovery_topics.config IS 'streamhouse.controlplane.v1.TopicConfig.';

CREATE TABLE recovery_marks (
    topic_id         uuid    NOT NULL,
    partition        integer NOT NULL,
    log_start_offset bigint  NOT NULL,
    high_watermark   bigint  NOT NULL,
    epoch            integer NOT NULL,
    CONSTRAINT recovery_marks_pkey PRIMARY KEY (topic_id, partition)
);
COMMENT ON TABLE recovery_marks IS 'Partitions as the newest checkpoints have them.';

CREATE TABLE recovery_partitions (
    partition_id   bigint  NOT NULL,
    built          boolean NOT NULL DEFAULT false,
    first_offset   bigint  NOT NULL DEFAULT 0,
    high_watermark bigint  NOT NULL DEFAULT 0,
    lost           bigint  NOT NULL DEFAULT 0,
    segment_count  integer NOT NULL DEFAULT 0,
    size_bytes     bigint  NOT NULL DEFAULT 0,
    CONSTRAINT recovery_partitions_pkey PRIMARY KEY (partition_id)
);
COMMENT ON TABLE recovery_partitions IS 'Partitions whose logs are made, and what was added to each.';
COMMENT ON COLUMN recovery_partitions.first_offset IS 'Segments from here on were added.';
COMMENT ON COLUMN recovery_partitions.lost IS 'Offsets below a high watermark that is known, and which are not there.';
