package rpc

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/access"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// keyring is a store of one key that counts how often it is asked.
type keyring struct {
	store.Keys

	role    accessv1.Role
	revoked bool
	asked   int
	// asking runs while an answer is on its way.
	asking func()
}

func (k *keyring) Authenticate(context.Context, store.KeyHash) (store.Principal, error) {
	k.asked++
	revoked := k.revoked
	if k.asking != nil {
		k.asking()
	}
	if revoked {
		return store.Principal{}, store.Refuse(refusalv1.Reason_REASON_UNKNOWN_KEY, "no such key")
	}
	return store.Principal{KeyID: uuid.New(), Role: k.role, AgentGroup: "blue"}, nil
}

func TestAuthenticator_AgentsAreRememberedForTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := &keyring{role: accessv1.Role_ROLE_AGENT}
		a := NewAuthenticator(keys)
		for range 3 {
			if p, err := a.Authenticate(t.Context(), access.KeyHash{1}); err != nil || p.AgentGroup != "blue" {
				t.Fatalf("got %v, %v", p, err)
			}
		}
		if keys.asked != 1 {
			t.Fatalf("asked %d times, want once", keys.asked)
		}
		if _, err := a.Authenticate(t.Context(), access.KeyHash{2}); err != nil || keys.asked != 2 {
			t.Fatalf("another key: asked %d times in all, want 2 (%v)", keys.asked, err)
		}
		keys.revoked = true
		time.Sleep(agentKnownFor)
		if _, err := a.Authenticate(t.Context(), access.KeyHash{1}); !errors.Is(err, access.ErrUnknownKey) {
			t.Fatalf("two seconds after it was revoked: %v, want %v", err, access.ErrUnknownKey)
		}
	})
}

func TestAuthenticator_OthersAreAskedForAtEveryCall(t *testing.T) {
	for _, role := range []accessv1.Role{accessv1.Role_ROLE_ADMIN, accessv1.Role_ROLE_CLIENT} {
		keys := &keyring{role: role}
		a := NewAuthenticator(keys)
		for want := 1; want <= 3; want++ {
			if _, err := a.Authenticate(t.Context(), access.KeyHash{1}); err != nil || keys.asked != want {
				t.Fatalf("%v: asked %d times, want %d (%v)", role, keys.asked, want, err)
			}
		}
	}
}

func TestAuthenticator_TheReplicaThatRevokesForgetsAtOnce(t *testing.T) {
	keys := &keyring{role: accessv1.Role_ROLE_AGENT}
	a := NewAuthenticator(keys)
	keys.asking = func() { // the answer was read before the key was revoked, and arrives after
		keys.asking = nil
		keys.revoked = true
		a.Forget()
	}
	if _, err := a.Authenticate(t.Context(), access.KeyHash{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Authenticate(t.Context(), access.KeyHash{1}); !errors.Is(err, access.ErrUnknownKey) {
		t.Fatalf("after it was revoked: %v, want %v", err, access.ErrUnknownKey)
	}
}
