package service_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/refusal"
	"github.com/streamhouse/streamhouse/serve/secret"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
)

// methods lists every RPC of the control plane from its descriptors.
func methods() []connect.Spec {
	var specs []connect.Spec
	protoregistry.GlobalFiles.RangeFilesByPackage("streamhouse.controlplane.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				method := service.Methods().Get(j)
				specs = append(specs, connect.Spec{
					Procedure:  "/" + string(service.FullName()) + "/" + string(method.Name()),
					StreamType: connect.StreamTypeServer, // for the client; the wire is told apart by method
					Schema:     method,
				})
			}
		}
		return true
	})
	return specs
}

// knock calls an RPC with an empty request and returns how it ended. What matters is whether the door opened.
func knock(t *testing.T, c *connect.Client, spec connect.Spec) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	method, _ := spec.Schema.(protoreflect.MethodDescriptor)
	if !method.IsStreamingServer() {
		spec.StreamType = connect.StreamTypeUnary
		return c.CallUnary(ctx, spec, &emptypb.Empty{}, &emptypb.Empty{})
	}
	stream, err := c.CallServerStream(ctx, spec, &emptypb.Empty{})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	return stream.Receive(&emptypb.Empty{})
}

// TestEveryRPCAndRole calls every RPC in every role, without a key, with an unknown one, and with one that was revoked.
func TestEveryRPCAndRole(t *testing.T) {
	t.Parallel()
	r := serve(t, configure(pgtest.URL(t)))
	roles := map[accessv1.Role]*connect.Client{
		accessv1.Role_ROLE_ADMIN:  r.dial(r.admin),
		accessv1.Role_ROLE_AGENT:  r.dial(r.key(accessv1.Role_ROLE_AGENT, "default")),
		accessv1.Role_ROLE_CLIENT: r.dial(r.key(accessv1.Role_ROLE_CLIENT, "")),
	}
	strangers := map[string]*connect.Client{"no key": r.dial(secret.Secret{}), "an unknown key": r.dial(access.NewKey())}
	for role := range roles {
		strangers["a revoked key of "+role.String()] = r.dial(revoked(t, r, role))
	}
	all := methods()
	if len(all) < 20 {
		t.Fatalf("only %d RPCs", len(all))
	}
	for _, spec := range all {
		for role, client := range roles {
			err := knock(t, client, spec)
			if shut := refusal.Is(err, refusalv1.Reason_REASON_MISSING_ROLE); shut == slices.Contains(access.AllowedRoles(spec), role) {
				t.Errorf("%s as %v: got %v", spec.Procedure, role, err)
			}
			if refusal.Is(err, refusalv1.Reason_REASON_UNAUTHENTICATED) || refusal.Is(err, refusalv1.Reason_REASON_INTERNAL) {
				t.Errorf("%s as %v: got %v", spec.Procedure, role, err)
			}
		}
		for name, client := range strangers {
			wants(t, spec.Procedure+" with "+name, knock(t, client, spec), refusalv1.Reason_REASON_UNAUTHENTICATED)
		}
	}
}

func revoked(t *testing.T, r *replica, role accessv1.Role) secret.Secret {
	t.Helper()
	keys := r.keys(r.admin)
	made, err := keys.CreateKey(t.Context(), &controlplanev1.CreateKeyRequest{Name: "soon revoked", Role: role})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // idempotent
		if _, err := keys.RevokeKey(t.Context(), &controlplanev1.RevokeKeyRequest{KeyId: made.GetKey().GetKeyId()}); err != nil {
			t.Fatal(err)
		}
	}
	return secret.New(made.GetSecret())
}

func TestKeysAreShownOnceAndListedWithoutSecrets(t *testing.T) {
	t.Parallel()
	r := serve(t, configure(pgtest.URL(t)))
	keys := r.keys(r.admin)
	made, err := keys.CreateKey(t.Context(), &controlplanev1.CreateKeyRequest{Name: "a", Role: accessv1.Role_ROLE_CLIENT})
	if err != nil || !access.WellFormed(made.GetSecret()) || made.GetKey().GetAgentGroup() != "default" {
		t.Fatalf("got %v, %v", made, err)
	}
	list, err := keys.ListKeys(t.Context(), &controlplanev1.ListKeysRequest{})
	if err != nil || len(list.GetKeys()) != 2 {
		t.Fatalf("got %v, %v", list, err)
	}
	who, err := r.agents(r.key(accessv1.Role_ROLE_AGENT, "")).Authenticate(t.Context(), authenticate(secret.New(made.GetSecret())))
	if err != nil || who.GetKeyId() != made.GetKey().GetKeyId() || who.GetRole() != accessv1.Role_ROLE_CLIENT || who.GetAgentGroup() != "default" {
		t.Errorf("got %v, %v", who, err)
	}
	_, err = r.agents(r.key(accessv1.Role_ROLE_AGENT, "")).Authenticate(t.Context(), authenticate(access.NewKey()))
	wants(t, "authenticate a stranger", err, refusalv1.Reason_REASON_UNKNOWN_KEY)
	_, err = keys.CreateKey(t.Context(), &controlplanev1.CreateKeyRequest{Name: "a", Role: accessv1.Role_ROLE_ADMIN, AgentGroup: "default"})
	wants(t, "an admin with an agent group", err, refusalv1.Reason_REASON_INVALID)
	_, err = keys.CreateKey(t.Context(), &controlplanev1.CreateKeyRequest{Name: "a", Role: accessv1.Role_ROLE_AGENT, AgentGroup: "nowhere"})
	wants(t, "an unknown agent group", err, refusalv1.Reason_REASON_UNKNOWN_AGENT_GROUP)
	_, err = keys.RevokeKey(t.Context(), &controlplanev1.RevokeKeyRequest{KeyId: "5b0c4f5e-0a55-4a9c-8e4f-6f0b5b1d2c3a"})
	wants(t, "revoke an unknown key", err, refusalv1.Reason_REASON_UNKNOWN_KEY)
}

func authenticate(key secret.Secret) *controlplanev1.AuthenticateRequest {
	hash := access.Hash(key.Reveal())
	return &controlplanev1.AuthenticateRequest{KeySha256: hash[:]}
}

// TestARevokedBootstrapKeyStaysRevoked restarts with the same key.
func TestARevokedBootstrapKeyStaysRevoked(t *testing.T) {
	t.Parallel()
	config := configure(pgtest.URL(t))
	first := serve(t, config)
	list, err := first.keys(first.admin).ListKeys(t.Context(), &controlplanev1.ListKeysRequest{})
	if err != nil || len(list.GetKeys()) != 1 {
		t.Fatalf("got %v, %v", list, err)
	}
	if _, err := first.keys(first.admin).RevokeKey(t.Context(), &controlplanev1.RevokeKeyRequest{KeyId: list.GetKeys()[0].GetKeyId()}); err != nil {
		t.Fatal(err)
	}
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	again := serve(t, config)
	_, err = again.keys(again.admin).ListKeys(t.Context(), &controlplanev1.ListKeysRequest{})
	wants(t, "the revoked key after a restart", err, refusalv1.Reason_REASON_UNAUTHENTICATED)
}
