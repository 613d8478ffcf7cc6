-- Looks at one page of producers, in the order of their key, and removes those that have written nothing for so long (P5: what they send
-- next and does not start at sequence 0 is PRODUCER_UNKNOWN). There is no index by time: updated_at changes with every commit, which must
-- stay HOT. Rows that a commit holds are passed over, so that this waits for nobody and nobody waits for more than one short statement; a
-- row is judged as it is once its lock is held. A commit that has read a row which goes before it writes is run again, or puts it back as it
-- should be.
-- looked_at: the rows on the page; fewer than asked for, and the table has ended. last_*: where the next page begins.
-- name: ForgetProducers :one
WITH page AS MATERIALIZED (
    SELECT q.partition_id, q.producer_id FROM producers q
    WHERE (q.partition_id, q.producer_id) > (@after_partition_id::bigint, @after_producer_id::bigint)
    ORDER BY q.partition_id, q.producer_id
    LIMIT @page
), idle AS MATERIALIZED (
    SELECT q.partition_id, q.producer_id FROM page g
    JOIN producers q ON q.partition_id = g.partition_id AND q.producer_id = g.producer_id
    WHERE q.updated_at < clock_timestamp() - make_interval(secs => @idle_seconds::float8)
    FOR UPDATE OF q SKIP LOCKED
), gone AS (
    DELETE FROM producers q USING idle i
    WHERE q.partition_id = i.partition_id AND q.producer_id = i.producer_id
    RETURNING 1
), last AS (
    SELECT g.partition_id, g.producer_id FROM page g ORDER BY g.partition_id DESC, g.producer_id DESC LIMIT 1
)
SELECT (SELECT count(*) FROM page)::bigint AS looked_at,
       (SELECT count(*) FROM gone)::bigint AS forgotten,
       COALESCE((SELECT l.partition_id FROM last l), 0)::bigint AS last_partition_id,
       COALESCE((SELECT l.producer_id FROM last l), 0)::bigint AS last_producer_id;
