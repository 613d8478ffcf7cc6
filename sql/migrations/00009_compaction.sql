-- What compaction knows of objects: how often their bytes were rewritten, and which partitions are in them.
-- Locks: object_keys for the moment that its definition changes (a constant default rewrites no row). The index is built while commits go on, a
-- second or so for a million rows, which is why this migration is no transaction; each statement can be run again. The previous release goes on:
-- what it commits is of level 0.

-- +goose NO TRANSACTION
-- +goose Up

ALTER TABLE object_keys
    ADD COLUMN IF NOT EXISTS compaction_level smallint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS first_place bytea,
    ADD COLUMN IF NOT EXISTS last_place bytea;
COMMENT ON COLUMN object_keys.compaction_level IS 'How often the bytes in it were rewritten by compaction; 100: it is left as it is.';
COMMENT ON COLUMN object_keys.first_place IS 'First partition in it: the 16 bytes of the topic''s id and 4 of the partition''s number, big-endian, so that the order is that of objects. Null: it was not made by compaction.';
COMMENT ON COLUMN object_keys.last_place IS 'Last partition in it, as first_place.';

-- Large objects are in it no more, so it is as short as the tail. A commit adds one entry an object, at its end.
DROP INDEX CONCURRENTLY IF EXISTS object_keys_to_compact;
CREATE INDEX CONCURRENTLY object_keys_to_compact ON object_keys (split_part(key, '/', 1), compaction_level, object_id)
    WHERE compaction_level < 2 AND unreferenced_at IS NULL AND tombstoned_at IS NULL;
