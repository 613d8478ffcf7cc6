-- What lets a commit take two round trips.
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
