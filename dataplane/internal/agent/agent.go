// Package agent is one agent without its listener: what reaches the control plane, other agents and the bucket is passed in, and whatever
// serves its RPCs is the caller's. So whole agents run in one process on virtual time.
// Nothing here decides anything about records, leases or offsets: it puts the write path and the read path together, and stops them in order.
//
// Promises: planned stops cost no client a visible error (section 5 of the protocol).
// Read: agent.go, peer.go, measure.go, run.go.
package agent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/listen"
	"github.com/streamhouse/streamhouse/serve/tracing"

	"github.com/streamhouse/streamhouse/dataplane/internal/callers"
	"github.com/streamhouse/streamhouse/dataplane/internal/catalog"
	"github.com/streamhouse/streamhouse/dataplane/internal/commit"
	"github.com/streamhouse/streamhouse/dataplane/internal/compact"
	"github.com/streamhouse/streamhouse/dataplane/internal/describe"
	"github.com/streamhouse/streamhouse/dataplane/internal/evidence"
	"github.com/streamhouse/streamhouse/dataplane/internal/fetch"
	"github.com/streamhouse/streamhouse/dataplane/internal/flush"
	"github.com/streamhouse/streamhouse/dataplane/internal/inventory"
	"github.com/streamhouse/streamhouse/dataplane/internal/job"
	"github.com/streamhouse/streamhouse/dataplane/internal/keycompact"
	"github.com/streamhouse/streamhouse/dataplane/internal/lease"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/pace"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/peer"
	"github.com/streamhouse/streamhouse/dataplane/internal/produce"
	"github.com/streamhouse/streamhouse/dataplane/internal/record"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	"github.com/streamhouse/streamhouse/dataplane/internal/session"
	"github.com/streamhouse/streamhouse/dataplane/internal/term"
	"github.com/streamhouse/streamhouse/dataplane/internal/traffic"
)

// Config of an agent; all is required.
type Config struct {
	// Session says who registers; its Unfit is filled in here.
	Session session.Config
	// MaxObjectBytes seals an object; MaxBufferedBytes bounds what is in flight, MaxRequestBytes one call.
	MaxObjectBytes   int
	MaxBufferedBytes int
	MaxRequestBytes  int
	// Verify is how far producers' batches are verified.
	Verify produce.Level
	Flush  flush.Config
	Fetch  fetch.Config
	// ProduceTimeout bounds a Produce.
	ProduceTimeout time.Duration
	// DrainDeadline bounds a graceful stop; DrainLinger is how long late requests are forwarded after a hand-over.
	DrainDeadline time.Duration
	DrainLinger   time.Duration
	// JobInterval is the time between two questions for work on the bucket; 0: this agent does none.
	JobInterval time.Duration
	// CompactionBytesPerSecond is what compaction, also by key, reads at most; 0: its default.
	CompactionBytesPerSecond int64
	// KeyCompactionMemory bounds the keys that one pass of compaction by key knows, in bytes; 0: 64 MiB.
	KeyCompactionMemory int64
}

// Deps are how the agent reaches the world.
type Deps struct {
	// Replicas are the ways to the control plane's replicas.
	Replicas []catalog.Replica
	// Dial makes the transport to another agent.
	Dial peer.Dial
	// DialBulk makes the one for large answers; nil: Dial does.
	DialBulk peer.Dial
	// Interceptors go on all calls that the agent makes.
	Interceptors []connect.ClientInterceptor
	// Store is the bucket.
	Store objectstore.Store
	// Bucket is its name, for operators.
	Bucket string
	Log    *slog.Logger
	// Meter measures. nil: nothing does.
	Meter metric.Meter
	// Tracer makes spans. nil: nothing does.
	Tracer *tracing.Tracer
	// Ready is called once, when the agent has its first session. nil: nobody wants to know.
	Ready func()
}

// defaultCapacity is what the control plane takes a capacity of 0 for.
const defaultCapacity = 100 << 20

// Agent is one agent.
type Agent struct {
	config  Config
	deps    Deps
	control *catalog.Client
	table   *route.Table
	keeper  *session.Keeper
	desk    *term.Desk
	reader  *fetch.Service
	produce *produce.Service
	gate    *produce.Gate
	records record.Service
	traffic *traffic.Book
	trusted atomic.Bool // the bucket has passed its test
	jobs    *job.Runner // nil: it does none
}

