// Package service is the agent as a process: its configuration, its listener, and the agent behind it. Used by cmd and by whole-system
// tests; everything else of the agent is internal.
// Nothing here decides anything about records, leases or offsets.
// Read: config.go, service.go, transport.go, bench.go.
package service

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"
	"golang.org/x/sync/errgroup"

	"github.com/streamhouse/streamhouse/serve/admin"
	"github.com/streamhouse/streamhouse/serve/listen"
	"github.com/streamhouse/streamhouse/serve/logs"
	"github.com/streamhouse/streamhouse/serve/telemetry"

	"github.com/streamhouse/streamhouse/dataplane/internal/agent"
	"github.com/streamhouse/streamhouse/dataplane/internal/answer"
	"github.com/streamhouse/streamhouse/dataplane/internal/cache"
	"github.com/streamhouse/streamhouse/dataplane/internal/catalog"
	"github.com/streamhouse/streamhouse/dataplane/internal/fetch"
	"github.com/streamhouse/streamhouse/dataplane/internal/flush"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/produce"
	"github.com/streamhouse/streamhouse/dataplane/internal/session"
	"github.com/streamhouse/streamhouse/dataplane/internal/zone"
)

// maxRequestBytes bounds a Produce.
const maxRequestBytes = 4 << 20

// lastExport bounds the export of metrics at the end.
const lastExport = 3 * time.Second

// Deps are what the process gives to the service.
type Deps struct {
	// Log takes log lines. Required.
	Log *logs.Log
	// Version of the binary, for people.
	Version string
	// Abort, when closed, ends a graceful stop at once. nil: never.
	Abort <-chan struct{}
	// Ready is called once, when the agent has its first session, with the advertised address. nil: nobody wants to know.
	Ready func(url string)
}

// Service is one agent process.
type Service struct {
	config Config
	deps   Deps
	zone   string // configured, or found
	server *listen.Server
	agent  *agent.Agent
	meters *telemetry.Provider
	admin  *admin.Server // nil: none
	idle   func()        // closes idle connections
}

