-- First lock of every transaction that changes the placement of an agent group (only object keys come before it). It is what makes
-- commit order revision order. No row: no such agent group, or it was removed.
-- name: LockAgentGroup :one
SELECT revision FROM agent_groups WHERE agent_group = @agent_group AND deleted_at IS NULL FOR NO KEY UPDATE;

-- Publishes revisions that were given out under LockAgentGroup. unsettled: partitions may need another agent. reshaped: placement may have an
-- answer to what changed.
-- name: AdvanceRevision :execrows
UPDATE agent_groups SET revision = @revision, unsettled = unsettled OR @unsettled::boolean,
       shape_revision = CASE WHEN @reshaped::boolean THEN @revision ELSE shape_revision END
WHERE agent_group = @agent_group;

-- All partitions of the agent group have been given a home, or there is none to give. Requires: LockAgentGroup.
-- name: Settle :execrows
UPDATE agent_groups SET unsettled = false WHERE agent_group = @agent_group;

-- name: UnsettledAgentGroups :many
SELECT agent_group FROM agent_groups WHERE unsettled AND deleted_at IS NULL ORDER BY agent_group;

-- name: Revisions :many
SELECT agent_group, revision, shape_revision FROM agent_groups WHERE deleted_at IS NULL ORDER BY agent_group;

-- No row: no such agent group, or it was removed.
-- name: GetRevision :one
SELECT revision FROM agent_groups WHERE agent_group = @agent_group AND deleted_at IS NULL;

-- One that was removed begins again with nothing in it. No row changed: it exists.
-- name: InsertAgentGroup :execrows
INSERT INTO agent_groups (agent_group) VALUES (@agent_group)
ON CONFLICT (agent_group) DO UPDATE SET deleted_at = NULL, revision = agent_groups.revision + 1 WHERE agent_groups.deleted_at IS NOT NULL;

-- What is in each agent group (in one; empty: in all). has_partitions: also of deleted topics that are still to be purged.
-- name: AgentGroupContents :many
SELECT g.agent_group,
       (SELECT count(*) FROM topics t WHERE t.agent_group = g.agent_group AND t.deleted_at IS NULL)::int AS topics,
       (SELECT count(*) FROM sessions s WHERE s.agent_group = g.agent_group AND s.ended_at IS NULL)::int AS agents,
       (SELECT count(*) FROM api_keys k WHERE k.agent_group = g.agent_group AND k.revoked_at IS NULL)::int AS keys,
       EXISTS (SELECT 1 FROM partitions p WHERE p.agent_group = g.agent_group)::boolean AS has_partitions
FROM agent_groups g
WHERE g.deleted_at IS NULL AND (@agent_group::text = '' OR g.agent_group = @agent_group::text)
ORDER BY g.agent_group;

-- Requires: LockAgentGroup, and that it is empty. Topics, sessions and keys of a removed agent group are refused, each under that lock.
-- name: MarkAgentGroupDeleted :execrows
UPDATE agent_groups SET deleted_at = clock_timestamp(), revision = revision + 1, unsettled = false WHERE agent_group = @agent_group AND deleted_at IS NULL;

-- name: GetShapeRevision :one
SELECT shape_revision FROM agent_groups WHERE agent_group = @agent_group;
