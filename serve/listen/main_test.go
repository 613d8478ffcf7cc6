package listen_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"go.uber.org/goleak"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/listen"
	"github.com/streamhouse/streamhouse/serve/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keyring authenticates a fixed key for each role.
type keyring struct{ admin, agent, client secret.Secret }

func newKeyring() keyring { return keyring{access.NewKey(), access.NewKey(), access.NewKey()} }

func (k keyring) Authenticate(_ context.Context, key access.KeyHash) (access.Principal, error) {
	for _, known := range []struct {
		key       secret.Secret
		principal access.Principal
	}{
		{k.admin, access.Principal{KeyID: "1", Role: accessv1.Role_ROLE_ADMIN}},
		{k.agent, access.Principal{KeyID: "2", Role: accessv1.Role_ROLE_AGENT, AgentGroup: "default"}},
		{k.client, access.Principal{KeyID: "3", Role: accessv1.Role_ROLE_CLIENT, AgentGroup: "default"}},
	} {
		if access.Hash(known.key.Reveal()) == key {
			return known.principal, nil
		}
	}
	return access.Principal{}, access.ErrUnknownKey
}

// topics is a service whose answers a test chooses.
type topics struct {
	controlplanev1connect.UnimplementedTopicServiceHandler

	get    func(context.Context, *controlplanev1.GetTopicRequest) (*controlplanev1.GetTopicResponse, error)
	create func(context.Context, *controlplanev1.CreateTopicRequest) (*controlplanev1.CreateTopicResponse, error)
}

func (s topics) GetTopic(ctx context.Context, r *controlplanev1.GetTopicRequest) (*controlplanev1.GetTopicResponse, error) {
	return s.get(ctx, r)
}

func (s topics) CreateTopic(ctx context.Context, r *controlplanev1.CreateTopicRequest) (*controlplanev1.CreateTopicResponse, error) {
	return s.create(ctx, r)
}

// agents is a service with a stream.
type agents struct {
	controlplanev1connect.UnimplementedAgentServiceHandler

	watch func(context.Context, controlplanev1connect.AgentServiceWatchServerStream) error
}

func (s agents) Watch(ctx context.Context, _ *controlplanev1.WatchRequest, stream controlplanev1connect.AgentServiceWatchServerStream) error {
	return s.watch(ctx, stream)
}

// fixture is a running server.
type fixture struct {
	*listen.Server

	keys  keyring
	log   *lines
	stop  context.CancelFunc
	ended chan error
}

type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// serve starts a server with all services of both planes; change adjusts its options.
func serve(t *testing.T, topicService topics, agentService agents, change func(*listen.Options)) *fixture {
	t.Helper()
	f := &fixture{keys: newKeyring(), log: &lines{}, ended: make(chan error, 1)}
	options := listen.Options{
		Config:        listen.Config{Listen: "127.0.0.1:0", StopTimeout: 5 * time.Second},
		Logger:        slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Authenticator: f.keys,
		Register: func(s *connect.Server) {
			controlplanev1connect.RegisterTopicServiceHandler(s, topicService)
			controlplanev1connect.RegisterAgentServiceHandler(s, agentService)
			controlplanev1connect.RegisterClusterServiceHandler(s, controlplanev1connect.UnimplementedClusterServiceHandler{})
			controlplanev1connect.RegisterKeyServiceHandler(s, controlplanev1connect.UnimplementedKeyServiceHandler{})
			dataplanev1connect.RegisterRecordServiceHandler(s, dataplanev1connect.UnimplementedRecordServiceHandler{})
			dataplanev1connect.RegisterPeerServiceHandler(s, dataplanev1connect.UnimplementedPeerServiceHandler{})
		},
	}
	if change != nil {
		change(&options)
	}
	server, err := listen.New(options)
	if err != nil {
		t.Fatal(err)
	}
	f.Server = server
	ctx, cancel := context.WithCancel(context.Background())
	f.stop = cancel
	go func() { f.ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-f.ended:
		case <-time.After(20 * time.Second):
			t.Error("the server did not stop")
		}
	})
	return f
}

// protocols are all ways to speak to a server.
var protocols = map[string][]connecthttp.Option{
	"connect":   nil,
	"json":      {connecthttp.WithProtoJSON()},
	"grpc":      {connecthttp.WithGRPC()},
	"grpc-web":  {connecthttp.WithGRPCWeb()},
	"grpc+json": {connecthttp.WithGRPC(), connecthttp.WithProtoJSON()},
}

// client makes an HTTP client whose connections end with the test.
func client(t *testing.T, http2 bool) *http.Client {
	t.Helper()
	p := new(http.Protocols)
	p.SetHTTP1(!http2)
	p.SetUnencryptedHTTP2(http2)
	transport := &http.Transport{Protocols: p}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// dial makes a Connect client that sends a key; an empty one: none.
func dial(t *testing.T, url string, key secret.Secret, options ...connecthttp.Option) *connect.Client {
	t.Helper()
	authorise := func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok && !key.Empty() {
				info.RequestHeader().Set("Authorization", "Bearer "+key.Reveal())
			}
			return next(ctx, spec)
		}
	}
	return connect.NewClient(connecthttp.NewTransport(client(t, true), url, options...), authorise)
}

// do sends a request and reads the whole answer.
func do(t *testing.T, c *http.Client, request *http.Request) (status int, header http.Header, content string) {
	t.Helper()
	response, err := c.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	all, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(all)
}
