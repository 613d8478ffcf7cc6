package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"google.golang.org/protobuf/types/known/timestamppb"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// bootstrapName is the name of the key that the operator brings along.
const bootstrapName = "bootstrap"

// CreateKey stores the hash of a new key. A repeat after a lost answer finds its own row by the hash.
func (s *Store) CreateKey(ctx context.Context, hash store.KeyHash, request *controlplanev1.CreateKeyRequest) (*controlplanev1.Key, error) {
	agentGroup := store.AgentGroup(request.GetAgentGroup())
	admin := request.GetRole() == accessv1.Role_ROLE_ADMIN
	if admin && agentGroup != "" {
		return nil, refuseField("agent_group", "must be empty for admins: they belong to none")
	}
	if !admin && agentGroup == "" {
		agentGroup = store.DefaultAgentGroup
	}
	arg := db.InsertKeyParams{
		KeyID: uuid.New(), Name: request.GetName(), Role: int16(request.GetRole()), KeySha256: hash[:],
	}
	if !admin {
		name := string(agentGroup)
		arg.AgentGroup = &name
	}
	return s.insertKey(ctx, arg, agentGroup)
}

func (s *Store) insertKey(ctx context.Context, arg db.InsertKeyParams, agentGroup store.AgentGroup) (*controlplanev1.Key, error) {
	var key *controlplanev1.Key
	err := s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		if arg.AgentGroup != nil { // its lock: an agent group with a valid key is not removed
			if _, err := enterPlace(ctx, q, agentGroup); err != nil {
				return err
			}
		}
		rows, err := q.InsertKey(ctx, arg)
		if err != nil {
			return fmt.Errorf("insert key: %w", err)
		}
		if len(rows) == 1 {
			key = keyMessage(rows[0])
			return nil
		}
		key, err = findKey(ctx, q, arg.KeyID)
		return err
	})
	return key, err
}

// findKey finds the row of an earlier attempt.
func findKey(ctx context.Context, q *db.Queries, id uuid.UUID) (*controlplanev1.Key, error) {
	rows, err := q.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	for _, row := range rows {
		if row.KeyID == id {
			return keyMessage(row), nil
		}
	}
	return nil, store.Refuse(refusalv1.Reason_REASON_INVALID, "this key is in use already")
}

func violates(err error, constraint string) bool {
	var answered *pgconn.PgError
	return errors.As(err, &answered) && answered.ConstraintName == constraint
}

// EnsureBootstrapKey stores an agent's or, without an agent group, an admin's key where it is not known.
func (s *Store) EnsureBootstrapKey(ctx context.Context, hash store.KeyHash, agentGroup store.AgentGroup) error {
	key := db.InsertKeyParams{KeyID: uuid.New(), Name: bootstrapName, Role: int16(accessv1.Role_ROLE_ADMIN), KeySha256: hash[:]}
	if agentGroup != store.EveryAgentGroup {
		key.Role, key.AgentGroup = int16(accessv1.Role_ROLE_AGENT), new(string(agentGroup))
	}
	return s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		_, err := q.InsertKey(ctx, key)
		return err
	})
}

// ListKeys lists keys by creation.
func (s *Store) ListKeys(ctx context.Context) (keys []*controlplanev1.Key, err error) {
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		rows, err := q.ListKeys(ctx)
		keys = make([]*controlplanev1.Key, len(rows))
		for i, row := range rows {
			keys[i] = keyMessage(row)
		}
		return err
	})
	return keys, err
}

// RevokeKey revokes a key; the first time stays.
func (s *Store) RevokeKey(ctx context.Context, keyID uuid.UUID) (key *controlplanev1.Key, err error) {
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		row, err := q.RevokeKey(ctx, keyID)
		if errors.Is(err, pgx.ErrNoRows) {
			return store.Refuse(refusalv1.Reason_REASON_UNKNOWN_KEY, "there is no key %s", keyID)
		}
		key = keyMessage(row)
		return err
	})
	if err != nil {
		return nil, err
	}
	return key, nil
}

// Authenticate says whose key this is.
func (s *Store) Authenticate(ctx context.Context, hash store.KeyHash) (principal store.Principal, err error) {
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		row, err := q.GetValidKey(ctx, hash[:])
		if errors.Is(err, pgx.ErrNoRows) {
			return store.Refuse(refusalv1.Reason_REASON_UNKNOWN_KEY, "this API key is unknown or revoked")
		}
		principal = store.Principal{
			KeyID: row.KeyID, Name: row.Name, Role: accessv1.Role(row.Role), AgentGroup: store.AgentGroup(text(row.AgentGroup)),
		}
		return err
	})
	return principal, err
}

func keyMessage(row db.ApiKey) *controlplanev1.Key {
	key := &controlplanev1.Key{
		KeyId: row.KeyID.String(), Name: row.Name, Role: accessv1.Role(row.Role), AgentGroup: text(row.AgentGroup),
		CreatedAt: timestamppb.New(row.CreatedAt),
	}
	if row.RevokedAt != nil {
		key.RevokedAt = timestamppb.New(*row.RevokedAt)
	}
	return key
}
