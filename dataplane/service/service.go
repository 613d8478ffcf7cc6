// Package service is the agent as a whole: it keeps a session, takes records in, serves them, and hands its partitions over when it stops.
// Used by cmd and by whole-system tests; everything else of the agent is internal.
// Nothing here decides anything about records, leases or offsets.
// Read: config.go, service.go, stop.go, transport.go.
package service

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/listen"
	"github.com/streamhouse/streamhouse/serve/logs"

	"github.com/streamhouse/streamhouse/dataplane/internal/cache"
	"github.com/streamhouse/streamhouse/dataplane/internal/callers"
	"github.com/streamhouse/streamhouse/dataplane/internal/catalog"
	"github.com/streamhouse/streamhouse/dataplane/internal/fetch"
	"github.com/streamhouse/streamhouse/dataplane/internal/flush"
	"github.com/streamhouse/streamhouse/dataplane/internal/lease"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/peer"
	"github.com/streamhouse/streamhouse/dataplane/internal/produce"
	"github.com/streamhouse/streamhouse/dataplane/internal/record"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	"github.com/streamhouse/streamhouse/dataplane/internal/session"
	"github.com/streamhouse/streamhouse/dataplane/internal/term"
)

// maxRequestBytes bounds a Produce.
const maxRequestBytes = 4 << 20

// Deps are what the process gives to the service.
type Deps struct {
	// Log takes log lines. Required.
	Log *logs.Log
	// Version of the binary, for people.
	Version string
	// Abort, when closed, ends a graceful stop at once. nil: never.
	Abort <-chan struct{}
	// Ready is called once, when the agent has a session and the bucket has shown that it can be trusted, with the advertised address.
	// nil: nobody wants to know.
	Ready func(url string)
}

// Service is one agent.
type Service struct {
	config  Config
	deps    Deps
	id      string
	server  *listen.Server
	store   objectstore.Store
	table   *route.Table
	keeper  *session.Keeper
	desk    *term.Desk
	reader  *fetch.Service
	produce *produce.Service
	records *record.Service // filled before Run, registered at once
	idle    func()          // closes idle connections
}

// New binds the listener and prepares everything; control plane and bucket may be out of reach. A Service that is not Run must be closed.
func New(config Config, deps Deps) (*Service, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	id, err := config.agentID()
	if err != nil {
		return nil, err
	}
	s := &Service{config: config, deps: deps, id: id, records: &record.Service{}}
	if err := s.assemble(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// assemble makes the parts in the order of their needs.
func (s *Service) assemble() error {
	client := newHTTPClient()
	s.idle = client.CloseIdleConnections
	dial, key := dialer(client), bearer(s.config.AgentKey)
	var replicas []connect.Transport
	for _, address := range s.config.ControlPlane {
		replicas = append(replicas, dial(address))
	}
	control, err := catalog.New(replicas, 0, key)
	if err != nil {
		return err
	}
	if s.store, err = s.bucket(); err != nil {
		return err
	}
	s.table = route.New(s.id, control)
	s.reader, err = fetch.New(s.config.AgentGroup, s.table, control, s.store, fetch.Config{
		LookupInterval: s.config.LookupInterval, Cache: cache.Config{MaxBytes: s.config.CacheBytes},
	}, s.deps.Log.Logger)
	if err != nil {
		return err
	}
	if s.server, err = s.listen(callers.New(control)); err != nil {
		return err
	}
	s.write(control, peer.New(dial, key))
	return nil
}

func (s *Service) bucket() (objectstore.Store, error) {
	return objectstore.NewS3(context.Background(), objectstore.Config{
		Bucket: s.config.S3Bucket, Endpoint: s.config.S3Endpoint, Region: s.config.S3Region, PathStyle: s.config.S3PathStyle,
		AccessKey: s.config.S3AccessKey, SecretKey: s.config.S3SecretKey,
	})
}

// write makes the write path.
func (s *Service) write(control *catalog.Client, peers *peer.Peers) {
	health := flush.NewHealth()
	unfit := func() bool { return health.Unfit(time.Now()) }
	logger := s.deps.Log.Logger
	s.keeper = session.New(session.Config{
		AgentID: s.id, AgentGroup: s.config.AgentGroup, Zone: s.config.Zone, Address: s.URL(), Version: s.deps.Version, Unfit: unfit,
	}, control, s.table, logger)
	s.desk = term.NewDesk(term.Config{
		AgentID: s.id, AgentGroup: s.config.AgentGroup, MaxObjectBytes: s.config.MaxObjectBytes, MaxBufferedBytes: s.config.MaxBufferedBytes,
		Flush: flush.Config{Linger: s.config.Linger, MaxUploads: s.config.MaxUploads}, Store: s.store, Health: health, Catalog: control,
		Table: s.table, Observer: s.reader, Handed: lease.NewHanded(s.config.DrainLinger), DrainHeard: s.keeper.Announced(), Log: logger,
	})
	s.produce = produce.New(produce.Config{
		Self: route.Agent{ID: s.id, Zone: s.config.Zone, Address: s.URL()}, AgentGroup: s.config.AgentGroup, Desk: s.desk, Table: s.table,
		Catalog: control, Lookups: s.reader.Coalescer(), Peers: peers, Timeout: s.config.ProduceTimeout, Log: logger,
	})
	*s.records = record.Service{
		Reader: s.reader, Writer: s.produce,
		Metadata:    record.NewMetadata(s.table, s.id, s.config.AgentGroup, s.claims),
		ProducerIDs: record.NewProducerIDs(control, s.config.AgentGroup),
	}
}

// claims tells whether this agent may say that it leads.
func (s *Service) claims(p partition.ID) bool {
	_, leads := s.desk.Leads(p)
	return leads
}

func (s *Service) listen(authenticator access.Authenticator) (*listen.Server, error) {
	return listen.New(listen.Options{
		Config:        s.config.Listener,
		Logger:        s.deps.Log.Logger,
		Authenticator: authenticator,
		Register: func(server *connect.Server) {
			dataplanev1connect.RegisterRecordServiceHandler(server, s.records)
			dataplanev1connect.RegisterPeerServiceHandler(server, peers{s})
		},
		Writes:    writes,
		Ready:     map[string]listen.Check{"session": s.ready},
		Transport: []connecthttp.Option{connecthttp.WithReadMaxBytes(maxRequestBytes), connecthttp.WithCompressors()},
	})
}

// peers is PeerService.
type peers struct{ service *Service }

// ForwardProduce takes a Produce from another agent.
func (p peers) ForwardProduce(ctx context.Context, req *dataplanev1.ForwardProduceRequest) (*dataplanev1.ForwardProduceResponse, error) {
	return p.service.produce.ForwardProduce(ctx, req)
}

func writes(procedure string) bool {
	return procedure == dataplanev1connect.RecordServiceProduceProcedure ||
		procedure == dataplanev1connect.PeerServiceForwardProduceProcedure
}

var errNoSession = errors.New("no live session")

func (s *Service) ready(context.Context) error {
	if !s.desk.Alive() {
		return errNoSession
	}
	return nil
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
	s.idle()
}
