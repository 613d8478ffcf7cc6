// Package service is the control plane as a whole: it opens the catalog, serves the API, watches, judges, and balances. Used by cmd and by
// whole-system tests; everything else of the control plane is internal.
// Nothing here decides anything about sessions, leases or records.
// Read: config.go, service.go, prepare.go.
package service

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/streamhouse/streamhouse/serve/admin"
	"github.com/streamhouse/streamhouse/serve/listen"
	"github.com/streamhouse/streamhouse/serve/logs"
	"github.com/streamhouse/streamhouse/serve/telemetry"
	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/controlplane/internal/console"
	"github.com/streamhouse/streamhouse/controlplane/internal/job"
	"github.com/streamhouse/streamhouse/controlplane/internal/judge"
	"github.com/streamhouse/streamhouse/controlplane/internal/rebalance"
	"github.com/streamhouse/streamhouse/controlplane/internal/retention"
	"github.com/streamhouse/streamhouse/controlplane/internal/rpc"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
	"github.com/streamhouse/streamhouse/controlplane/internal/suspicion"
	"github.com/streamhouse/streamhouse/controlplane/internal/upkeep"
	"github.com/streamhouse/streamhouse/controlplane/internal/watch"
)

// maxCalls bounds what waits for the pool's connections. A call takes milliseconds, so that this many are seconds of waiting.
const maxCalls = 1000

// lastExport bounds the export of metrics at the end.
const lastExport = 3 * time.Second

// maxHost is how much of a host's name stands in a replica's.
const maxHost = 32

// Deps are what the process gives to the service.
type Deps struct {
	// Log takes log lines. Required.
	Log *logs.Log
	// Version of the binary, for people.
	Version string
	// Ready is called once, when the catalog is up to date and calls are answered, with the advertised address. nil: nobody wants to know.
	Ready func(url string)
	// Knock asks at an agent's base URL whether somebody is there; an error that is syscall.ECONNREFUSED is the verdict that nobody is.
	// nil: GET /healthz.
	Knock func(ctx context.Context, address string) error
}

// Service is one replica of the control plane.
type Service struct {
	config   Config
	deps     Deps
	catalog  *postgres.Store
	hub      *watch.Hub
	judge    *judge.Judge
	forget   *judge.Forgetter
	janitor  *job.Janitor
	asker    *suspicion.Asker
	balancer *rebalance.Rebalancer
	keeper   *retention.Keeper
	upkeep   *upkeep.Watcher
	server   *listen.Server
	measured *telemetry.Provider
	admin    *admin.Server // nil: none
	prepared atomic.Bool   // the schema is there, and the bootstrap key
}

// New binds the listener and prepares everything; the database may be out of reach. A Service that is not Run must be closed. The
// context bounds New alone.
func New(ctx context.Context, config Config, deps Deps) (*Service, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	s := &Service{config: config, deps: deps}
	if err := s.assemble(ctx); err != nil {
		s.Close() //nolint:contextcheck // what it closes has bounds of its own
		return nil, err
	}
	return s, nil
}

func (s *Service) assemble(ctx context.Context) (err error) {
	logger := s.deps.Log.Logger
	name := replicaName()
	identity := telemetry.Identity{Service: "streamhouse-controlplane", Version: s.deps.Version, Attributes: map[string]string{"service.instance.id": name}}
	s.measured, err = telemetry.New(s.config.Telemetry, identity, logger) //nolint:contextcheck // it reaches nobody
	if err != nil {
		return err
	}
	tracer := s.measured.Tracer()
	if s.catalog, err = open(ctx, s.config, logger, tracer); err != nil {
		return err
	}
	if err = s.catalog.Measure(s.measured.Meter()); err != nil { //nolint:contextcheck // its meter wants one and uses none
		return err
	}
	if s.hub, err = watch.New(s.catalog, s.config.WatchInterval, logger); err != nil {
		return err
	}
	if s.judge, err = judge.New(s.catalog, judge.Config{SuspectAfter: s.config.SuspectAfter, Logger: logger, Tracer: tracer}); err != nil {
		return err
	}
	knock := suspicion.Knock(s.deps.Knock)
	if knock == nil {
		knock = suspicion.HTTP()
	}
	s.asker = suspicion.New(s.catalog, knock, logger, tracer)
	if s.forget, err = judge.NewForgetter(s.catalog, s.config.ProducerExpiry, logger); err != nil {
		return err
	}
	s.admin, err = admin.New(s.config.Admin, s.deps.Log, s.measured.Mount) //nolint:contextcheck // binds a local address, at once
	if err != nil {
		return err
	}
	s.janitor = job.NewJanitor(s.catalog, job.Config{Interval: s.config.forgetting(), Logger: logger})
	deciding := rebalance.Config{Name: name, Changes: s.hub.Changes, Logger: logger, Meter: s.measured.Meter()}
	s.balancer, err = rebalance.New(s.catalog, deciding) //nolint:contextcheck // as above
	if err != nil {
		return err
	}
	keys := rpc.NewAuthenticator(s.catalog)
	s.keeper, err = retention.New(s.catalog, retention.Config{Interval: s.config.RetentionInterval, Logger: logger, Meter: s.measured.Meter()})
	if err != nil {
		return err
	}
	s.upkeep, err = upkeep.New(s.catalog, upkeep.Config{
		CheckpointInterval: s.config.CheckpointInterval, Leads: s.balancer.Leading, Logger: logger, Meter: s.measured.Meter(),
	})
	if err != nil {
		return err
	}
	routes, err := s.routes()
	if err != nil {
		return err
	}
	s.server, err = listen.New(listen.Options{ //nolint:contextcheck // binds a local address, at once
		Config:        s.config.Listener,
		Logger:        logger,
		Authenticator: s.gate(keys),
		Register:      rpc.Services{Store: s.catalog, Recovery: s.catalog, Hub: s.hub, Name: name, WatchBroke: s.asker.WatchBroke, Revoked: keys.Forget}.Register,
		Valid:         rpc.Valid,
		MaxCalls:      maxCalls,
		Ready:         map[string]listen.Check{"catalog": s.ready},
		Routes:        routes,
		Meter:         s.measured.Meter(),
		Tracer:        tracer,
		BeginsTrace:   rpc.BeginsTrace,
	})
	return err
}

