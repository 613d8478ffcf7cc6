package listen_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	connectv1 "connectrpc.com/connect"
	"connectrpc.com/connect/v2"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect/v2"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/listen"
	"github.com/streamhouse/streamhouse/serve/refusal"
	"github.com/streamhouse/streamhouse/serve/secret"
)

// call calls an RPC with an empty request, whatever its shape, and returns how it ended. A verdict that came before the request was sent is lost to a
// client that only streams afterwards: it calls again.
func call(t *testing.T, c *connect.Client, spec connect.Spec) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		err := callOnce(ctx, c, spec)
		if !errors.Is(err, io.EOF) || ctx.Err() != nil {
			return err
		}
	}
}

func callOnce(ctx context.Context, c *connect.Client, spec connect.Spec) error {
	stream, err := c.CallServerStream(ctx, spec, &controlplanev1.DeregisterResponse{}) // any empty message
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	return stream.Receive(&controlplanev1.DeregisterResponse{})
}

// TestEveryRPCAndRole walks the rules of all services: a role that is declared passes the door, any other does not.
func TestEveryRPCAndRole(t *testing.T) {
	t.Parallel()
	f := serve(t, topics{
		get: func(context.Context, *controlplanev1.GetTopicRequest) (*controlplanev1.GetTopicResponse, error) {
			return &controlplanev1.GetTopicResponse{}, nil
		},
	}, agents{}, nil)
	rules := access.Rules(f.Specs())
	if len(rules) < 20 {
		t.Fatalf("only %d RPCs", len(rules))
	}
	keys := map[accessv1.Role]secret.Secret{
		accessv1.Role_ROLE_ADMIN: f.keys.admin, accessv1.Role_ROLE_AGENT: f.keys.agent, accessv1.Role_ROLE_CLIENT: f.keys.client,
	}
	for _, rule := range rules {
		if len(rule.Roles) == 0 {
			t.Errorf("%s declares no role", rule.Spec.Procedure)
		}
		for role, key := range keys {
			err := call(t, dial(t, f.URL(), key), rule.Spec)
			refused := refusal.Is(err, refusalv1.Reason_REASON_MISSING_ROLE)
			if refused == slices.Contains(rule.Roles, role) {
				t.Errorf("%s as %v: got %v", rule.Spec.Procedure, role, err)
			}
		}
		for name, key := range map[string]secret.Secret{"no key": {}, "unknown": access.NewKey(), "malformed": secret.New("shk_x")} {
			err := call(t, dial(t, f.URL(), key), rule.Spec)
			if !refusal.Is(err, refusalv1.Reason_REASON_UNAUTHENTICATED) || connect.CodeOf(err) != connect.CodeUnauthenticated {
				t.Errorf("%s with %s: got %v", rule.Spec.Procedure, name, err)
			}
		}
	}
}

// TestAMethodWithoutRolesIsRefusedToAll registers a method whose schema declares none.
func TestAMethodWithoutRolesIsRefusedToAll(t *testing.T) {
	t.Parallel()
	undeclared := connect.Spec{Procedure: "/a.B/C"}
	f := serve(t, topics{}, agents{}, func(o *listen.Options) {
		register := o.Register
		o.Register = func(s *connect.Server) {
			register(s)
			s.Register(connect.Method{Spec: undeclared, Handler: func(_ context.Context, _ connect.Spec, stream connect.ServerStream) error {
				return stream.Send(&controlplanev1.DeregisterResponse{})
			}})
		}
	})
	for _, key := range []secret.Secret{f.keys.admin, f.keys.agent, f.keys.client} {
		if err := call(t, dial(t, f.URL(), key), undeclared); !refusal.Is(err, refusalv1.Reason_REASON_MISSING_ROLE) {
			t.Errorf("got %v", err)
		}
	}
}

// TestABodyIsNotReadBeforeTheKey sends a body that never ends: whoever has no key is refused at once.
func TestABodyIsNotReadBeforeTheKey(t *testing.T) {
	t.Parallel()
	f := serve(t, topics{}, agents{}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	endless, write := io.Pipe()
	defer func() { _ = write.Close() }()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost,
		f.URL()+controlplanev1connect.TopicServiceCreateTopicProcedure, endless)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/proto")
	if status, _, text := do(t, client(t, true), request); status != http.StatusUnauthorized || !strings.Contains(text, "unauthenticated") {
		t.Errorf("got %d %s", status, text)
	}
}

