// Package admin is a second listener of both services, for those who look after the process: profiles, the level of the log, and what the first one
// serves to anyone. It asks nobody for a key, so it is off unless an address is given, which should be one that only operators reach.
//
//	GET  /debug/pprof/…   profiles of the Go runtime
//	GET  /log-level       debug, info, warn or error
//	PUT  /log-level       sets it, until the process ends
//	GET  /metrics         as on the listener
//
// Promises: none. Read: admin.go.
package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/streamhouse/streamhouse/serve/logs"
)

// Config of the admin listener.
type Config struct {
	AdminListen string `help:"Address of a listener for operators: profiles (/debug/pprof/), the log's level (/log-level) and metrics. It asks for no key: give it an address that only they reach, e.g. 127.0.0.1:6060. Empty: none." placeholder:"HOST:PORT"`
}

// Validate says what is wrong.
func (c Config) Validate() error {
	if c.AdminListen == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.AdminListen); err != nil {
		return fmt.Errorf("admin-listen: must be HOST:PORT: %w", err)
	}
	return nil
}

const (
	headerTimeout = 10 * time.Second
	stopTimeout   = time.Second // a profile that runs is cut: nobody waits for it at a stop
	maxLevel      = 64          // bytes of a level's name
)

// Server is a bound admin listener. nil serves nothing.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// New binds the listener; nil: there is none. A Server that is not Run must be closed. routes adds what else is served.
func New(config Config, log *logs.Log, routes func(*http.ServeMux)) (*Server, error) {
	if config.AdminListen == "" {
		return nil, nil //nolint:nilnil // nothing is served
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", config.AdminListen)
	if err != nil {
		return nil, fmt.Errorf("admin-listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /log-level", func(w http.ResponseWriter, _ *http.Request) { writeLevel(w, log) })
	mux.HandleFunc("PUT /log-level", func(w http.ResponseWriter, r *http.Request) { setLevel(w, r, log) })
	routes(mux)
	return &Server{listener: listener, http: &http.Server{
		Handler: mux, ReadHeaderTimeout: headerTimeout, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}, nil
}

func writeLevel(w io.Writer, log *logs.Log) {
	_, _ = fmt.Fprintln(w, strings.ToLower(log.Level().String()))
}

func setLevel(w http.ResponseWriter, r *http.Request, log *logs.Log) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLevel))
	var level slog.Level
	if err == nil {
		err = level.UnmarshalText([]byte(strings.TrimSpace(string(text))))
	}
	if err != nil {
		http.Error(w, "the level must be debug, info, warn or error", http.StatusBadRequest)
		return
	}
	log.SetLevel(r.Context(), level)
	writeLevel(w, log)
}

// Addr is where it listens, with the real port.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Close gives up a listener that was never run.
func (s *Server) Close() {
	if s != nil {
		_ = s.listener.Close()
	}
}

// Run serves until the context ends.
func (s *Server) Run(ctx context.Context) error {
	if s == nil {
		return nil
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if s.http.Shutdown(ctx) != nil {
			_ = s.http.Close()
		}
	})
	err := s.http.Serve(s.listener)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve admin: %w", err)
}
