-- No row changed: this key is known.
-- name: InsertKey :many
INSERT INTO api_keys (key_id, name, role, agent_group, key_sha256)
VALUES (@key_id, @name, @role, sqlc.narg(agent_group), @key_sha256)
ON CONFLICT (key_sha256) DO NOTHING
RETURNING *;

-- name: ListKeys :many
SELECT * FROM api_keys ORDER BY created_at, key_id;

-- Idempotent: the first time stays. No row: no such key.
-- name: RevokeKey :one
UPDATE api_keys SET revoked_at = COALESCE(revoked_at, clock_timestamp()) WHERE key_id = @key_id RETURNING *;

-- No row: unknown or revoked.
-- name: GetValidKey :one
SELECT key_id, name, role, agent_group FROM api_keys WHERE key_sha256 = @key_sha256 AND revoked_at IS NULL;
