-- First lock of every transaction that changes the placement of an agent group (only object keys come before it). It is what makes
-- commit order revision order. No row: no such agent group.
-- name: LockAgentGroup :one
SELECT revision FROM agent_groups WHERE agent_group = @agent_group FOR NO KEY UPDATE;

-- Publishes revisions that were given out under LockAgentGroup. unsettled: partitions may need another agent.
-- name: AdvanceRevision :execrows
UPDATE agent_groups SET revision = @revision, unsettled = unsettled OR @unsettled::boolean WHERE agent_group = @agent_group;

-- All partitions of the agent group have been given a home, or there is none to give. Requires: LockAgentGroup.
-- name: Settle :execrows
UPDATE agent_groups SET unsettled = false WHERE agent_group = @agent_group;

-- name: UnsettledAgentGroups :many
SELECT agent_group FROM agent_groups WHERE unsettled ORDER BY agent_group;

-- name: Revisions :many
SELECT agent_group, revision FROM agent_groups ORDER BY agent_group;

-- No row: no such agent group.
-- name: GetRevision :one
SELECT revision FROM agent_groups WHERE agent_group = @agent_group;

-- No row changed: it exists.
-- name: InsertAgentGroup :execrows
INSERT INTO agent_groups (agent_group) VALUES (@agent_group) ON CONFLICT DO NOTHING;