func TestReflectionNeedsAnyKey(t *testing.T) {
	t.Parallel()
	f := serve(t, topics{}, agents{}, nil)
	list := func(key secret.Secret) (int, error) {
		stream := grpcreflect.NewClient(dial(t, f.URL(), key)).NewStream(t.Context())
		defer func() { _ = stream.Close() }()
		services, err := stream.ListServices()
		return len(services), err
	}
	for _, key := range []secret.Secret{f.keys.admin, f.keys.agent, f.keys.client} {
		if n, err := list(key); err != nil || n < 6 {
			t.Errorf("got %d services, %v", n, err)
		}
	}
	if _, err := list(secret.Secret{}); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("without a key: got %v", err)
	}
}

func TestHealthIsPublicAndSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	var asked atomic.Int32
	f := serve(t, topics{}, agents{}, func(o *listen.Options) {
		o.Ready = map[string]listen.Check{"catalog": func(context.Context) error {
			asked.Add(1)
			if broken.Load() {
				return errors.New("dial db.internal: refused")
			}
			return nil
		}}
	})
	health := grpchealth.NewClient(client(t, true), f.URL(), connectv1.WithGRPC())
	status := func(service string) (grpchealth.Status, error) {
		answer, err := health.Check(t.Context(), &grpchealth.CheckRequest{Service: service})
		if err != nil {
			return 0, err
		}
		return answer.Status, nil
	}
	for range 50 {
		if got, err := status(""); err != nil || got != grpchealth.StatusServing {
			t.Fatalf("got %v, %v", got, err)
		}
	}
	if n := asked.Load(); n > 10 {
		t.Errorf("50 questions ran the check %d times", n)
	}
	if got, err := status(controlplanev1connect.TopicServiceName); err != nil || got != grpchealth.StatusServing {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := status("nothing.Nothing"); connectv1.CodeOf(err) != connectv1.CodeNotFound {
		t.Errorf("got %v", err)
	}
	if code, text := get(t, f.URL()+"/readyz"); code != http.StatusOK || !strings.Contains(text, `"ready":true`) {
		t.Errorf("got %d %s", code, text)
	}
	broken.Store(true)
	waitFor(t, func() bool { code, _ := get(t, f.URL()+"/readyz"); return code == http.StatusServiceUnavailable })
	if _, text := get(t, f.URL()+"/readyz"); !strings.Contains(text, "catalog") || strings.Contains(text, "db.internal") {
		t.Errorf("got %s", text)
	}
	if code, text := get(t, f.URL()+"/healthz"); code != http.StatusOK || text != "ok\n" {
		t.Errorf("the process lives: got %d %q", code, text)
	}
	if got, err := status(""); err != nil || got != grpchealth.StatusNotServing {
		t.Errorf("got %v, %v", got, err)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	status, _, content := do(t, client(t, false), request)
	return status, content
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("did not happen within a minute")
		}
	}
}

func TestHealthcheckOfOneself(t *testing.T) {
	t.Parallel()
	f := serve(t, topics{}, agents{}, nil)
	config := listen.Config{Listen: f.Addr().String()}
	if err := listen.Healthcheck(t.Context(), config); err != nil {
		t.Error(err)
	}
	f.stop()
	waitFor(t, func() bool { return listen.Healthcheck(t.Context(), config) != nil })
}

func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	const page = "https://console.example.com"
	f := serve(t, topics{}, agents{}, func(o *listen.Options) { o.Config.CORSOrigins = []string{page} })
	closed := serve(t, topics{}, agents{}, nil)
	preflight := func(url, origin string) (int, http.Header) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, url+controlplanev1connect.TopicServiceGetTopicProcedure, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Origin", origin)
		request.Header.Set("Access-Control-Request-Method", http.MethodPost)
		status, header, _ := do(t, client(t, false), request)
		return status, header
	}
	status, header := preflight(f.URL(), page)
	if status != http.StatusNoContent || header.Get("Access-Control-Allow-Origin") != page ||
		!strings.Contains(header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("got %d %v", status, header)
	}
	if _, header = preflight(f.URL(), "https://evil.example.com"); header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another page: got %v", header)
	}
	if _, header = preflight(closed.URL(), page); header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("closed by default: got %v", header)
	}
}
