package memory

import (
	"cmp"
	"context"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// key is an API key.
type key struct {
	hash      store.KeyHash
	principal store.Principal
	createdAt time.Time
	revokedAt time.Time // zero: it is valid
}

// CreateKey stores the hash of a new key.
func (s *Store) CreateKey(_ context.Context, hash store.KeyHash, request *controlplanev1.CreateKeyRequest) (*controlplanev1.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bound := store.AgentGroup(request.GetAgentGroup())
	if request.GetRole() == accessv1.Role_ROLE_ADMIN {
		if bound != store.EveryAgentGroup {
			return nil, invalid("agent_group", "must be empty for admins")
		}
	} else {
		bound = cmp.Or(bound, store.DefaultAgentGroup)
		if _, err := s.group(bound); err != nil {
			return nil, err
		}
	}
	if s.keyOf(hash) != nil {
		return nil, store.Refuse(refusalv1.Reason_REASON_INVALID, "this key is in use already")
	}
	return s.addKey(hash, store.Principal{Name: request.GetName(), Role: request.GetRole(), AgentGroup: bound}).message(), nil
}

func (s *Store) addKey(hash store.KeyHash, principal store.Principal) *key {
	principal.KeyID = s.config.NewID()
	k := &key{hash: hash, principal: principal, createdAt: time.Now()}
	s.keys = append(s.keys, k)
	return k
}

func (s *Store) keyOf(hash store.KeyHash) *key {
	for _, k := range s.keys {
		if k.hash == hash {
			return k
		}
	}
	return nil
}

// EnsureBootstrapKey stores a key where its hash is not known. A revoked one stays revoked.
func (s *Store) EnsureBootstrapKey(_ context.Context, hash store.KeyHash, agentGroup store.AgentGroup) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	principal := store.Principal{Name: "bootstrap", Role: accessv1.Role_ROLE_ADMIN}
	if agentGroup != store.EveryAgentGroup {
		principal.Role, principal.AgentGroup = accessv1.Role_ROLE_AGENT, agentGroup
	}
	if s.keyOf(hash) == nil {
		s.addKey(hash, principal)
	}
	return nil
}

// ListKeys lists keys by creation.
func (s *Store) ListKeys(context.Context) (keys []*controlplanev1.Key, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		keys = append(keys, k.message())
	}
	return keys, nil
}

// RevokeKey revokes a key; the first time stays.
func (s *Store) RevokeKey(_ context.Context, id uuid.UUID) (*controlplanev1.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		if k.principal.KeyID == id {
			if k.revokedAt.IsZero() {
				k.revokedAt = time.Now()
			}
			return k.message(), nil
		}
	}
	return nil, store.Refuse(refusalv1.Reason_REASON_UNKNOWN_KEY, "there is no key %s", id)
}

// Authenticate says whose key this is.
func (s *Store) Authenticate(_ context.Context, hash store.KeyHash) (store.Principal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.keyOf(hash); k != nil && k.revokedAt.IsZero() {
		return k.principal, nil
	}
	return store.Principal{}, store.Refuse(refusalv1.Reason_REASON_UNKNOWN_KEY, "the key is unknown or revoked")
}

func (k *key) message() *controlplanev1.Key {
	message := &controlplanev1.Key{
		KeyId: k.principal.KeyID.String(), Name: k.principal.Name, Role: k.principal.Role, AgentGroup: string(k.principal.AgentGroup),
		CreatedAt: timestamppb.New(k.createdAt),
	}
	if !k.revokedAt.IsZero() {
		message.RevokedAt = timestamppb.New(k.revokedAt)
	}
	return message
}