// routes are what the listener has beside the API: metrics and the web console.
func (s *Service) routes() (func(*http.ServeMux), error) {
	pages, err := console.New()
	if err != nil {
		return nil, err
	}
	return func(mux *http.ServeMux) {
		s.measured.Mount(mux)
		pages.Mount(mux)
	}, nil
}

// replicaName is what people see of this process: host and process id. PostgreSQL shows 40 bytes of it.
func replicaName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host[:min(len(host), maxHost)] + "/" + strconv.Itoa(os.Getpid())
}

// URL returns the advertised address, or one that reaches the listener from this machine.
func (s *Service) URL() string {
	if s.config.AdvertisedAddress != "" {
		return s.config.AdvertisedAddress
	}
	return s.server.URL()
}

// Close gives up a service that was never run.
func (s *Service) Close() {
	if s.server != nil {
		_ = s.server.Close()
	}
	s.admin.Close()
	if s.catalog != nil {
		s.catalog.Close()
	}
	if s.measured != nil {
		s.closeTelemetry(context.Background())
	}
}

// closeTelemetry exports what was measured last.
func (s *Service) closeTelemetry(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastExport)
	defer cancel()
	if err := s.measured.Close(ctx); err != nil {
		s.deps.Log.WarnContext(ctx, "last metrics are lost", slog.Any("error", err))
	}
}

// Run serves until the context ends, then stops: streams end at once, calls in flight have stop-timeout. A database that is out of
// reach is waited for, at the start as well as later; calls are refused meanwhile (CATALOG_UNAVAILABLE).
func (s *Service) Run(ctx context.Context) error {
	defer s.closeTelemetry(ctx)
	defer s.catalog.Close() // after everything below has returned
	logger := s.deps.Log.Logger
	logger.InfoContext(ctx, "listening", slog.String("address", s.server.Addr().String()))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.deps.Log.Run(ctx) })
	group.Go(func() error { return s.server.Run(ctx) })
	group.Go(func() error { return s.admin.Run(ctx) })
	group.Go(func() error { return s.work(ctx) })
	if err := group.Wait(); err != nil {
		return fmt.Errorf("control plane: %w", err)
	}
	logger.InfoContext(ctx, "stopped")
	return nil
}

// work prepares the catalog, then watches, judges and balances.
func (s *Service) work(ctx context.Context) error {
	if err := s.prepare(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	s.prepared.Store(true)
	s.deps.Log.InfoContext(ctx, "ready", slog.String("url", s.URL()))
	if s.deps.Ready != nil {
		s.deps.Ready(s.URL())
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.catalog.Hear(ctx, replicaName()) })
	group.Go(func() error { return s.hub.Run(ctx) })
	group.Go(func() error { return s.judge.Run(ctx) })
	group.Go(func() error { return s.forget.Run(ctx) })
	group.Go(func() error { return s.janitor.Run(ctx) })
	group.Go(func() error { return s.asker.Run(ctx) })
	group.Go(func() error { return s.balancer.Run(ctx) })
	group.Go(func() error { return s.keeper.Run(ctx) })
	group.Go(func() error { return s.upkeep.Run(ctx) })
	return group.Wait()
}
