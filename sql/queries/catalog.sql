-- serves: commits and lookups are answered. verified: tenures begin, things are deleted.
-- name: CatalogState :one
SELECT c.incarnation, c.halted_at, c.halt_reasons, l.life::text AS life, (c.verified AND c.life = l.life)::boolean AS verified,
       catalog_serves()::boolean AS serves
FROM catalog c CROSS JOIN (SELECT server_life() AS life) AS l;

-- What the catalog has to say to what an agent was told: one row. agent_id: empty where the session has
-- no row in this agent group. revision: -1 where there is no such agent group. key_session_known: the session that the key names has a row, and
-- has not settled the key, whose row may be gone then.
-- name: EvidenceState :one
SELECT c.incarnation, (c.halted_at IS NOT NULL)::boolean AS halted, l.life::text AS life, (c.verified AND c.life = l.life)::boolean AS verified,
       COALESCE(s.agent_id, '')::text AS agent_id, (s.session_id IS NOT NULL AND s.ended_at IS NULL)::boolean AS lives, COALESCE(s.evidence_for, '')::text AS evidence_for,
       COALESCE((SELECT g.revision FROM agent_groups g WHERE g.agent_group = @agent_group::text), -1)::bigint AS revision,
       EXISTS (SELECT 1 FROM object_keys o WHERE o.key = @object_key::text)::boolean AS key_known,
       EXISTS (SELECT 1 FROM sessions k WHERE k.session_id = @key_session_id::uuid
               AND k.settled_object_counter <= @key_counter::bigint)::boolean AS key_session_known
FROM catalog c CROSS JOIN (SELECT server_life() AS life) AS l
LEFT JOIN sessions s ON s.session_id = @session_id::uuid AND s.agent_group = @agent_group::text;

-- Partitions as the catalog has them, for those that an agent was told of. (LIMIT keeps the planner from
-- reading all partitions where it takes the list for a long one.)
-- name: PartitionsAsKnown :many
SELECT e.ordinal::int AS ordinal, (p.partition_id IS NOT NULL)::boolean AS known, COALESCE(p.epoch, 0)::int AS epoch,
       COALESCE(p.high_watermark, 0)::bigint AS high_watermark, (t.topic_id IS NOT NULL)::boolean AS topic_known,
       (t.deleted_at IS NOT NULL OR (t.topic_id IS NOT NULL AND t.agent_group <> @agent_group::text))::boolean AS out_of_sight
FROM ROWS FROM (unnest(@topic_ids::uuid[]), unnest(@partitions::int[]), unnest(@ordinals::int[])) AS e(topic_id, partition, ordinal)
LEFT JOIN topics t ON t.topic_id = e.topic_id
LEFT JOIN LATERAL (SELECT q.partition_id, q.epoch, q.high_watermark FROM partitions q
                   WHERE q.topic_id = e.topic_id AND q.partition = e.partition LIMIT 1) AS p ON true
ORDER BY e.ordinal;

-- Transactions were lost. Idempotent; who comes later adds what it knows, up to a bound. No row changed: said before, or adopted meanwhile.
-- name: HaltCatalog :execrows
UPDATE catalog SET halted_at = COALESCE(halted_at, clock_timestamp()), halt_reasons = halt_reasons || @reasons::text[],
                   newest_incarnation = GREATEST(newest_incarnation, @newest_incarnation::smallint)
WHERE incarnation = @incarnation AND cardinality(@reasons::text[]) > 0
  AND NOT (halt_reasons @> @reasons::text[] AND newest_incarnation >= @newest_incarnation::smallint)
  AND cardinality(halt_reasons) < 100;

-- The session has shown all that it was told before this life of the server began, and nothing of it is missing.
-- name: AcceptEvidence :execrows
UPDATE sessions SET evidence_for = @life::text
WHERE session_id = @session_id AND agent_group = @agent_group AND ended_at IS NULL AND server_life() = @life::text;

