package fakecluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
)

// ControlPlaneURL is where the control plane is.
const ControlPlaneURL = "http://controlplane.fake"

// Group is the agent group of every agent.
const Group = "default"

// Cluster is the whole cluster.
type Cluster struct {
	mu       sync.Mutex // guards all below, and agents, topics and partitions
	agents   []*agent
	byID     map[string]*topic
	topics   map[string]*topic // by name
	keys     []*controlplanev1.Key
	made     int           // topics and keys so far, for ids
	nextID   int64         // next producer id
	changed  chan struct{} // closed, and replaced, with every change that somebody may wait for
	produce  Hook
	latency  func() time.Duration // of every Produce request; nil: none
	patience time.Duration        // how long a batch waits for one that it has overtaken
	requests map[string]int       // calls by agent id and procedure name
}

// Hook looks at each Produce request that an agent gets, by agent id, and says what goes wrong with it.
type Hook func(agentID string, r *dataplanev1.ProduceRequest) Fault

// Fault is what goes wrong with a request. The zero value: nothing.
type Fault struct {
	// Refuse is answered instead of doing anything.
	Refuse error
	// Lose does what was asked and cuts the connection instead of answering.
	Lose bool
	// Hold, if not nil, delays the answer until it is closed.
	Hold <-chan struct{}
	// Late is how long the request is on its way: others may overtake it. It arrives whether the caller still waits or not.
	Late time.Duration
}

type agent struct {
	id, zone string
	life     context.Context //nolint:containedctx // ends when the agent is killed
	kill     context.CancelFunc
	thawed   chan struct{} // closed unless the agent is frozen
	draining bool
	suspect  bool
	leaving  bool
	address  string
	services *connect.Server
	server   connect.Transport
}

type topic struct {
	id, name   string
	config     *controlplanev1.TopicConfig
	partitions []*partition
	number     int // order of creation
}

type partition struct {
	leader    string // agent id; empty: nobody
	epoch     int32
	log       []stored
	next      int64 // high watermark
	start     int64 // log start offset
	producers map[int64]*producer
	memory    []held // accepted with ACKS_BUFFERED, lost with the leader
}

type stored struct {
	base, next int64
	batch      []byte
}

type held struct {
	batch []byte
	info  recordbatch.Header
}

// New makes a cluster of agents, each given as "id" or "id/zone".
func New(agents ...string) *Cluster {
	c := &Cluster{
		byID: map[string]*topic{}, topics: map[string]*topic{}, nextID: 1000,
		changed: make(chan struct{}), requests: map[string]int{},
	}
	for _, a := range agents {
		id, zone, _ := strings.Cut(a, "/")
		c.agents = append(c.agents, c.newAgent(id, zone))
	}
	return c
}

func (c *Cluster) newAgent(id, zone string) *agent {
	a := &agent{id: id, zone: zone, address: URL(id), thawed: make(chan struct{}), services: connect.NewServer()}
	close(a.thawed)
	a.life, a.kill = context.WithCancel(context.Background())
	dataplanev1connect.RegisterRecordServiceHandler(a.services, &records{cluster: c, agent: a})
	a.server = connectinprocess.New(a.services)
	return a
}

// URL is an agent's address.
func URL(agentID string) string { return "http://" + agentID + ".fake" }

// URLs lists the agents' addresses.
func (c *Cluster) URLs() []string {
	var urls []string
	for _, a := range c.agents {
		urls = append(urls, URL(a.id))
	}
	return urls
}

// Dial is for client.WithTransport.
func (c *Cluster) Dial(url string) connect.Transport {
	if url == ControlPlaneURL {
		s := connect.NewServer()
		controlplanev1connect.RegisterTopicServiceHandler(s, &topicService{cluster: c})
		controlplanev1connect.RegisterKeyServiceHandler(s, &keyService{cluster: c})
		controlplanev1connect.RegisterClusterServiceHandler(s, &clusterService{cluster: c})
		return connectinprocess.New(s)
	}
	for _, a := range c.agents {
		if URL(a.id) == url {
			return &transport{cluster: c, agent: a}
		}
	}
	return nowhere{url: url}
}

// Services is what an agent serves, to be mounted on a real listener; see Listen.
func (c *Cluster) Services(agentID string) *connect.Server { return c.agent(agentID).services }

// Listen makes an agent name another address than URL as its own.
func (c *Cluster) Listen(agentID, address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agent(agentID).address = address
}

// Drain marks an agent as draining.
func (c *Cluster) Drain(agentID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agent(agentID).draining = true
}

// Leave makes an agent answer every Fetch that it leaves.
func (c *Cluster) Leave(agentID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agent(agentID).leaving = true
	c.change()
}

// Suspect marks an agent as thought to be gone, or not.
func (c *Cluster) Suspect(agentID string, suspect bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agent(agentID).suspect = suspect
}

// CreateTopic makes a topic whose partitions are led by the agents in turn.
func (c *Cluster) CreateTopic(name string, partitions int, allowBufferedAcks ...bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	buffered := slices.Contains(allowBufferedAcks, true)
	c.create(name, partitions, &controlplanev1.TopicConfig{AllowBufferedAcks: &buffered})
}

// create requires mu held.
func (c *Cluster) create(name string, partitions int, config *controlplanev1.TopicConfig) *topic {
	c.made++
	t := &topic{id: uuid(c.made), name: name, config: config, number: c.made}
	if config.MaxRecordBytes == nil {
		limit := int32(recordbatch.DefaultMaxRecordBytes)
		config.MaxRecordBytes = &limit
	}
	c.byID[t.id], c.topics[name] = t, t
	c.grow(t, partitions)
	return t
}

