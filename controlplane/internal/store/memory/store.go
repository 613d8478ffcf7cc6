package memory

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// Config of a reference.
type Config struct {
	// SessionDuration is the silence that ends a session; default 30 s.
	SessionDuration time.Duration
	// HeartbeatInterval is told to agents; default 1 s.
	HeartbeatInterval time.Duration
	// MaxMoves is how many hand-offs may be under way in an agent group at once; default store.DefaultMaxMoves.
	MaxMoves int
	// Jobs says when work on the bucket is due.
	Jobs store.JobConfig
	// NewID makes ids of sessions, topics and keys; default uuid.New. A test that compares two catalogs gives both the same ids.
	NewID func() uuid.UUID
}

// Store is a catalog in memory.
type Store struct {
	config Config
	// Capacity one: a signal says "look", not how often.
	placementChanged, unsettled, reshaped chan struct{}

	mu         sync.Mutex // guards everything below
	groups     map[store.AgentGroup]*group
	agents     map[string]store.AgentGroup // agent ids ever seen; an id never changes its group (P7)
	sessions   map[uuid.UUID]*session
	id         uuid.UUID // of the catalog
	topics     map[uuid.UUID]*topic
	objects    map[string]*object
	jobs       []*job
	jobCount   int   // claims so far
	producerID int64 // the next one
	keys       []*key
	pulse      pulse
	trust      trust
	// placementLead decides placement; nil: nobody does.
	placementLead *candidate
}

// group is an agent group.
type group struct {
	name      store.AgentGroup
	revision  int64
	shape     int64 // revision of the last change that placement may have an answer to
	unsettled bool
	removed   bool
	upkeep    upkeep
}

// topic is its id; the name is a label.
type topic struct {
	id             uuid.UUID
	name           string
	group          *group
	maxRecordBytes int32
	buffered       bool     // ACKS_BUFFERED are allowed
	preferred      []string // zones
	kept           kept
	partitionCount int32
	createdAt      time.Time
	deleted        bool
	revision       int64
	recorded       int64        // revision that the newest checkpoint has; 0: none has the topic
	partitions     []*partition // nil once purged
}

// partition has epoch and high watermark side by side: between "am I still leader?" and "write" there is no moment.
type partition struct {
	topic         *topic
	number        int32
	epoch         int32
	leader        *session // of the newest tenure, ended or not; nil: nobody's
	tenureFirst   int64    // first offset of the newest tenure
	logStart      int64    // first offset that can be read
	highWatermark int64
	assigned      string // agent id; empty: nobody
	pinned        bool
	revision      int64
	segments      []segment
	producers     map[int64]producer
	tenures       []tenure // by epoch
	cleaned       cleaned
}

// New makes an empty catalog with the default agent group.
func New(config Config) *Store {
	if config.SessionDuration == 0 {
		config.SessionDuration = 30 * time.Second
	}
	if config.HeartbeatInterval == 0 {
		config.HeartbeatInterval = time.Second
	}
	config.Jobs = config.Jobs.WithDefaults()
	config.MaxMoves = cmp.Or(config.MaxMoves, store.DefaultMaxMoves)
	if config.NewID == nil {
		config.NewID = uuid.New
	}
	s := &Store{
		config: config, placementChanged: make(chan struct{}, 1), unsettled: make(chan struct{}, 1), reshaped: make(chan struct{}, 1),
		groups: map[store.AgentGroup]*group{}, agents: map[string]store.AgentGroup{}, sessions: map[uuid.UUID]*session{},
		id: uuid.New(), topics: map[uuid.UUID]*topic{}, objects: map[string]*object{}, producerID: 1, trust: trust{life: "1", verified: true},
	}
	s.groups[store.DefaultAgentGroup] = &group{name: store.DefaultAgentGroup}
	return s
}

var _ store.Store = (*Store)(nil)

// Ping always answers.
func (s *Store) Ping(context.Context) error { return nil }

// PlacementChanged signals after a placement changed.
func (s *Store) PlacementChanged() <-chan struct{} { return s.placementChanged }

// Hearing is false: nobody else changes anything, and who polls finds nothing new.
func (s *Store) Hearing() bool { return false }

// Unsettled signals after a session or a topic changed.
func (s *Store) Unsettled() <-chan struct{} { return s.unsettled }

// Reshaped signals after a session, a topic or a pin changed.
func (s *Store) Reshaped() <-chan struct{} { return s.reshaped }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}

// stamp takes the agent group's next revision.
func (s *Store) stamp(g *group) int64 {
	g.revision++
	signal(s.placementChanged)
	return g.revision
}

// sessionsChanged publishes that the list of agents is another one, and that partitions may need another agent.
func (s *Store) sessionsChanged(g *group) {
	s.stamp(g)
	s.unsettle(g)
}

// unsettle: partitions may need another agent. Requires: the change was stamped.
func (s *Store) unsettle(g *group) {
	g.unsettled = true
	signal(s.unsettled)
	s.reshape(g)
}

// reshape: placement may have an answer to what was stamped last.
func (s *Store) reshape(g *group) {
	g.shape = g.revision
	signal(s.reshaped)
}

// find answers the topic and its partition; nil where there is none. A deleted topic is none.
func (s *Store) find(topicID []byte, number int32) (*topic, *partition) {
	t := s.topics[uuid.UUID(topicID)]
	if t == nil || t.deleted {
		return nil, nil
	}
	return t, t.partition(number)
}

func (t *topic) partition(number int32) *partition {
	if int(number) >= len(t.partitions) {
		return nil
	}
	return t.partitions[number]
}

func invalid(field, problem string) error {
	refused := store.Refuse(refusalv1.Reason_REASON_INVALID, "%s %s", field, problem)
	refused.Refusal.Field = field
	return refused
}

// Age lets time pass for everyone but the judges: every session that lives was heard of d earlier, what was committed was so d earlier, and a
// pause in judging ends d earlier.
func (s *Store) Age(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.sessions {
		one.heardAt = one.heardAt.Add(-d)
	}
	for _, t := range s.topics {
		for _, p := range t.partitions {
			for i := range p.segments {
				p.segments[i].committedAt = p.segments[i].committedAt.Add(-d)
			}
			p.cleaned.age(d)
		}
	}
	s.pulse.quietUntil = s.pulse.quietUntil.Add(-d)
	for _, o := range s.objects {
		o.freeSince, o.killedAt, o.committed = o.freeSince.Add(-d), o.killedAt.Add(-d), o.committed.Add(-d)
	}
	for _, g := range s.groups {
		g.upkeep.finishedAt, g.upkeep.shardDueAt = g.upkeep.finishedAt.Add(-d), g.upkeep.shardDueAt.Add(-d)
	}
}

// AgePulse says that a judge last beat d ago; negative: in the future.
func (s *Store) AgePulse(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulse.beatAt = time.Now().Add(-d)
}
