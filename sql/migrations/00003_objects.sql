-- Objects in the bucket, the segments that they hold, and the producers that wrote them.
-- All tables are new and empty.

-- +goose Up

CREATE TABLE object_keys (
    object_id       bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    key             text        NOT NULL,
    session_id      uuid,
    size_bytes      bigint,
    outcome         bytea,
    reference_count integer     NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    unreferenced_at timestamptz,
    tombstoned_at   timestamptz,
    CONSTRAINT object_keys_pkey PRIMARY KEY (key),
    CONSTRAINT object_keys_object_id_key UNIQUE (object_id),
    CONSTRAINT object_keys_are_committed_or_dead CHECK ((outcome IS NULL) = (tombstoned_at IS NOT NULL)),
    CONSTRAINT object_keys_commit_names_its_session CHECK (outcome IS NULL OR (session_id IS NOT NULL AND size_bytes > 0)),
    CONSTRAINT object_keys_reference_count_is_not_negative CHECK (reference_count >= 0),
    CONSTRAINT object_keys_dead_ones_are_not_referenced CHECK (tombstoned_at IS NULL OR reference_count = 0)
) WITH (fillfactor = 80);
CREATE INDEX object_keys_unreferenced ON object_keys (unreferenced_at) WHERE unreferenced_at IS NOT NULL;
COMMENT ON TABLE object_keys IS 'Object keys whose fate is decided: committed, with the outcome that every repeat is answered with, or a tombstone. First in the lock order.';
COMMENT ON COLUMN object_keys.object_id IS 'Compact name of the object in segments.';
COMMENT ON COLUMN object_keys.session_id IS 'Session that committed it. No foreign key: a tombstone may outlive its session.';
COMMENT ON COLUMN object_keys.outcome IS 'streamhouse.controlplane.v1.ObjectOutcome without its key, failures included; null: tombstone. Empty only inside the transaction that commits it.';
COMMENT ON COLUMN object_keys.reference_count IS 'Number of rows in segments that lie in this object. Whoever changes it holds this row''s lock.';
COMMENT ON COLUMN object_keys.created_at IS 'When it was committed or tombstoned, by PostgreSQL''s clock; retention by time counts from here.';
COMMENT ON COLUMN object_keys.unreferenced_at IS 'When its last reference went, or its commit when no entry succeeded: the object may be deleted after a grace period.';

-- No foreign keys: the commit holds the locks of the partition and of the object key, and writes many rows of this table.
CREATE TABLE segments (
    partition_id     bigint  NOT NULL,
    base_offset      bigint  NOT NULL,
    object_id        bigint  NOT NULL,
    byte_position    bigint  NOT NULL,
    max_timestamp_ms bigint  NOT NULL,
    record_count     integer NOT NULL,
    size_bytes       integer NOT NULL,
    epoch            integer NOT NULL,
    crc32c           integer NOT NULL,
    CONSTRAINT segments_pkey PRIMARY KEY (partition_id, base_offset),
    CONSTRAINT segments_have_records CHECK (record_count > 0 AND base_offset >= 0),
    CONSTRAINT segments_have_bytes CHECK (size_bytes > 0 AND byte_position >= 0)
);
COMMENT ON TABLE segments IS 'One partition''s contiguous run of batches in one object. The segments of a partition follow each other without a gap up to its high watermark (P2).';
COMMENT ON COLUMN segments.object_id IS 'object_keys.object_id.';
COMMENT ON COLUMN segments.epoch IS 'Tenure that wrote it; tenures has its first offset.';
COMMENT ON COLUMN segments.crc32c IS 'CRC-32C (Castagnoli) of its bytes; the 32 bits read as a signed integer.';
COMMENT ON COLUMN segments.max_timestamp_ms IS 'Greatest record timestamp, milliseconds since 1970 UTC.';

CREATE TABLE producers (
    partition_id   bigint      NOT NULL,
    producer_id    bigint      NOT NULL,
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    producer_epoch smallint    NOT NULL,
    batches        bytea       NOT NULL,
    CONSTRAINT producers_pkey PRIMARY KEY (partition_id, producer_id),
    CONSTRAINT producers_ids_are_not_negative CHECK (producer_id >= 0 AND producer_epoch >= 0),
    CONSTRAINT producers_window_holds_one_to_five CHECK (octet_length(batches) IN (16, 32, 48, 64, 80))
) WITH (fillfactor = 70); -- HOT: no index on what a commit changes
COMMENT ON TABLE producers IS 'Where an idempotent producer stands on a partition (P5). Written by commits, under the partition''s lock.';
COMMENT ON COLUMN producers.producer_epoch IS 'Newest producer epoch that wrote.';
COMMENT ON COLUMN producers.batches IS 'Its last batches of that epoch, oldest first, one to five, 16 bytes each, big-endian: base sequence int32, record count int32, base offset int64.';
COMMENT ON COLUMN producers.updated_at IS 'Last commit, by PostgreSQL''s clock.';

CREATE TABLE producer_ids (
    only_row boolean NOT NULL DEFAULT true,
    next_id  bigint  NOT NULL DEFAULT 1,
    CONSTRAINT producer_ids_pkey PRIMARY KEY (only_row),
    CONSTRAINT producer_ids_has_one_row CHECK (only_row),
    CONSTRAINT producer_ids_next_id_is_positive CHECK (next_id > 0)
) WITH (fillfactor = 10);
COMMENT ON TABLE producer_ids IS 'One row: the next producer id that nobody has. A row, not a sequence: whole ranges are taken, and a crash must not give one out twice.';
INSERT INTO producer_ids DEFAULT VALUES;