// grow gives a topic more partitions, up to a number. Requires mu held.
func (c *Cluster) grow(t *topic, partitions int) {
	for i := len(t.partitions); i < partitions; i++ {
		t.partitions = append(t.partitions, &partition{
			leader: c.agents[i%len(c.agents)].id, epoch: 1, producers: map[int64]*producer{},
		})
	}
	c.change()
}

func uuid(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// DeleteTopic removes a topic.
func (c *Cluster) DeleteTopic(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(c.topics[name])
}

func (c *Cluster) remove(t *topic) {
	delete(c.byID, t.id)
	delete(c.topics, t.name)
	c.change()
}

// change wakes everyone who waits. Requires mu held.
func (c *Cluster) change() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// OnProduce sets what looks at every Produce request; nil: nobody.
func (c *Cluster) OnProduce(h Hook) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.produce = h
}

// Latency sets how long each Produce request is on its way; those that are quicker overtake others. nil: no time at all.
func (c *Cluster) Latency(of func() time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.latency = of
}

// Patience sets how long a leader waits for the batch that another one has overtaken, before it speaks of a gap. Default: not at all.
func (c *Cluster) Patience(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.patience = d
}

// Kill ends an agent: its connections break, new ones are refused, what it held in memory is lost. Its partitions
// have no leader until Lead or TakeOver.
func (c *Cluster) Kill(agentID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agent(agentID).kill()
	for _, t := range c.byID {
		for _, p := range t.partitions {
			if p.leader == agentID {
				p.leader = ""
				p.forget()
			}
		}
	}
	c.change()
}

// Freeze stops an agent as SIGSTOP does: calls to it hang.
func (c *Cluster) Freeze(agentID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agent(agentID).thawed = make(chan struct{})
	c.change()
}

// Thaw lets a frozen agent go on.
func (c *Cluster) Thaw(agentID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.agent(agentID).thawed)
	c.change()
}

// Lead starts a new tenure of an agent over a partition.
func (c *Cluster) Lead(topic string, partition int, agentID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.topics[topic].partitions[partition]
	p.forget()
	p.leader = agentID
	p.epoch++
	c.change()
}

// TakeOver gives every partition that nobody leads, or a frozen agent, to an agent.
func (c *Cluster) TakeOver(agentID string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.byID {
		for _, p := range t.partitions {
			if p.leader == "" || c.agent(p.leader).frozen() {
				p.forget()
				p.leader = agentID
				p.epoch++
			}
		}
	}
	c.change()
}

func (a *agent) frozen() bool {
	select {
	case <-a.thawed:
		return false
	default:
		return true
	}
}

// agent requires mu held, and that there is one.
func (c *Cluster) agent(id string) *agent {
	return c.agents[slices.IndexFunc(c.agents, func(a *agent) bool { return a.id == id })]
}

// alive requires mu held.
func (c *Cluster) alive(id string) bool { return id != "" && c.agent(id).life.Err() == nil }

// Trim moves a partition's log start offset, as retention does.
func (c *Cluster) Trim(topic string, partition int, start int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.topics[topic].partitions[partition].start = start
	c.change()
}

// CompactByKey makes a topic one that takes no records without a key.
func (c *Cluster) CompactByKey(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	policy := controlplanev1.CleanupPolicy_CLEANUP_POLICY_COMPACT
	c.topics[topic].config.CleanupPolicy = &policy
}

func (t *topic) keysRequired() bool {
	return t.config.GetCleanupPolicy() >= controlplanev1.CleanupPolicy_CLEANUP_POLICY_COMPACT
}

// Compact removes the records of a partition whose offsets keep does not want, and the batches that have none left.
func (c *Cluster) Compact(topic string, partition int, keep func(offset int64) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.topics[topic].partitions[partition]
	var log []stored
	for _, s := range p.log {
		info, err := recordbatch.Open(s.batch, recordbatch.Limits{MaxRecordBytes: 3 << 20}, new(recordbatch.Scratch))
		if err != nil {
			panic(err) // it was verified before it was stored
		}
		left, n, err := recordbatch.Retain(nil, s.batch, info, func(v *recordbatch.View) bool { return keep(v.Offset) }, new(recordbatch.Scratch))
		if err != nil {
			panic(err)
		}
		if n > 0 {
			log = append(log, stored{base: s.base, next: s.next, batch: left})
		}
	}
	p.log = log
}

// ForgetProducers drops all producer state of a topic, as happens after long silence.
func (c *Cluster) ForgetProducers(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.topics[topic].partitions {
		p.producers = map[int64]*producer{}
	}
}

// Log decodes everything that a partition holds.
func (c *Cluster) Log(topic string, partition int) []recordbatch.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []recordbatch.Record
	for _, s := range c.topics[topic].partitions[partition].log {
		info, err := recordbatch.Verify(s.batch, recordbatch.Limits{MaxRecordBytes: 3 << 20}, new(recordbatch.Scratch))
		if err == nil {
			all, err = recordbatch.AppendRecords(all, info)
		}
		if err != nil {
			panic(err) // it was verified before it was stored
		}
	}
	return all
}

// Requests counts the calls that reached an agent, by the method's name.
func (c *Cluster) Requests(agentID, method string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests[agentID+"/"+method]
}
