package callers

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

type keys struct {
	mu    sync.Mutex
	err   error
	calls int
}

func (k *keys) set(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

func (k *keys) asked() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls
}

func (k *keys) Authenticate(context.Context, *controlplanev1.AuthenticateRequest) (*controlplanev1.AuthenticateResponse, error) {
	time.Sleep(time.Millisecond)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls++
	return &controlplanev1.AuthenticateResponse{KeyId: "id", Role: accessv1.Role_ROLE_CLIENT, AgentGroup: "g"}, k.err
}

func TestAnswersAreRememberedForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		catalog := &keys{}
		c := New(catalog)
		ask := func() error {
			_, err := c.Authenticate(t.Context(), access.Hash("k"))
			return err
		}
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if err := ask(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if catalog.asked() != 1 {
			t.Fatalf("%d questions for one key", catalog.asked())
		}
		unknown := refusal.Newf(refusalv1.Reason_REASON_UNKNOWN_KEY, "revoked")
		catalog.set(unknown)
		time.Sleep(29 * time.Second)
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if err := ask(); !errors.Is(err, access.ErrUnknownKey) {
			t.Fatalf("a revoked key after 31 s: %v", err)
		}
		catalog.set(nil)
		if err := ask(); !errors.Is(err, access.ErrUnknownKey) {
			t.Fatal("the refusal was not remembered")
		}
		time.Sleep(6 * time.Second)
		if err := ask(); err != nil {
			t.Fatalf("a new key after 6 s: %v", err)
		}
	})
}

func TestStaleAnswersServeWhileTheControlPlaneIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		catalog := &keys{}
		c := New(catalog)
		known, stranger := access.Hash("k"), access.Hash("s")
		if _, err := c.Authenticate(t.Context(), known); err != nil {
			t.Fatal(err)
		}
		catalog.set(errors.New("out of reach"))
		time.Sleep(59 * time.Second)
		if p, err := c.Authenticate(t.Context(), known); err != nil || p.AgentGroup != "g" {
			t.Fatalf("after 59 s: %v, %v", p, err)
		}
		if _, err := c.Authenticate(t.Context(), stranger); !refusal.Is(err, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE) {
			t.Fatalf("a stranger: %v", err)
		}
		time.Sleep(2 * time.Second)
		if _, err := c.Authenticate(t.Context(), known); !refusal.Is(err, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE) {
			t.Fatalf("after 61 s: %v", err)
		}
	})
}

func TestKeysAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(&keys{})
		for i := range 2 * maxKeys {
			c.entry(access.KeyHash{byte(i), byte(i >> 8), byte(i >> 16)})
		}
		if len(c.keys) > maxKeys {
			t.Fatalf("%d keys", len(c.keys))
		}
	})
}

func TestP7_CallersOfAnotherAgentGroupAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		who  *access.Principal
		fine bool
	}{
		"own group": {&access.Principal{Role: accessv1.Role_ROLE_CLIENT, AgentGroup: "g"}, true},
		"admin":     {&access.Principal{Role: accessv1.Role_ROLE_ADMIN}, true},
		"other":     {&access.Principal{Role: accessv1.Role_ROLE_CLIENT, AgentGroup: "h"}, false},
		"nobody":    {nil, false},
	} {
		ctx := t.Context()
		if c.who != nil {
			ctx = access.With(ctx, *c.who)
		}
		err := Admit(ctx, "g")
		if (err == nil) != c.fine || (err != nil && !refusal.Is(err, refusalv1.Reason_REASON_WRONG_AGENT_GROUP)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
