package rpc

import (
	"context"
	"errors"
	"sync"
	"time"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/access"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

const (
	// agentKnownFor is how long an agent's key is not asked for again. An agent calls several times a second, and each commit waited for one
	// more round trip to the database. What a revoked key may do that long is what an agent in flight may do.
	agentKnownFor = 2 * time.Second
	// maxAgentKeys bounds what is remembered; beyond it all is forgotten.
	maxAgentKeys = 10_000
)

// Authenticator finds keys in the store. Those of admins and clients are asked for at every call, so that a key that has been revoked is
// refused at once; those of agents are remembered for two seconds, and forgotten at once by the replica that revokes them.
type Authenticator struct {
	keys store.Keys

	mu     sync.Mutex
	agents map[access.KeyHash]remembered
	// revocations counts calls of Forget: an answer that was read before one is not remembered after it.
	revocations int
}

type remembered struct {
	principal access.Principal
	at        time.Time
}

var _ access.Authenticator = (*Authenticator)(nil)

// NewAuthenticator remembers nothing yet.
func NewAuthenticator(keys store.Keys) *Authenticator {
	return &Authenticator{keys: keys, agents: map[access.KeyHash]remembered{}}
}

// Authenticate says whose key it is. Errors: access.ErrUnknownKey, CATALOG_UNAVAILABLE, or that of ctx.
func (a *Authenticator) Authenticate(ctx context.Context, hash access.KeyHash) (access.Principal, error) {
	known, revocations, fresh := a.recall(hash)
	if fresh {
		return known, nil
	}
	began := time.Now()
	principal, err := a.ask(ctx, hash)
	if err == nil && principal.Role == accessv1.Role_ROLE_AGENT {
		a.remember(hash, remembered{principal, began}, revocations)
	}
	return principal, err
}

// Forget asks for every key again: one was revoked.
func (a *Authenticator) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revocations++
	clear(a.agents)
}

func (a *Authenticator) recall(hash access.KeyHash) (known access.Principal, revocations int, fresh bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, found := a.agents[hash]
	return r.principal, a.revocations, found && time.Since(r.at) < agentKnownFor
}

func (a *Authenticator) remember(hash access.KeyHash, r remembered, revocations int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if revocations != a.revocations {
		return
	}
	if len(a.agents) >= maxAgentKeys {
		clear(a.agents)
	}
	a.agents[hash] = r
}

func (a *Authenticator) ask(ctx context.Context, hash access.KeyHash) (access.Principal, error) {
	principal, err := transact(ctx, reads, func(ctx context.Context) (store.Principal, error) {
		found, err := a.keys.Authenticate(ctx, store.KeyHash(hash))
		if refused, ok := errors.AsType[*store.Refused](err); ok && refused.Refusal.GetReason() == refusalv1.Reason_REASON_UNKNOWN_KEY {
			return store.Principal{}, access.ErrUnknownKey
		}
		return found, err
	})
	if err != nil {
		return access.Principal{}, err
	}
	return access.Principal{
		KeyID:      principal.KeyID.String(),
		Name:       principal.Name,
		Role:       principal.Role,
		AgentGroup: string(principal.AgentGroup),
	}, nil
}
