// Package controltest is for tests of the agent: a control plane in memory that keeps the protocol's rules in the plainest way, and a
// cluster of whole agents in one process, on virtual time, with links that lose what they are told to lose.
// It is not the control plane: what PostgreSQL does about concurrency is a mutex here.
// Read: control.go, session.go, placement.go, commit.go, link.go, cluster.go.
package controltest

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// Control is AgentService of one agent group.
type Control struct {
	// SessionDuration and SuspectAfter as in the real one; set before use.
	SessionDuration, SuspectAfter time.Duration

	mu         sync.Mutex
	life       string // of the database; empty: heartbeats do not say
	halted     bool
	holds      bool // placement moves nothing by itself
	unshown    int  // leases asked for before the evidence was complete
	revision   int64
	topics     map[object.UUID]*topic
	partitions map[partition.ID]*part
	sessions   map[string]*sess
	objects    map[string]*controlplanev1.ObjectOutcome
	nextID     int64
	// Commits counts the objects that were decided, repeats left out.
	commits int
	changed chan struct{}
	// undescribed is called where a commit names a topic that no checkpoint has; nil: never.
	undescribed func(object.UUID)
}

type topic struct {
	placed *controlplanev1.PlacedTopic
}

type part struct {
	id        partition.ID
	assigned  string
	session   string
	epoch     int32
	first     int64 // of the newest tenure
	high      int64
	revision  int64
	producers map[int64]*controlplanev1.ProducerState
	segments  []*controlplanev1.Segment
}

type sess struct {
	id string
	// registration is what the agent called the session before it had an id.
	registration string
	agent        *controlplanev1.PlacedAgent
	heartbeat    time.Time
	ended        bool
	cause        refusalv1.Reason
	suspect      bool
	drain        bool // an operator wants it drained
	unfit        bool
	shown        string // life for which its evidence is complete
	told         *controlplanev1.Evidence
	revoked      bool
	calls        map[string]int              // acquires and releases
	report       *controlplanev1.AgentReport // the last
}

// New returns a control plane without topics and sessions.
func New() *Control {
	return &Control{
		SessionDuration: 30 * time.Second, SuspectAfter: 2 * time.Second,
		topics: map[object.UUID]*topic{}, partitions: map[partition.ID]*part{}, sessions: map[string]*sess{},
		objects: map[string]*controlplanev1.ObjectOutcome{}, changed: make(chan struct{}),
	}
}

// Run judges silence until ctx ends.
func (c *Control) Run(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.judge(time.Now())
		case <-ctx.Done():
			return
		}
	}
}

// CreateTopic makes a topic and assigns its partitions.
func (c *Control) CreateTopic(name string, partitions int32, config *controlplanev1.TopicConfig) object.UUID {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := newUUID()
	c.topics[id] = &topic{placed: &controlplanev1.PlacedTopic{
		TopicId: id[:], Name: name, PartitionCount: partitions, Config: config, Revision: c.bump(),
	}}
	for n := range partitions {
		p := partition.ID{Topic: id, Number: n}
		c.partitions[p] = &part{id: p, revision: c.bump(), producers: map[int64]*controlplanev1.ProducerState{}}
	}
	c.place()
	return id
}

// Record says that a checkpoint has the topic.
func (c *Control) Record(id object.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[id]
	t.placed = clone(t.placed)
	t.placed.Described, t.placed.Revision = true, c.bump()
}

// DeleteTopic marks a topic; its partitions are gone.
func (c *Control) DeleteTopic(id object.UUID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.topics[id]
	t.placed.Deleted, t.placed.Revision = true, c.bump()
	for p := range c.partitions {
		if p.Topic == id {
			delete(c.partitions, p)
		}
	}
}

// Assign gives a partition to an agent.
func (c *Control) Assign(p partition.ID, agent string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.partitions[p].assigned, c.partitions[p].revision = agent, c.bump()
}

// AssignAll gives all of a topic to an agent.
func (c *Control) AssignAll(topic object.UUID, agent string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, q := range c.partitions {
		if p.Topic == topic {
			q.assigned, q.revision = agent, c.revision+1
		}
	}
	c.bump()
}

// Led is how many partitions an agent leads.
func (c *Control) Led(agent string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, p := range c.partitions {
		if s := c.sessions[p.session]; s != nil && !s.ended && s.agent.GetAgentId() == agent {
			n++
		}
	}
	return n
}

// Calls is how many acquires and releases an agent has made since the last question, by name.
func (c *Control) Calls(agent string) map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := map[string]int{}
	for _, s := range c.sessions {
		if s.agent.GetAgentId() == agent {
			for name, n := range s.calls {
				calls[name] += n
			}
			s.calls = map[string]int{}
		}
	}
	return calls
}

// Hold has placement move nothing by itself.
func (c *Control) Hold(hold bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holds = hold
}

// Depose starts a tenure of nobody, as if somebody else had led for a moment: whoever led before is fenced and does not know.
func (c *Control) Depose(p partition.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.partitions[p]
	q.session, q.epoch, q.first, q.revision = "", q.epoch+1, q.high, c.bump()
}

// HighWatermark of a partition.
func (c *Control) HighWatermark(p partition.ID) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.partitions[p].high
}

// Leader of a partition: agent id ("" for none) and epoch.
func (c *Control) Leader(p partition.ID) (string, int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := c.partitions[p]
	if s := c.sessions[q.session]; s != nil && !s.ended {
		return s.agent.GetAgentId(), q.epoch
	}
	return "", q.epoch
}

// Sessions is how many sessions live.
func (c *Control) Sessions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, s := range c.sessions {
		if !s.ended {
			n++
		}
	}
	return n
}

// Registered is how many sessions there have been.
func (c *Control) Registered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sessions)
}

// Decided is how many objects have an outcome.
func (c *Control) Decided() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.commits
}

// Segments of a partition, in order.
func (c *Control) Segments(p partition.ID) []*controlplanev1.Segment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*controlplanev1.Segment(nil), c.partitions[p].segments...)
}

// bump requires mu.
func (c *Control) bump() int64 {
	c.revision++
	close(c.changed)
	c.changed = make(chan struct{})
	return c.revision
}

// live finds a session that has not ended. Requires mu.
func (c *Control) live(id string) (*sess, error) {
	s := c.sessions[id]
	if s == nil {
		return nil, refusal.Newf(refusalv1.Reason_REASON_SESSION_EXPIRED, "no such session")
	}
	if s.revoked {
		return nil, refusal.Newf(refusalv1.Reason_REASON_UNAUTHENTICATED, "unknown or revoked api key")
	}
	if s.ended {
		return nil, refusal.Newf(s.cause, "the session has ended")
	}
	return s, nil
}

func newUUID() (u object.UUID) {
	_, _ = rand.Read(u[:]) // never fails
	return u
}
