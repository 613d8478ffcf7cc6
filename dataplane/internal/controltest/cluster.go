package controltest

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"

	"github.com/streamhouse/streamhouse/dataplane/internal/agent"
	"github.com/streamhouse/streamhouse/dataplane/internal/catalog"
	"github.com/streamhouse/streamhouse/dataplane/internal/checkpoint"
	"github.com/streamhouse/streamhouse/dataplane/internal/fetch"
	"github.com/streamhouse/streamhouse/dataplane/internal/flush"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/session"
	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// agentGroup is every agent's.
const agentGroup = "default"

// Cluster is a control plane, a bucket and agents, in one process. To be used inside a synctest bubble.
type Cluster struct {
	Control *Control
	Bucket  *Bucket

	t       testing.TB
	control connect.Transport
	ctx     context.Context //nolint:containedctx // the bubble's life, for agents that tests start later

	mu    sync.Mutex
	nodes map[string]*Node // by address
}

// Node is one agent.
type Node struct {
	ID string
	// Link is what lies between it and the control plane.
	Link *Link
	// Client calls it as a client of the agent group does.
	Client dataplanev1connect.RecordServiceClient
	// Peer calls it as another agent does.
	Peer dataplanev1connect.PeerServiceClient

	server *connect.Server
	stop   context.CancelFunc
	abort  chan struct{}
	done   chan struct{} // closed when it has stopped, with err set
	err    error
	dead   atomic.Bool
}

// NewCluster starts a control plane. Everything ends with the test.
func NewCluster(t testing.TB) *Cluster {
	ctx, cancel := context.WithCancel(context.Background())
	c := &Cluster{Control: New(), Bucket: &Bucket{}, t: t, ctx: ctx, nodes: map[string]*Node{}}
	c.Control.undescribed = func(topic object.UUID) {
		if !c.Bucket.describes(topic) {
			t.Errorf("P9: a commit names topic %s, of which the bucket says nothing", topic)
		}
	}
	server := connect.NewServer()
	controlplanev1connect.RegisterAgentServiceHandler(server, c.Control)
	c.control = connectinprocess.New(server)
	var running sync.WaitGroup
	running.Go(func() { c.Control.Run(ctx) })
	t.Cleanup(func() {
		for _, n := range c.all() {
			n.Kill()
			<-n.done
		}
		cancel()
		running.Wait()
	})
	return c
}

// Start adds an agent and waits until it has a session.
func (c *Cluster) Start(id string, change ...func(*agent.Config)) *Node {
	address := "http://" + id
	n := &Node{ID: id, Link: &Link{}}
	config := agent.Config{
		Session:        session.Config{AgentID: id, AgentGroup: agentGroup, Zone: "z", Address: func() string { return address }},
		MaxObjectBytes: 1 << 20, MaxBufferedBytes: 8 << 20, MaxRequestBytes: 4 << 20,
		Flush: flush.Config{Linger: 250 * time.Millisecond, MaxUploads: 4, PutsPerSecond: 1000, PutBurst: 1000},
		Fetch: fetch.Config{}, ProduceTimeout: 30 * time.Second, DrainDeadline: time.Minute, DrainLinger: 5 * time.Second,
	}
	for _, f := range change {
		f(&config)
	}
	ready := make(chan struct{})
	a, err := agent.New(config, agent.Deps{
		Replicas: []catalog.Replica{{Calls: c.control}}, Dial: c.dial, Interceptors: []connect.ClientInterceptor{n.Link.Interceptor()},
		Store: c.Bucket, Log: slog.New(slog.DiscardHandler), Ready: func() { close(ready) },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	n.server = connect.NewServer(authenticated, refusal.Interceptor(slog.New(slog.DiscardHandler), agent.Writes), a.Interceptor())
	a.Register(n.server)
	n.run(c.ctx, a)
	c.mu.Lock()
	c.nodes[address] = n
	c.mu.Unlock()
	n.Client = dataplanev1connect.NewRecordServiceClient(connect.NewClient(c.dial(address)))
	n.Peer = dataplanev1connect.NewPeerServiceClient(connect.NewClient(c.dial(address)))
	<-ready
	return n
}

func (n *Node) run(ctx context.Context, a *agent.Agent) {
	ctx, n.stop = context.WithCancel(ctx)
	n.abort, n.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(n.done)
		n.err = a.Run(ctx, n.abort)
	}()
}

// Stop asks the agent to stop in good order; Wait waits for that.
func (n *Node) Stop() { n.stop() }

// Wait waits until the agent has stopped, and returns why.
func (n *Node) Wait() error {
	<-n.done
	n.dead.Store(true)
	return n.err
}

// Running tells whether the agent has not stopped yet.
func (n *Node) Running() bool {
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

// Kill ends the agent as a crash does: whatever it wants to say on its way is lost. It does not wait.
func (n *Node) Kill() {
	n.Link.Cut(true)
	n.dead.Store(true)
	n.stop()
	select {
	case <-n.abort:
	default:
		close(n.abort)
	}
}

func (c *Cluster) all() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []*Node
	for _, n := range c.nodes {
		all = append(all, n)
	}
	return all
}

// dial reaches an agent by its address; one that is dead refuses.
func (c *Cluster) dial(address string) connect.Transport { return transport{c, address} }

type transport struct {
	cluster *Cluster
	address string
}

func (t transport) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	t.cluster.mu.Lock()
	n := t.cluster.nodes[t.address]
	t.cluster.mu.Unlock()
	if n == nil || n.dead.Load() {
		return nil, connect.NewError(connect.CodeUnavailable, "").WithCause(&net.OpError{Op: "dial", Err: errors.New("refused")})
	}
	return connectinprocess.New(n.server).NewClientStream(ctx, spec)
}

