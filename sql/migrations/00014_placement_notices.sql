-- Replicas of the control plane are told what others change in placement, instead of asking ten times a second.
-- Locks: agent_groups, a table of a row for each agent group, for the moment in which the trigger is made: it waits for transactions that change placement,
-- and they for it. The previous release goes on: what it changes is told as well, and it asks as before.

-- +goose Up

-- +goose StatementBegin
CREATE FUNCTION tell_placement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('streamhouse_placement', '');
    RETURN NULL;
END
$$;
-- +goose StatementEnd
COMMENT ON FUNCTION tell_placement() IS 'Tells whoever listens that the placement of some agent group has changed. A hint: who misses it finds out by asking.';

CREATE TRIGGER tell_placement AFTER INSERT OR UPDATE OF revision ON agent_groups FOR EACH STATEMENT EXECUTE FUNCTION tell_placement();