// New puts an agent together; nothing is reached before Run.
func New(config Config, deps Deps) (*Agent, error) {
	if deps.Meter == nil {
		deps.Meter = noop.Meter{}
	}
	control, err := catalog.New(deps.Replicas, 0, deps.Interceptors...)
	if err != nil {
		return nil, err
	}
	a := &Agent{config: config, deps: deps, control: control, table: route.New(config.Session.AgentID, control)}
	if a.traffic, err = traffic.New(config.Session.Zone, cmp.Or(config.Session.Capacity, defaultCapacity), deps.Meter); err != nil {
		return nil, err
	}
	others := peer.New(deps.Dial, deps.DialBulk, deps.Interceptors...)
	reading := config.Fetch
	reading.Self, reading.Zone, reading.Peers = config.Session.AgentID, config.Session.Zone, others
	reading.Meter, reading.Traffic = deps.Meter, a.traffic
	reading.Halted = func() bool { return a.keeper.Halted() } // made below, before anybody reads
	a.reader, err = fetch.New(config.Session.AgentGroup, a.table, control, deps.Store, reading, deps.Log)
	if err != nil {
		return nil, err
	}
	topics := describe.New(config.Session.AgentGroup, a.table, deps.Store, deps.Log)
	uploads, err := flush.NewUploads(deps.Store, topics, config.Flush, deps.Meter, deps.Tracer)
	if err != nil {
		return nil, err
	}
	handed := lease.NewHanded(config.DrainLinger)
	if err := a.write(others, uploads, handed); err != nil {
		return nil, err
	}
	if err := a.measure(handed); err != nil {
		return nil, err
	}
	if err := a.work(); err != nil {
		return nil, err
	}
	a.records = record.Service{
		Reader: a.reader, Writer: a.produce,
		Metadata:    record.NewMetadata(a.table, a.me, config.Session.AgentGroup, a.desk.Leads),
		ProducerIDs: record.NewProducerIDs(control, config.Session.AgentGroup),
	}
	return a, nil
}

// write makes the write path.
func (a *Agent) write(peers *peer.Peers, uploads *flush.Uploads, handed *lease.Handed) error {
	commits, err := commit.NewMeasures(a.deps.Meter)
	if err != nil {
		return err
	}
	told := evidence.New(a.table.Deleted)
	who := a.config.Session
	who.Unfit = uploads.Unfit
	who.Evidence = told
	who.Began = a.reader.Adopted
	who.Traffic = a.traffic
	who.Settled = func(session object.UUID) uint64 { return a.desk.Settled(session) }
	a.keeper = session.New(who, a.control, a.table, a.deps.Log)
	a.desk = term.NewDesk(term.Config{
		AgentID: who.AgentID, AgentGroup: who.AgentGroup, MaxObjectBytes: a.config.MaxObjectBytes, MaxBufferedBytes: a.config.MaxBufferedBytes,
		Uploads: uploads, Commits: commits, Catalog: a.control, Table: a.table, Observer: observers{a.reader, told},
		Handed: handed, Successors: peers, DrainHeard: a.keeper.Announced(), Tracer: a.deps.Tracer, Log: a.deps.Log,
	})
	a.gate = produce.NewGate(a.config.MaxBufferedBytes, a.config.MaxRequestBytes)
	a.produce, err = produce.New(produce.Config{
		Self: who.AgentID, Me: a.me,
		AgentGroup: who.AgentGroup, Desk: a.desk, Table: a.table, Catalog: a.control, Lookups: a.reader.Coalescer(),
		Peers: peers, Traffic: a.traffic, Halted: a.keeper.Halted, Timeout: a.config.ProduceTimeout, Log: a.deps.Log,
		Verify: a.config.Verify, Gate: a.gate, Meter: a.deps.Meter,
	})
	return err
}

// keyCompactionTimeout is more than a pass takes, which has to go through all of its partition before it counts: terabytes, at the pace of
// compaction.
const keyCompactionTimeout = 24 * time.Hour