// groupHeader says of which agent group a caller's key is; without it, of the agents'.
const groupHeader = "Test-Agent-Group"

// authenticated makes every caller a client of its agent group, peers too.
func authenticated(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		caller := access.Principal{KeyID: "key", Role: accessv1.Role_ROLE_CLIENT, AgentGroup: agentGroup}
		if info, ok := connect.CallInfoForServerContext(ctx); ok {
			caller.AgentGroup = cmp.Or(info.RequestHeader().Get(groupHeader), caller.AgentGroup)
		}
		return next(access.With(ctx, caller), spec, stream)
	}
}

// As calls an agent with a key of another agent group.
func (c *Cluster) As(agentGroup, address string) *connect.Client {
	return connect.NewClient(c.dial(address), func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok {
				info.RequestHeader().Set(groupHeader, agentGroup)
			}
			return next(ctx, spec)
		}
	})
}

// Bucket is a bucket in memory that takes time, and can be out of reach. Set nothing while calls run but by its methods.
type Bucket struct {
	objectstore.Memory

	mu    sync.Mutex
	delay time.Duration
	down  bool
	apart string // nor are there PUTs of keys with this part
	puts  map[string]int
	reads reads
}

// Delay makes every PUT take so long.
func (b *Bucket) Delay(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.delay = d
}

// Down takes the bucket out of reach for writes, or brings it back.
func (b *Bucket) Down(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

// Refuse keeps keys with a part out of reach for writes; empty: none.
func (b *Bucket) Refuse(part string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.apart = part
}

// Puts is how many PUTs of objects were taken; descriptions of topics do not count.
func (b *Bucket) Puts() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, puts := range b.puts {
		if !isDescription(key) {
			n += puts
		}
	}
	return n
}

// Descriptions are the keys of topics' descriptions, with how often each was written.
func (b *Bucket) Descriptions() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	puts := map[string]int{}
	for key, n := range b.puts {
		if isDescription(key) {
			puts[key] = n
		}
	}
	return puts
}

func isDescription(key string) bool {
	_, is := checkpoint.ParseDescriptionKey(agentGroup, key)
	return is
}

// describes tells whether the bucket says what the topic is.
func (b *Bucket) describes(topic object.UUID) bool {
	_, err := b.Head(context.Background(), checkpoint.DescriptionKey(agentGroup, topic))
	return err == nil
}

// Put takes its time.
func (b *Bucket) Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error {
	b.mu.Lock()
	delay, down := b.delay, b.down || b.apart != "" && strings.Contains(key, b.apart)
	b.mu.Unlock()
	if down {
		delay = time.Second
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return &objectstore.OpError{Op: "put", Key: key, MayHaveArrived: true, Err: objectstore.ErrUnavailable}
	}
	if down {
		return &objectstore.OpError{Op: "put", Key: key, MayHaveArrived: true, Err: objectstore.ErrUnavailable}
	}
	b.mu.Lock()
	if b.puts == nil {
		b.puts = map[string]int{}
	}
	b.puts[key]++
	b.mu.Unlock()
	return b.Memory.Put(ctx, key, body, crc32c)
}