-- Another life of the server has begun: nothing is verified any more. No row changed: somebody else noticed.
-- name: NoticeLife :execrows
UPDATE catalog SET life = server_life(), life_since = clock_timestamp(), verified = false
WHERE life <> server_life() AND server_life() <> 'standby';

-- No row changed: it is verified already, or halted, or sessions have not shown their evidence yet.
-- name: MarkVerified :execrows
UPDATE catalog c SET verified = true
WHERE NOT c.verified AND c.halted_at IS NULL AND c.life = server_life()
  AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.ended_at IS NULL AND s.evidence_for <> c.life);

-- Agents for whose evidence the verification waits.
-- name: AwaitedAgents :many
SELECT s.agent_id FROM sessions s JOIN catalog c ON s.evidence_for <> c.life
WHERE s.ended_at IS NULL ORDER BY s.agent_id LIMIT 100;

-- An adoption takes as long as it takes: it touches every partition.
-- name: AllowTime :exec
SELECT set_config('statement_timeout', @milliseconds::text, true);

-- All of them, in order: what follows excludes every change of placement.
-- name: LockAgentGroups :many
SELECT agent_group, revision FROM agent_groups ORDER BY agent_group FOR NO KEY UPDATE;

-- Requires: LockAgentGroups.
-- name: LockCatalog :one
SELECT incarnation, newest_incarnation, (halted_at IS NOT NULL)::boolean AS halted FROM catalog FOR UPDATE;

-- name: EndAllSessions :execrows
UPDATE sessions SET ended_at = clock_timestamp(), end_reason = 'adopted' WHERE ended_at IS NULL;

-- name: EndAllTenures :execrows
UPDATE tenures SET ended_at = clock_timestamp(), end_reason = 'adopted' WHERE ended_at IS NULL;

-- Every topic of the agent group gets a revision of its own above the given one, so that agents hear of what they take for deleted or new. No
-- checkpoint counts any more: the newest in the bucket may be one of lost transactions, and know the topic no longer.
-- name: RestampTopics :execrows
UPDATE topics t SET revision = n.place + @after::bigint, recorded_revision = 0
FROM (SELECT o.topic_id, row_number() OVER (ORDER BY o.topic_id) AS place FROM topics o WHERE o.agent_group = @agent_group) AS n
WHERE t.topic_id = n.topic_id;

-- Likewise every partition, which has no leader any more: commits of tenures before are fenced for good. Its epoch is the new incarnation's
-- floor, below the first tenure, so that every reader learns at once to forget what earlier incarnations said. Locked in order, like everywhere.
-- name: RestampPartitions :execrows
WITH locked AS MATERIALIZED (
    SELECT o.partition_id, o.topic_id, o.partition FROM partitions o WHERE o.agent_group = @agent_group
    ORDER BY o.topic_id, o.partition FOR NO KEY UPDATE
), n AS MATERIALIZED (
    SELECT l.partition_id, row_number() OVER (ORDER BY l.topic_id, l.partition) AS place FROM locked l
)
UPDATE partitions p SET leader_session_id = NULL, epoch = @epoch, revision = n.place + @after::bigint FROM n WHERE p.partition_id = n.partition_id;

-- Which catalog this is.
-- name: CatalogIdentity :one
SELECT catalog_id, incarnation FROM catalog;

-- Ids given out by lost transactions must not be given out again: each incarnation has a range of its own.
-- name: RaiseProducerIDs :execrows
UPDATE producer_ids SET next_id = GREATEST(next_id, @least::bigint);

-- Requires: LockCatalog. Nobody lives whose evidence could be awaited. complete: all that the bucket had is in the catalog.
-- name: BeginIncarnation :execrows
UPDATE catalog SET incarnation = @incarnation, newest_incarnation = @incarnation, halted_at = NULL, halt_reasons = '{}',
                   complete_incarnation = CASE WHEN @complete::boolean THEN @incarnation ELSE complete_incarnation END,
                   life = server_life(), life_since = clock_timestamp(), verified = true;