// work makes the runner of jobs on the bucket.
func (a *Agent) work() error {
	if a.config.JobInterval == 0 {
		return nil
	}
	shared := pace.New(a.config.CompactionBytesPerSecond, a.gate)
	deleter, err := job.NewDeleter(a.config.Session.AgentGroup, a.control, a.deps.Store, shared, a.deps.Meter)
	if err != nil {
		return err
	}
	compactor, err := compact.New(a.control, a.deps.Store, compact.Config{
		AgentGroup: a.config.Session.AgentGroup, Pace: shared, Meter: a.deps.Meter,
	}, a.deps.Log)
	if err != nil {
		return err
	}
	byKey, err := keycompact.New(a.control, a.deps.Store, keycompact.Config{
		AgentGroup: a.config.Session.AgentGroup, MemoryBytes: a.config.KeyCompactionMemory, Pace: shared, Meter: a.deps.Meter,
	}, a.deps.Log)
	if err != nil {
		return err
	}
	checkpoints := job.Checkpointer{AgentGroup: a.config.Session.AgentGroup, Control: a.control, Store: a.deps.Store, Pace: shared}
	a.jobs, err = job.New(job.Config{
		Interval: a.config.JobInterval, Session: a.desk.Session, Control: a.control, Log: a.deps.Log, Meter: a.deps.Meter, Tracer: a.deps.Tracer,
		Handlers: map[controlplanev1.JobKind]job.Handler{
			controlplanev1.JobKind_JOB_KIND_CHECKPOINT:  {Do: checkpoints.Checkpoint},
			controlplanev1.JobKind_JOB_KIND_DELETE:      {Do: deleter.Delete},
			controlplanev1.JobKind_JOB_KIND_SWEEP:       {Do: deleter.Sweep},
			controlplanev1.JobKind_JOB_KIND_COMPACT:     {Do: compactor.Compact, Timeout: compactTimeout},
			controlplanev1.JobKind_JOB_KIND_KEY_COMPACT: {Do: byKey.Compact, Timeout: keyCompactionTimeout},
		},
	})
	return err
}

// compactTimeout bounds one run of a compaction: gigabytes, held back while producers need the agent. What it has done by then stays done.
const compactTimeout = time.Hour

// observers are told one after the other.
type observers []partition.Observer

func (o observers) Committed(c partition.Committed) {
	for _, one := range o {
		one.Committed(c)
	}
}

func (o observers) Led(p partition.ID, epoch partition.Epoch, logStartOffset, highWatermark int64) {
	for _, one := range o {
		one.Led(p, epoch, logStartOffset, highWatermark)
	}
}

func (o observers) Moved(p partition.ID, epoch partition.Epoch) {
	for _, one := range o {
		one.Moved(p, epoch)
	}
}

// me is this agent as others should reach it.
func (a *Agent) me() route.Agent {
	who := a.config.Session
	return route.Agent{ID: who.AgentID, Zone: who.Zone, Address: who.Address()}
}

// claims tells whether this agent may say that it leads.
func (a *Agent) claims(p partition.ID) bool {
	_, leads := a.desk.Leads(p)
	return leads
}

// Interceptor counts what readers get. It belongs on the server that the RPCs are registered with.
func (a *Agent) Interceptor() connect.ServerInterceptor { return a.traffic.Reading(a.claims) }

// Register adds the agent's RPCs to a server.
func (a *Agent) Register(server *connect.Server) {
	dataplanev1connect.RegisterRecordServiceHandler(server, a.records)
	dataplanev1connect.RegisterBucketServiceHandler(server, inventory.New(a.deps.Bucket, a.config.Session.AgentGroup, a.deps.Store))
	dataplanev1connect.RegisterPeerServiceHandler(server, peerService{agentGroup: a.config.Session.AgentGroup, produce: a.produce, reader: a.reader})
}

// BeginsTrace tells which procedures may begin a trace: those of clients. Other agents have chosen for theirs.
func BeginsTrace(procedure string) bool {
	return strings.HasPrefix(procedure, "/"+dataplanev1connect.RecordServiceName+"/")
}

// Writes tells which procedures write records.
func Writes(procedure string) bool {
	return procedure == dataplanev1connect.RecordServiceProduceProcedure ||
		procedure == dataplanev1connect.PeerServiceForwardProduceProcedure
}

// Admit bounds the memory of calls that bring records, before their messages are read.
func (a *Agent) Admit(next connect.ServerFunc) connect.ServerFunc { return a.gate.Interceptor(next) }

// Authenticator knows the callers' API keys.
func (a *Agent) Authenticator() access.Authenticator { return callers.New(a.control) }

var (
	errNoSession      = errors.New("no live session")
	errNoBucket       = errors.New("the bucket has not passed its test yet")
	errNoControlPlane = errors.New("no control plane has given a session, or kept it alive")
)

// Checks tell whether the agent is ready: it is as long as it has a live session. Without one they also name what it waits for, the bucket or the
// control plane. An agent whose bucket fails later stays ready: it still serves what it holds, and forwards.
func (a *Agent) Checks() map[string]listen.Check {
	missing := func(missing func() bool, err error) listen.Check {
		return func(context.Context) error {
			if !a.desk.Alive() && missing() {
				return err
			}
			return nil
		}
	}
	return map[string]listen.Check{
		"session":       missing(func() bool { return true }, errNoSession),
		"bucket":        missing(func() bool { return !a.trusted.Load() }, errNoBucket),
		"control_plane": missing(a.trusted.Load, errNoControlPlane),
	}
}
