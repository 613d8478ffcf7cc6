-- Producers are replayed object by object instead of partition by partition, so that an object is read once.
-- Locks: recoveries, a table of at most one row, for a moment. The previous release goes on with its own columns; a recovery that both releases work on
-- replays some segments twice, which changes nothing.

-- +goose Up

ALTER TABLE recoveries
    ADD COLUMN replayed_staged_id bigint NOT NULL DEFAULT 0,
    ADD COLUMN replayed_byte_position bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN recoveries.replayed_staged_id IS 'With replayed_byte_position: producers of the staged segments up to this one have been replayed.';
COMMENT ON COLUMN recoveries.replayed_partition IS 'Written by the previous release alone, with replayed_offset.';
