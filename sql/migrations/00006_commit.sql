-- What lets a commit take two round trips, and a takeover not look up what it holds the locks of.
-- Locks: each table for the moment that its definition changes. The fill factors hold for pages to come. The previous release goes on.

-- +goose Up

-- +goose StatementBegin
CREATE FUNCTION all_or_nothing(rows bigint, want bigint) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF rows <> want THEN
        RAISE EXCEPTION '% rows instead of %', rows, want USING ERRCODE = 'SH001';
    END IF;
    RETURN true;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION all_or_nothing(bigint, bigint) IS 'Fails with SQLSTATE SH001 unless so many rows were changed: for guarded statements whose COMMIT is on its way already.';

-- What it answers stays. Written in SQL it was planned anew in every statement that asks, at a tenth of a millisecond.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION catalog_serves() RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT halted_at IS NULL AND life = server_life() AND (verified OR life_since < clock_timestamp() - interval '5 seconds') FROM catalog);
END
$$;
-- +goose StatementEnd

-- One commit changes many rows of one page, and all new versions must fit it (HOT).
ALTER TABLE partitions SET (fillfactor = 45);
ALTER TABLE producers SET (fillfactor = 45);
-- Packed already.
ALTER TABLE object_keys ALTER COLUMN outcome SET STORAGE EXTERNAL;
COMMENT ON COLUMN object_keys.outcome IS 'What every repeat is answered with; null: tombstone. First byte 1: every entry was committed; package commit knows the rest. Else streamhouse.controlplane.v1.ObjectOutcome without its key, failures included. Empty only inside the transaction that commits it.';

-- References that were checked for every row of a grant (8 us each, twice), and that every commit asked the triggers of. Whoever writes them
-- holds the lock of what they refer to: a grant that of the session and of the partition, a new topic's partitions come in its own
-- transaction. What remains is to watch over deletions, which are rare.
ALTER TABLE partitions DROP CONSTRAINT partitions_topic_id_fkey, DROP CONSTRAINT partitions_leader_session_id_fkey;
ALTER TABLE tenures DROP CONSTRAINT tenures_partition_id_fkey, DROP CONSTRAINT tenures_session_id_fkey;

-- The row is locked before its trigger runs: who was about to refer to it has committed, and is seen.
-- +goose StatementBegin
CREATE FUNCTION keep_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM partitions p WHERE p.leader_session_id = OLD.session_id) OR EXISTS (SELECT FROM tenures t WHERE t.session_id = OLD.session_id) THEN
        RAISE EXCEPTION 'session % is still referred to by partitions or tenures', OLD.session_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN OLD;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER sessions_stay_while_referred_to BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION keep_session();

-- +goose StatementBegin
CREATE FUNCTION keep_topic() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM partitions p WHERE p.topic_id = OLD.topic_id) THEN
        RAISE EXCEPTION 'topic % still has partitions', OLD.topic_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN OLD;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER topics_stay_while_they_have_partitions BEFORE DELETE ON topics FOR EACH ROW EXECUTE FUNCTION keep_topic();

-- +goose StatementBegin
CREATE FUNCTION drop_tenures() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM tenures t USING gone g WHERE t.partition_id = g.partition_id;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER partitions_take_their_tenures_along AFTER DELETE ON partitions REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION drop_tenures();
