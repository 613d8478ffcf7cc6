-- Objects of an agent group that may be deleted: their last reference went longer ago than the grace, and a checkpoint that began after that is in
-- the bucket; or they are dead, and whoever killed them has not deleted them since. What is found here stays so: nothing refers to an object anew.
-- name: DeletableObjects :many
(SELECT o.key FROM object_keys o
 WHERE split_part(o.key, '/', 1) = @agent_group::text AND o.freed_in IS NOT NULL AND o.deleted_at IS NULL
   AND o.freed_in <= @checkpoint::bigint AND o.reference_count = 0
   AND o.unreferenced_at < clock_timestamp() - make_interval(secs => @grace_seconds::float8)
 ORDER BY o.unreferenced_at LIMIT @page)
UNION ALL
(SELECT o.key FROM object_keys o
 WHERE split_part(o.key, '/', 1) = @agent_group::text AND o.tombstoned_at IS NOT NULL AND o.deleted_at IS NULL
   AND o.tombstoned_at < clock_timestamp() - make_interval(secs => LEAST(@grace_seconds::float8, 60))
 ORDER BY o.tombstoned_at LIMIT @page)
LIMIT @page;

-- The objects of these keys are gone. Keys of objects that must not be deleted stay as they are. Rows are locked in key order.
-- name: MarkDeleted :execrows
WITH locked AS MATERIALIZED (
    SELECT o.object_id FROM object_keys o WHERE o.key = ANY(@keys::text[]) ORDER BY o.key FOR NO KEY UPDATE
)
UPDATE object_keys o SET deleted_at = clock_timestamp() FROM locked l
WHERE o.object_id = l.object_id AND o.deleted_at IS NULL AND o.reference_count = 0
  AND (o.tombstoned_at IS NOT NULL OR o.freed_in <= @checkpoint::bigint);

-- Keys of a sweep that have a row; dead: nothing will ever refer to its object. A later statement than InsertTombstones.
-- name: SweptKeys :many
SELECT o.key, (o.tombstoned_at IS NOT NULL OR o.deleted_at IS NOT NULL)::boolean AS dead FROM object_keys o WHERE o.key = ANY(@keys::text[]);

-- Of the sessions and jobs that keys name those that may still commit them, with the counter below which a session will not.
-- name: LiveWriters :many
SELECT s.session_id AS writer_id, s.settled_object_counter AS below FROM sessions s WHERE s.session_id = ANY(@ids::uuid[]) AND s.ended_at IS NULL
UNION ALL
SELECT j.output_id AS writer_id, 0 AS below FROM jobs j WHERE j.output_id = ANY(@ids::uuid[]);

-- Of these topics those whose description is still needed: they are not deleted, or no checkpoint in the bucket says so yet.
-- name: TopicsToDescribe :many
SELECT t.topic_id FROM topics t
WHERE t.topic_id = ANY(@topic_ids::uuid[]) AND t.agent_group = @agent_group AND (t.deleted_at IS NULL OR t.recorded_revision < t.revision);

-- Looks at one page of keys whose objects are gone and forgets those that are settled: their session has said so, or is forgotten itself, and no
-- job may commit them. A commit of such a key finds no row and is refused all the same: it reads the session after it has inserted the key, which
-- waits for this. looked_at, last_key: as in ForgetProducers.
-- name: ForgetObjects :one
WITH page AS MATERIALIZED (
    SELECT o.key, substring(o.key FROM '^[^/]+/[0-9a-f]{2}/[0-9]{1,3}-([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})-[0-9]{1,20}$')::uuid AS writer_id,
           substring(o.key FROM '-([0-9]{1,20})$')::numeric AS counter
    FROM object_keys o WHERE o.deleted_at IS NOT NULL AND o.key > @after ORDER BY o.key LIMIT @page
), settled AS MATERIALIZED (
    SELECT g.key FROM page g LEFT JOIN sessions s ON s.session_id = g.writer_id
    WHERE (s.session_id IS NULL OR g.counter < s.settled_object_counter) AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.output_id = g.writer_id)
), unlocked AS MATERIALIZED (
    SELECT o.object_id FROM settled e JOIN object_keys o ON o.key = e.key WHERE o.deleted_at IS NOT NULL FOR UPDATE OF o SKIP LOCKED
), gone AS (
    DELETE FROM object_keys o USING unlocked u WHERE o.object_id = u.object_id RETURNING 1
)
SELECT (SELECT count(*) FROM page)::bigint AS looked_at, (SELECT count(*) FROM gone)::bigint AS forgotten,
       COALESCE((SELECT max(g.key COLLATE "C") FROM page g), '')::text AS last_key;

-- Looks at one page of tenures and forgets those that nothing needs: a later one began at or below the log start, and no segment of theirs is left.
-- The newest of a partition always stays.
-- name: ForgetTenures :one
WITH page AS MATERIALIZED (
    SELECT t.partition_id, t.epoch FROM tenures t
    WHERE (t.partition_id, t.epoch) > (@after_partition_id::bigint, @after_epoch::int)
    ORDER BY t.partition_id, t.epoch LIMIT @page
), passed AS MATERIALIZED (
    SELECT g.partition_id, g.epoch FROM page g
    JOIN partitions p ON p.partition_id = g.partition_id
    CROSS JOIN LATERAL (SELECT n.first_offset FROM tenures n WHERE n.partition_id = g.partition_id AND n.epoch > g.epoch ORDER BY n.epoch LIMIT 1) AS later
    WHERE later.first_offset <= p.log_start_offset
      AND NOT EXISTS (SELECT 1 FROM segments s WHERE s.partition_id = g.partition_id AND s.base_offset < later.first_offset)
), gone AS (
    DELETE FROM tenures t USING passed e WHERE t.partition_id = e.partition_id AND t.epoch = e.epoch RETURNING 1
), last AS (
    SELECT g.partition_id, g.epoch FROM page g ORDER BY g.partition_id DESC, g.epoch DESC LIMIT 1
)
SELECT (SELECT count(*) FROM page)::bigint AS looked_at, (SELECT count(*) FROM gone)::bigint AS forgotten,
       COALESCE((SELECT l.partition_id FROM last l), 0)::bigint AS last_partition_id, COALESCE((SELECT l.epoch FROM last l), 0)::int AS last_epoch;

-- Forgets sessions that ended so long ago that nothing refers to. Whoever is about to refer to one holds its lock, and is passed over.
-- name: ForgetSessions :execrows
WITH idle AS MATERIALIZED (
    SELECT s.session_id FROM sessions s
    WHERE s.ended_at < clock_timestamp() - make_interval(secs => @idle_seconds::float8)
      AND NOT EXISTS (SELECT 1 FROM partitions p WHERE p.leader_session_id = s.session_id)
      AND NOT EXISTS (SELECT 1 FROM tenures t WHERE t.session_id = s.session_id)
      AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.session_id = s.session_id)
    LIMIT @page
    FOR UPDATE OF s SKIP LOCKED
)
DELETE FROM sessions s USING idle i WHERE s.session_id = i.session_id;
