-- Whether the catalog may be trusted after a restart of its database, and that it stops where transactions were lost.
-- Locks: catalog and sessions for the moment that their definitions change; a constraint is exchanged without looking at rows, since
-- what it allows is more than before. The previous release goes on: it knows none of these columns.

-- +goose Up

-- +goose StatementBegin
CREATE FUNCTION server_life() RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN 'standby';
    END IF;
    IF has_function_privilege('pg_walfile_name(pg_lsn)', 'execute') AND has_function_privilege('pg_current_wal_insert_lsn()', 'execute') THEN
        RETURN (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint || '-' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8);
    END IF;
    RETURN (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint::text;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION server_life() IS 'Names the current life of the database server: when it was started, in microseconds since 1970, and its timeline (where this role may ask for it). Another one: it was restarted, restored or promoted. A standby has none that is ever verified.';

ALTER TABLE catalog
    ADD COLUMN life text NOT NULL DEFAULT '',
    ADD COLUMN life_since timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN verified boolean NOT NULL DEFAULT false,
    ADD COLUMN halted_at timestamptz,
    ADD COLUMN halt_reasons text[] NOT NULL DEFAULT '{}',
    ADD COLUMN newest_incarnation smallint NOT NULL DEFAULT 0,
    ADD CONSTRAINT catalog_halt_has_reasons CHECK ((halted_at IS NULL) = (cardinality(halt_reasons) = 0)),
    ADD CONSTRAINT catalog_newest_incarnation_is_a_byte CHECK (newest_incarnation BETWEEN 0 AND 255);
COMMENT ON COLUMN catalog.life IS 'server_life() when somebody last noticed that it is another one.';
COMMENT ON COLUMN catalog.life_since IS 'When that was.';
COMMENT ON COLUMN catalog.verified IS 'In that life, every session that lived has shown that nothing was lost, or has ended. Else no tenure begins and nothing is deleted.';
COMMENT ON COLUMN catalog.halted_at IS 'Transactions were lost: nothing is granted, committed, read or deleted until an operator adopts the catalog.';
COMMENT ON COLUMN catalog.halt_reasons IS 'Sentences for people.';
COMMENT ON COLUMN catalog.newest_incarnation IS 'Newest incarnation that an agent has spoken of: above incarnation where an adoption itself was lost. The next one is above both.';

-- +goose StatementBegin
CREATE FUNCTION catalog_serves() RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT halted_at IS NULL AND life = server_life() AND (verified OR life_since < clock_timestamp() - interval '5 seconds') FROM catalog
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION catalog_serves() IS 'Commits and lookups wait for the verification, too, so that no reader is told "nothing there" by a catalog that is about to halt; but not for longer than it takes agents that live to speak: an agent that died with the database must not stop everyone else until its session ends.';

ALTER TABLE sessions ADD COLUMN evidence_for text;
COMMENT ON COLUMN sessions.evidence_for IS 'Life of the server for which the agent has shown all its evidence; null: none ever, from an agent that gives none.';
ALTER TABLE sessions
    DROP CONSTRAINT sessions_end_reason_is_known,
    ADD CONSTRAINT sessions_end_reason_is_known CHECK (end_reason IN ('expired', 'superseded', 'deregistered', 'adopted')) NOT VALID;
ALTER TABLE tenures
    DROP CONSTRAINT tenures_end_reason_is_known,
    ADD CONSTRAINT tenures_end_reason_is_known CHECK (end_reason IN ('released', 'resigned', 'taken over', 'session ended', 'adopted')) NOT VALID;
COMMENT ON COLUMN tenures.end_reason IS 'released; resigned: the same session began another; taken over from a suspect; session ended before the next tenure began; adopted: the catalog began a new incarnation.';