// New binds the listener and prepares everything; control plane and bucket may be out of reach. A Service that is not Run must be closed.
func New(config Config, deps Deps) (*Service, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	s := &Service{config: config, deps: deps}
	if err := s.assemble(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// assemble makes the agent, then the listener in front of it.
func (s *Service) assemble() error {
	client, bulk, calls := newHTTPClient(), newBulkClient(), newCallClient()
	s.idle = func() {
		client.CloseIdleConnections()
		bulk.CloseIdleConnections()
		calls.CloseIdleConnections()
	}
	id, err := s.config.agentID()
	if err != nil {
		return err
	}
	s.zone = s.findZone(context.Background())
	s.meters, err = telemetry.New(s.config.Telemetry, telemetry.Identity{
		Service: "streamhouse-agent", Version: s.deps.Version, Attributes: map[string]string{
			"service.instance.id": id, "streamhouse.agent_group": s.config.AgentGroup, "cloud.availability_zone": s.zone,
		},
	}, s.deps.Log.Logger)
	if err != nil {
		return err
	}
	tracer := s.meters.Tracer()
	bucket := s.config.store()
	bucket.Meter, bucket.Tracer = s.meters.Meter(), tracer
	store, err := objectstore.NewS3(context.Background(), bucket)
	if err != nil {
		return err
	}
	spans, err := tracer.Client()
	if err != nil {
		return err
	}
	dial := dialer(client)
	deps := agent.Deps{
		Dial: dial, DialBulk: dialer(bulk), Interceptors: []connect.ClientInterceptor{spans, bearer(s.config.AgentKey)},
		Store: store, Bucket: s.config.S3Bucket, Log: s.deps.Log.Logger,
		Meter: s.meters.Meter(), Tracer: tracer, Ready: s.ready,
	}
	call := dialer(calls)
	for _, address := range s.config.ControlPlane {
		deps.Replicas = append(deps.Replicas, catalog.Replica{Calls: call(address), Stream: dial(address)})
	}
	if s.agent, err = agent.New(s.agentConfig(id), deps); err != nil {
		return err
	}
	if s.admin, err = admin.New(s.config.Admin, s.deps.Log, s.meters.Mount); err != nil {
		return err
	}
	s.server, err = listen.New(listen.Options{
		Config: s.config.Listener, Logger: s.deps.Log.Logger, Authenticator: s.agent.Authenticator(), Register: s.agent.Register,
		Inner:  []connect.ServerInterceptor{s.agent.Interceptor()},
		Writes: agent.Writes, Ready: s.agent.Checks(),
		Admit: s.agent.Admit, Routes: s.meters.Mount, Meter: s.meters.Meter(), Tracer: tracer, BeginsTrace: agent.BeginsTrace,
		Transport: []connecthttp.Option{
			connecthttp.WithReadMaxBytes(maxRequestBytes), connecthttp.WithCompressors(), connecthttp.WithCodecs(answer.NewCodec(), connectproto.NewJSONCodec()),
		},
	})
	return err
}

// findZone asks the machine where nobody has said in which zone it is.
func (s *Service) findZone(ctx context.Context) string {
	if s.config.Zone != "" {
		return s.config.Zone
	}
	found, err := zone.Here().Find(ctx)
	if err != nil {
		s.deps.Log.WarnContext(ctx, "zone is unknown: set it", slog.String("zone", found), slog.Any("error", err))
	} else if found != zone.Default {
		s.deps.Log.InfoContext(ctx, "zone was found", slog.String("zone", found))
	}
	return found
}

func (c Config) store() objectstore.Config {
	return objectstore.Config{
		Bucket: c.S3Bucket, Endpoint: c.S3Endpoint, Region: c.S3Region, PathStyle: c.S3PathStyle, AccessKey: c.S3AccessKey, SecretKey: c.S3SecretKey,
		Prices: objectstore.Prices{Write: c.S3WritePrice, Read: c.S3ReadPrice},
	}
}

func (s *Service) agentConfig(id string) agent.Config {
	c := s.config
	return agent.Config{
		Session:        session.Config{AgentID: id, AgentGroup: c.AgentGroup, Zone: s.zone, Address: s.URL, Version: s.deps.Version, Capacity: c.Capacity},
		MaxObjectBytes: c.MaxObjectBytes, MaxBufferedBytes: c.MaxBufferedBytes, MaxRequestBytes: maxRequestBytes,
		Verify:         produce.Level(c.Verify),
		Flush:          flush.Config{Linger: c.Linger, MaxUploads: c.MaxUploads, PutsPerSecond: c.PutsPerSecond, PutBurst: c.PutBurst},
		Fetch:          fetch.Config{LookupInterval: c.LookupInterval, Cache: cache.Config{MaxBytes: c.CacheBytes}},
		ProduceTimeout: c.ProduceTimeout, DrainDeadline: c.DrainDeadline, DrainLinger: c.DrainLinger, JobInterval: c.jobInterval(),
		CompactionBytesPerSecond: c.CompactionBytesPerSecond,
		KeyCompactionMemory:      c.KeyCompactionMemory,
	}
}

func (s *Service) ready() {
	s.deps.Log.Info("ready", slog.String("url", s.URL()))
	if s.deps.Ready != nil {
		s.deps.Ready(s.URL())
	}
}

// URL returns the advertised address, else one by which the listener can be reached.
func (s *Service) URL() string {
	if s.config.AdvertisedAddress != "" {
		return s.config.AdvertisedAddress
	}
	return s.server.RemoteURL()
}

// Close gives up a service that was never run.
func (s *Service) Close() {
	if s.server != nil {
		_ = s.server.Close()
	}
	s.admin.Close()
	if s.meters != nil {
		s.closeMeters(context.Background())
	}
	s.idle()
}

// closeMeters exports what was measured last.
func (s *Service) closeMeters(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastExport)
	defer cancel()
	if err := s.meters.Close(ctx); err != nil {
		s.deps.Log.WarnContext(ctx, "last metrics are lost", slog.Any("error", err))
	}
}

// Run serves until the context ends, then hands everything over (see agent.Agent.Run) and closes the listener last.
func (s *Service) Run(ctx context.Context) error {
	defer s.idle()
	defer s.closeMeters(ctx)
	s.deps.Log.InfoContext(ctx, "listening", slog.String("address", s.server.Addr().String()))
	serving, shut := context.WithCancel(context.WithoutCancel(ctx))
	defer shut()
	group, serving := errgroup.WithContext(serving)
	stopping, stop := context.WithCancel(ctx)
	defer stop()
	context.AfterFunc(serving, stop) // a listener that breaks ends the agent
	group.Go(func() error { return s.deps.Log.Run(serving) })
	group.Go(func() error { return s.server.Run(serving) })
	group.Go(func() error { return s.admin.Run(serving) })
	group.Go(func() error {
		defer shut()
		return s.agent.Run(stopping, s.deps.Abort)
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	s.deps.Log.InfoContext(ctx, "stopped")
	return nil
}
