-- How long topics keep their records.
-- Locks: topics for the moment that its definition changes; columns come with constant defaults, which rewrites no row, and constraints are
-- not held against rows that are there. The previous release goes on: it knows none of this, and the topics that it makes keep everything.

-- +goose Up

ALTER TABLE topics
    ADD COLUMN retention_ms bigint NOT NULL DEFAULT -1,
    ADD COLUMN retention_bytes bigint NOT NULL DEFAULT -1,
    ADD COLUMN cleanup_policy smallint NOT NULL DEFAULT 1,
    ADD COLUMN delete_retention_ms bigint NOT NULL DEFAULT 86400000,
    ADD COLUMN min_compaction_lag_ms bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT topics_retention_is_a_bound_or_none CHECK (retention_ms = -1 OR retention_ms > 0) NOT VALID,
    ADD CONSTRAINT topics_retention_bytes_is_a_bound_or_none CHECK (retention_bytes = -1 OR retention_bytes > 0) NOT VALID,
    ADD CONSTRAINT topics_cleanup_policy_is_known CHECK (cleanup_policy BETWEEN 1 AND 3) NOT VALID,
    ADD CONSTRAINT topics_compaction_times_are_not_negative CHECK (delete_retention_ms >= 0 AND min_compaction_lag_ms >= 0) NOT VALID;
COMMENT ON COLUMN topics.retention_ms IS 'Records are kept for this many milliseconds from their commit; -1: for ever, as topics do that were there before.';
COMMENT ON COLUMN topics.retention_bytes IS 'Each partition keeps at least this many stored bytes, and drops older segments; -1: all.';
COMMENT ON COLUMN topics.cleanup_policy IS 'streamhouse.controlplane.v1.CleanupPolicy: 1 delete, 2 compact, 3 both.';
COMMENT ON COLUMN topics.delete_retention_ms IS 'Compaction by key keeps tombstones for this many milliseconds.';
COMMENT ON COLUMN topics.min_compaction_lag_ms IS 'Compaction by key leaves records alone for this many milliseconds from their commit.';

COMMENT ON COLUMN partitions.log_start_offset IS 'First offset that can be read. Only rises, never beyond the high watermark. Segments wholly below it are removed in a later transaction; it may lie inside a segment.';
