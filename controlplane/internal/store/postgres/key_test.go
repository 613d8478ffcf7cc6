package postgres_test

import (
	"testing"

	"github.com/google/uuid"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	create := func(n byte, role accessv1.Role, agentGroup string) (*controlplanev1.Key, error) {
		return w.CreateKey(t.Context(), store.KeyHash{n}, &controlplanev1.CreateKeyRequest{Name: "k", Role: role, AgentGroup: agentGroup})
	}
	agentKey, err := create(1, accessv1.Role_ROLE_AGENT, "")
	w.must(err)
	if agentKey.GetAgentGroup() != "default" {
		t.Fatalf("key %v", agentKey)
	}
	_, err = create(2, accessv1.Role_ROLE_ADMIN, "")
	w.must(err)
	_, err = create(3, accessv1.Role_ROLE_ADMIN, "default")
	wantReason(t, err, refusalv1.Reason_REASON_INVALID)
	_, err = create(4, accessv1.Role_ROLE_CLIENT, "red")
	wantReason(t, err, refusalv1.Reason_REASON_UNKNOWN_AGENT_GROUP)
	_, err = create(1, accessv1.Role_ROLE_AGENT, "")
	wantReason(t, err, refusalv1.Reason_REASON_INVALID)

	principal, err := w.Authenticate(t.Context(), store.KeyHash{1})
	w.must(err)
	if principal.Role != accessv1.Role_ROLE_AGENT || principal.AgentGroup != group || principal.KeyID.String() != agentKey.GetKeyId() {
		t.Fatalf("principal %v", principal)
	}
	_, err = w.Authenticate(t.Context(), store.KeyHash{9})
	wantReason(t, err, refusalv1.Reason_REASON_UNKNOWN_KEY)

	revoked, err := w.RevokeKey(t.Context(), principal.KeyID)
	w.must(err)
	again, err := w.RevokeKey(t.Context(), principal.KeyID)
	w.must(err)
	if revoked.GetRevokedAt() == nil || again.GetRevokedAt().AsTime() != revoked.GetRevokedAt().AsTime() {
		t.Fatalf("revoked %v, again %v", revoked, again)
	}
	_, err = w.Authenticate(t.Context(), store.KeyHash{1})
	wantReason(t, err, refusalv1.Reason_REASON_UNKNOWN_KEY)
	_, err = w.RevokeKey(t.Context(), uuid.New())
	wantReason(t, err, refusalv1.Reason_REASON_UNKNOWN_KEY)

	w.must(w.EnsureBootstrapKey(t.Context(), store.KeyHash{7}, store.EveryAgentGroup))
	w.must(w.EnsureBootstrapKey(t.Context(), store.KeyHash{7}, store.EveryAgentGroup))
	principal, err = w.Authenticate(t.Context(), store.KeyHash{7})
	w.must(err)
	if principal.Role != accessv1.Role_ROLE_ADMIN || principal.AgentGroup != store.EveryAgentGroup {
		t.Fatalf("principal %v", principal)
	}
	w.must(w.EnsureBootstrapKey(t.Context(), store.KeyHash{8}, store.DefaultAgentGroup))
	principal, err = w.Authenticate(t.Context(), store.KeyHash{8})
	w.must(err)
	if principal.Role != accessv1.Role_ROLE_AGENT || principal.AgentGroup != store.DefaultAgentGroup {
		t.Fatalf("principal %v", principal)
	}
	keys, err := w.ListKeys(t.Context())
	w.must(err)
	if len(keys) != 4 {
		t.Fatalf("keys %v", keys)
	}
}

func TestAllocateProducerIDs_NeverTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	firsts := make(chan int64, 20)
	for range cap(firsts) {
		go func() {
			response, err := w.AllocateProducerIds(t.Context(), &controlplanev1.AllocateProducerIdsRequest{Count: 10})
			if err != nil {
				t.Error(err)
			}
			firsts <- response.GetFirstProducerId()
		}()
	}
	seen := map[int64]bool{}
	for range cap(firsts) {
		first := <-firsts
		if seen[first] || first < 1 || (first-1)%10 != 0 {
			t.Errorf("range from %d", first)
		}
		seen[first] = true
	}
}
