-- How far the work on each agent group's part of the bucket is behind, for people. Read from the partial indexes of objects that wait, of each
-- kind at most so many entries: what is counted costs the same however far it is behind. Ages are by PostgreSQL's clock, in seconds; those of the
-- two where entries have no order are of what was counted. Nothing rests on it.
-- name: UpkeepStates :many
SELECT g.agent_group,
       GREATEST(EXTRACT(epoch FROM n.now - COALESCE(u.finished_at, t.oldest)), 0)::float8 AS checkpoint_seconds,
       GREATEST(EXTRACT(epoch FROM n.now - u.shard_due_at), 0)::float8 AS sweep_seconds,
       f.objects AS freed_objects, GREATEST(EXTRACT(epoch FROM n.now - f.oldest), 0)::float8 AS freed_seconds,
       w.objects AS waiting_objects, GREATEST(EXTRACT(epoch FROM n.now - w.oldest), 0)::float8 AS waiting_seconds,
       d.objects AS dead_objects, GREATEST(EXTRACT(epoch FROM n.now - d.oldest), 0)::float8 AS dead_seconds,
       GREATEST(EXTRACT(epoch FROM n.now - p.oldest) - @grace_seconds::float8, 0)::float8 AS overdue_seconds
FROM agent_groups g LEFT JOIN upkeep u ON u.agent_group = g.agent_group
CROSS JOIN (SELECT clock_timestamp() AS now) AS n
CROSS JOIN LATERAL (SELECT min(o.created_at) AS oldest FROM topics o WHERE o.agent_group = g.agent_group AND o.deleted_at IS NULL AND u.finished_at IS NULL) AS t
CROSS JOIN LATERAL (
    SELECT count(*) AS objects, min(q.unreferenced_at) AS oldest FROM (
        SELECT o.unreferenced_at FROM object_keys o
        WHERE split_part(o.key, '/', 1) = g.agent_group AND o.unreferenced_at IS NOT NULL AND o.freed_in IS NULL LIMIT @most
    ) AS q
) AS f
CROSS JOIN LATERAL (
    SELECT count(*) AS objects, min(q.unreferenced_at) AS oldest FROM (
        SELECT o.unreferenced_at FROM object_keys o
        WHERE split_part(o.key, '/', 1) = g.agent_group AND o.freed_in IS NOT NULL AND o.deleted_at IS NULL ORDER BY o.unreferenced_at LIMIT @most
    ) AS q
) AS w
CROSS JOIN LATERAL (
    SELECT count(*) AS objects, min(q.tombstoned_at) AS oldest FROM (
        SELECT o.tombstoned_at FROM object_keys o
        WHERE split_part(o.key, '/', 1) = g.agent_group AND o.tombstoned_at IS NOT NULL AND o.deleted_at IS NULL ORDER BY o.tombstoned_at LIMIT @most
    ) AS q
) AS d
CROSS JOIN LATERAL (
    SELECT min(q.unreferenced_at) FILTER (WHERE q.freed_in <= u.checkpoint_finished) AS oldest FROM (
        SELECT o.unreferenced_at, o.freed_in FROM object_keys o
        WHERE split_part(o.key, '/', 1) = g.agent_group AND o.freed_in IS NOT NULL AND o.deleted_at IS NULL ORDER BY o.unreferenced_at LIMIT 1000
    ) AS q
) AS p
WHERE g.deleted_at IS NULL
ORDER BY g.agent_group;

-- Jobs that somebody is at, or has left.
-- name: HeldJobs :many
SELECT j.agent_group, j.kind, count(*) AS jobs, GREATEST(EXTRACT(epoch FROM clock_timestamp() - min(j.claimed_at)), 0)::float8 AS oldest_seconds
FROM jobs j GROUP BY j.agent_group, j.kind ORDER BY j.agent_group, j.kind;

-- What PostgreSQL believes that the catalog's tables hold: its running estimates, or, where it has lost those in a crash, what the last vacuum saw.
-- No table is read.
-- name: TableSizes :many
SELECT c.relname::text AS name,
       COALESCE(NULLIF(pg_stat_get_live_tuples(c.oid), 0), GREATEST(c.reltuples, 0)::bigint)::bigint AS live_rows,
       pg_stat_get_dead_tuples(c.oid)::bigint AS dead_rows,
       pg_total_relation_size(c.oid)::bigint AS size_bytes
FROM pg_catalog.pg_class c
WHERE c.relkind = 'r' AND c.relnamespace = (SELECT current_schema()::regnamespace::oid)
ORDER BY c.relname;
