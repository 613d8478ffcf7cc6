package service_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"go.uber.org/goleak"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/logs"
	"github.com/streamhouse/streamhouse/serve/refusal"
	"github.com/streamhouse/streamhouse/serve/secret"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
	"github.com/streamhouse/streamhouse/controlplane/service"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// replica is a control plane that runs in this process, as its binary runs it.
type replica struct {
	t     *testing.T
	url   string
	admin secret.Secret
	stop  context.CancelFunc
	ended chan error
	ready chan struct{} // closed when it is
}

// configure makes the configuration of a replica on a database.
func configure(database string) service.Config {
	config := service.DefaultConfig()
	config.Listener.Listen = "127.0.0.1:0"
	config.DatabaseURL = secret.New(database)
	config.PoolSize = 8
	config.BootstrapAdminKey = access.NewKey()
	config.AllowUnsafeDatabase = true // pgtest's has fsync off
	config.SuspectAfter = time.Hour   // a slow machine must cause no takeover
	return config
}

// launch starts a replica and does not wait until it is ready.
func launch(t *testing.T, config service.Config) *replica {
	t.Helper()
	log, err := logs.New(testLog{t}, logs.Config{LogLevel: slog.LevelWarn, LogFormat: "text", LogRate: logs.DefaultRate})
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{t: t, admin: config.BootstrapAdminKey, ended: make(chan error, 1), ready: make(chan struct{})}
	s, err := service.New(t.Context(), config, service.Deps{Log: log, Ready: func(string) { close(r.ready) }})
	if err != nil {
		t.Fatal(err)
	}
	r.url = s.URL()
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.ended <- s.Run(ctx) }()
	t.Cleanup(func() { _ = r.end() })
	return r
}

// serve starts a replica and waits until it is ready.
func serve(t *testing.T, config service.Config) *replica {
	t.Helper()
	r := launch(t, config)
	r.awaitReady()
	return r
}

func (r *replica) awaitReady() {
	r.t.Helper()
	select {
	case <-r.ready:
	case err := <-r.ended:
		r.t.Fatalf("ended before it was ready: %v", err)
	case <-time.After(30 * time.Second):
		r.t.Fatal("not ready after 30 s")
	}
}

// end stops the replica and returns what Run said; again and again the same.
func (r *replica) end() error {
	r.stop()
	select {
	case err := <-r.ended:
		r.ended <- err
		return err
	case <-time.After(30 * time.Second):
		r.t.Error("did not stop within 30 s")
		return context.DeadlineExceeded
	}
}

// testLog shows a service's warnings with the test that caused them.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// dial makes a client for a key; an empty one: none.
func (r *replica) dial(key secret.Secret, options ...connecthttp.Option) *connect.Client {
	r.t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	r.t.Cleanup(transport.CloseIdleConnections)
	authorise := func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok && !key.Empty() {
				info.RequestHeader().Set("Authorization", "Bearer "+key.Reveal())
			}
			return next(ctx, spec)
		}
	}
	return connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: transport}, r.url, options...), authorise)
}

func (r *replica) topics(key secret.Secret) controlplanev1connect.TopicServiceClient {
	return controlplanev1connect.NewTopicServiceClient(r.dial(key))
}

func (r *replica) keys(key secret.Secret) controlplanev1connect.KeyServiceClient {
	return controlplanev1connect.NewKeyServiceClient(r.dial(key))
}

func (r *replica) cluster(key secret.Secret) controlplanev1connect.ClusterServiceClient {
	return controlplanev1connect.NewClusterServiceClient(r.dial(key))
}

func (r *replica) agents(key secret.Secret) controlplanev1connect.AgentServiceClient {
	return controlplanev1connect.NewAgentServiceClient(r.dial(key))
}

// key makes an API key.
func (r *replica) key(role accessv1.Role, group string) secret.Secret {
	r.t.Helper()
	made, err := r.keys(r.admin).CreateKey(r.t.Context(), &controlplanev1.CreateKeyRequest{Name: "test", Role: role, AgentGroup: group})
	if err != nil {
		r.t.Fatal(err)
	}
	return secret.New(made.GetSecret())
}

// noLeaks fails the test if goroutines that it started are left when all else of it has ended. Call it first.
func noLeaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// wants fails unless a peer refused with the reason.
func wants(t *testing.T, what string, err error, reason refusalv1.Reason) *refusalv1.Refusal {
	t.Helper()
	got, ok := refusal.FromError(err)
	if !ok || got.GetReason() != reason {
		t.Errorf("%s: got %v, want %v", what, err, reason)
	}
	if ok && connect.CodeOf(err) != refusal.Code(reason) {
		t.Errorf("%s: code %v", what, connect.CodeOf(err))
	}
	return got
}
