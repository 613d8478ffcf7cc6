-- How far partitions are compacted by key.
-- Locks: upkeep for the moment that its definition changes; partitions while a foreign key to it is declared, whose table is empty, so that there
-- is nothing to look at: commits wait for that moment. The previous release goes on: it knows none of this and writes none of it.

-- +goose Up

CREATE TABLE key_compactions (
    partition_id   bigint      NOT NULL,
    clean_end      bigint      NOT NULL,
    clean_bytes    bigint      NOT NULL,
    tombstones     bigint      NOT NULL,
    horizon_offset bigint      NOT NULL,
    horizon_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT key_compactions_pkey PRIMARY KEY (partition_id),
    CONSTRAINT key_compactions_partition_id_fkey FOREIGN KEY (partition_id) REFERENCES partitions (partition_id) ON DELETE CASCADE,
    CONSTRAINT key_compactions_horizon_is_clean CHECK (horizon_offset BETWEEN 0 AND clean_end),
    CONSTRAINT key_compactions_counts_are_not_negative CHECK (clean_bytes >= 0 AND tombstones >= 0)
) WITH (fillfactor = 70); -- a pass must stay a HOT update: no index on what it changes
COMMENT ON TABLE key_compactions IS 'Partitions that have been compacted by key. Whoever removes a row makes the next pass begin anew, which is always right.';
COMMENT ON COLUMN key_compactions.clean_end IS 'Below it each key has one record. First offset that is dirty.';
COMMENT ON COLUMN key_compactions.clean_bytes IS 'Bytes of the segments below it after the pass: a new one is due when what is dirty has as many.';
COMMENT ON COLUMN key_compactions.tombstones IS 'Records without a value that the pass has left.';
COMMENT ON COLUMN key_compactions.horizon_offset IS 'All below it was clean already at horizon_at: once that is longer ago than the topic keeps tombstones, those below it go.';
COMMENT ON COLUMN key_compactions.finished_at IS 'End of the last pass.';

ALTER TABLE upkeep
    ADD COLUMN key_compaction_after bigint NOT NULL DEFAULT 0,
    ADD COLUMN key_compaction_due_at timestamptz NOT NULL DEFAULT clock_timestamp();
COMMENT ON COLUMN upkeep.key_compaction_after IS 'Partition that was looked at last for what is to be compacted by key; 0: none in this round.';
COMMENT ON COLUMN upkeep.key_compaction_due_at IS 'When the next look is due.';
