package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/tracing"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
)

// Bounds of a connection. There is no limit on how long a call may take: streams last.
const (
	headerTimeout  = 10 * time.Second
	bodyTimeout    = 30 * time.Second // between two pieces of a request's body
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	pingAfter      = 15 * time.Second // of silence on an HTTP/2 connection
	pingTimeout    = 15 * time.Second
	maxStreams     = 1000 // concurrent calls of one HTTP/2 connection
)

// Options of a server.
type Options struct {
	// Config of the listener; checked by New.
	Config Config
	// Logger takes what goes wrong. Required.
	Logger *slog.Logger
	// Authenticator knows the API keys. Required.
	Authenticator access.Authenticator
	// Register adds the service's RPCs. Required.
	Register func(*connect.Server)
	// Writes tells which procedures write records, see refusal.Interceptor. nil: none.
	Writes func(procedure string) bool
	// Valid vouches for requests that keep the rules of their message, so that these are not evaluated (5 us for each message within
	// another): a check by hand of the few that are large. It may say no to anything; what it says yes to must keep the rules. nil: no to all.
	Valid func(proto.Message) bool
	// Ready has a check for each thing that the service cannot work without, by its name. It is asked at most once a second, and twenty times
	// a second while one of them fails.
	Ready map[string]Check
	// MaxCalls is the most calls in progress at once, streams not counted; those beyond it are refused with OVERLOADED. 0: no limit, for
	// servers whose calls wait on purpose (long polls) and that have limits of their own.
	MaxCalls int
	// Admit goes between authentication and the reading of a unary call's message: it knows the caller, and may refuse before anything
	// was read. nil: everybody is admitted.
	Admit connect.ServerInterceptor
	// Transport adds options, e.g. message limits or compressors.
	Transport []connecthttp.Option
	// Routes adds plain HTTP routes, which see no authentication. nil: none.
	Routes func(*http.ServeMux)
	// Inner are interceptors between access and the service's RPCs, the outermost first.
	Inner []connect.ServerInterceptor
	// Meter measures calls by method. nil: nothing does.
	Meter metric.Meter
	// Tracer traces calls. nil: nothing does.
	Tracer *tracing.Tracer
	// BeginsTrace tells which procedures begin a trace when they are called without one: those of clients. nil: none.
	BeginsTrace func(procedure string) bool
}

// Check returns nil when the thing is usable now.
type Check func(context.Context) error

// Server is a bound listener and what it serves.
type Server struct {
	config   Config
	logger   *slog.Logger
	listener net.Listener
	http     *http.Server
	rpc      *connect.Server
	health   *health
	stopping chan struct{} // closed by Run when the stop begins
}

// New binds the listener, so that the port is known before anything is served. A Server that is not Run must be closed.
func New(options Options) (*Server, error) {
	if err := options.Config.Validate(); err != nil {
		return nil, err
	}
	server := &Server{config: options.Config, logger: options.Logger, stopping: make(chan struct{})}
	server.health = newHealth(options.Ready, server.stopping)
	if err := server.health.show(options.Meter); err != nil {
		return nil, err
	}
	handler, err := server.handler(options)
	if err != nil {
		return nil, err
	}
	server.http = newHTTP(options, handler)
	server.listener, err = bind(options.Config)
	return server, err
}

func newHTTP(options Options, handler http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(options.Config.TLSCert != "")
	protocols.SetUnencryptedHTTP2(options.Config.TLSCert == "")
	return &http.Server{
		Handler:           handler,
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(options.Logger.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerStream:     16 << 20,
			MaxReceiveBufferPerConnection: 64 << 20,
			MaxReadFrameSize:              1 << 20,
			SendPingTimeout:               pingAfter,
			PingTimeout:                   pingTimeout,
		},
	}
}

func bind(config Config) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", config.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if config.TLSCert == "" {
		return listener, nil
	}
	certificate, err := tls.LoadX509KeyPair(config.TLSCert, config.TLSKey)
	if err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	return tls.NewListener(listener, &tls.Config{
		Certificates: []tls.Certificate{certificate},
		NextProtos:   []string{"h2", "http/1.1"},
		MinVersion:   tls.VersionTLS12,
	}), nil
}

// Addr returns the address that it listens on, with the real port.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// URL returns a base URL that reaches it from this machine.
func (s *Server) URL() string { return localURL(s.Addr().String(), s.config.TLSCert != "") }

// RemoteURL returns a base URL by which other machines may reach it: where it listens on every address, by the first that is not this
// machine's alone.
func (s *Server) RemoteURL() string {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return s.URL()
	}
	return remoteURL(s.Addr().String(), s.config.TLSCert != "", own)
}

// Specs returns the RPCs that it serves.
func (s *Server) Specs() func(yield func(connect.Spec) bool) { return s.rpc.Specs() }

// Close gives a listener up that was never run.
func (s *Server) Close() error { return s.listener.Close() }

// Run serves until the context ends, then stops: no new calls, streams and long polls end (see Stopping), calls in flight have
// stop-timeout to end. What is still there is cut, and Run says so by ErrCut.
func (s *Server) Run(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-groupCtx.Done()
		return s.stop(context.WithoutCancel(groupCtx))
	})
	return group.Wait()
}

// ErrCut says that calls were cut at the end of a stop.
var ErrCut = errors.New("calls in flight were cut at the stop")

func (s *Server) stop(ctx context.Context) error {
	close(s.stopping)
	ctx, cancel := context.WithTimeout(ctx, s.config.StopTimeout)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close()
		return ErrCut
	}
	return nil
}
