package route

import (
	"cmp"
	"slices"
	"sync"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// maxForgotten bounds how many deleted topics are remembered, so that an old page cannot bring them back.
const maxForgotten = 10_000

const topicIDBytes = 16

// Table is the routing table. It is safe for concurrent use.
type Table struct {
	self    string
	resolve chan struct{} // a slot for each topic lookup in flight
	catalog Resolver
	asking  asking

	mu        sync.RWMutex
	revision  int64
	topics    map[object.UUID]placedTopic
	names     map[string]object.UUID
	rows      map[partition.ID]Row
	mine      map[partition.ID]struct{} // rows that name this agent
	stirred   map[partition.ID]struct{} // of mine, rows that have changed since they were last taken
	heard     map[partition.ID]heard    // ahead of rows
	agents    map[string]Agent
	agentsAt  int64 // revision of the page that agents came with
	forgotten []object.UUID
	changed   chan struct{} // closed, and replaced, at every change
}

type placedTopic struct {
	Topic
	revision    int64
	deleted     bool
	undescribed *controlplanev1.CheckpointTopic // what the bucket may not say of it yet; nil: a checkpoint has it
}

// New returns an empty table of the agent self.
func New(self string, catalog Resolver) *Table {
	return &Table{
		self: self, catalog: catalog, resolve: make(chan struct{}, maxResolves),
		asking: asking{slots: make(chan struct{}, maxNameCalls)},
		topics: map[object.UUID]placedTopic{}, names: map[string]object.UUID{}, rows: map[partition.ID]Row{},
		mine: map[partition.ID]struct{}{}, stirred: map[partition.ID]struct{}{}, heard: map[partition.ID]heard{},
		agents: map[string]Agent{}, changed: make(chan struct{}),
	}
}

// Apply takes a page that was asked for after a revision at or below Revision. Applying a page twice, or an older one after a newer one,
// does no harm.
func (t *Table) Apply(page *controlplanev1.Placement) {
	if page == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	changed := t.applyAgents(page)
	for _, topic := range page.GetTopics() {
		changed = t.applyTopic(topic) || changed
	}
	for _, p := range page.GetPartitions() {
		changed = t.applyRow(p) || changed
	}
	t.revision = max(t.revision, page.GetRevision())
	if changed {
		t.announce()
	}
}

// Revision is the last one applied; 0: none.
func (t *Table) Revision() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.revision
}

// Changed is closed at the next change. Take it before looking, then wait on it.
func (t *Table) Changed() <-chan struct{} {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.changed
}

// Row returns the placement of a partition.
func (t *Table) Row(p partition.ID) Row {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.rows[p]
}

// Leader returns who leads the partition; the agent's id is empty where nobody does. A leader whose session has ended since it was last
// spoken of has an id but no address.
func (t *Table) Leader(p partition.ID) Leader {
	t.mu.RLock()
	defer t.mu.RUnlock()
	row := t.rows[p]
	if leader, ahead := t.ahead(p, row); ahead {
		return leader
	}
	return t.leader(row)
}

// Assignee returns who should lead the partition; the zero Agent where nobody should, or the agent is not known to live.
func (t *Table) Assignee(p partition.ID) Agent {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.agents[t.rows[p].Assigned]
}

// Mine returns the partitions whose rows name this agent, as leader or as the one who should lead.
func (t *Table) Mine() map[partition.ID]Row {
	t.mu.RLock()
	defer t.mu.RUnlock()
	rows := make(map[partition.ID]Row, len(t.mine))
	for p := range t.mine {
		rows[p] = t.rows[p]
	}
	return rows
}

// TakeStirred returns the partitions whose rows name or named this agent and have changed since the last call.
func (t *Table) TakeStirred() map[partition.ID]struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	stirred := t.stirred
	t.stirred = map[partition.ID]struct{}{}
	return stirred
}

// Fill sets the values of all keys to the partitions' rows.
func (t *Table) Fill(rows map[partition.ID]Row) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for p := range rows {
		rows[p] = t.rows[p]
	}
}

// Deleted tells whether the topic is known to be deleted.
func (t *Table) Deleted(id object.UUID) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.topics[id].deleted
}

// Forget takes the catalog's word that a topic does not exist (any more). Ids are never used again.
func (t *Table) Forget(id object.UUID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.topics[id]; !old.deleted {
		t.topics[id] = placedTopic{Topic: old.Topic, revision: old.revision, deleted: true}
		t.forget(id, old.Name)
		t.announce()
	}
}

// Agents lists the live agents by id.
func (t *Table) Agents() []Agent {
	t.mu.RLock()
	defer t.mu.RUnlock()
	agents := make([]Agent, 0, len(t.agents))
	for _, a := range t.agents {
		agents = append(agents, a)
	}
	slices.SortFunc(agents, func(a, b Agent) int { return cmp.Compare(a.ID, b.ID) })
	return agents
}

// Agent returns a live agent.
func (t *Table) Agent(id string) (Agent, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	a, ok := t.agents[id]
	return a, ok
}

func (t *Table) leader(row Row) Leader {
	if row.Leader == "" {
		return Leader{Epoch: row.Epoch}
	}
	agent, ok := t.agents[row.Leader]
	if !ok {
		agent.ID = row.Leader
	}
	return Leader{Agent: agent, Epoch: row.Epoch}
}

func (t *Table) announce() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// applyAgents takes the list of live agents, which rides along whole.
func (t *Table) applyAgents(page *controlplanev1.Placement) bool {
	if page.GetRevision() < t.agentsAt || len(page.GetAgents()) == 0 {
		return false
	}
	t.agentsAt = page.GetRevision()
	agents := make(map[string]Agent, len(page.GetAgents()))
	changed := len(page.GetAgents()) != len(t.agents)
	for _, a := range page.GetAgents() {
		agent := Agent{ID: a.GetAgentId(), Zone: a.GetZone(), Address: a.GetAddress(), Draining: a.GetDraining(), Suspect: a.GetSuspect()}
		agents[agent.ID] = agent
		changed = changed || t.agents[agent.ID] != agent
	}
	t.agents = agents
	return changed
}

func (t *Table) applyTopic(p *controlplanev1.PlacedTopic) bool {
	if len(p.GetTopicId()) != topicIDBytes {
		return false
	}
	topic := topicOf(p)
	old, known := t.topics[topic.ID]
	if known && (old.deleted || old.revision >= p.GetRevision()) {
		return false
	}
	t.topics[topic.ID] = placedTopic{Topic: topic, revision: p.GetRevision(), deleted: p.GetDeleted(), undescribed: undescribed(p)}
	if p.GetDeleted() {
		t.forget(topic.ID, old.Name)
		return true
	}
	t.rename(topic.Name, topic.ID, p.GetRevision())
	return true
}

// rename gives a name to a topic. The topic that had it has been deleted: names are unique among those that live.
func (t *Table) rename(name string, id object.UUID, revision int64) {
	if before, taken := t.names[name]; taken && before != id {
		old := t.topics[before]
		if old.revision > revision {
			return // the name has passed on already
		}
		old.deleted = true
		t.topics[before] = old
		t.forget(before, name)
	}
	t.names[name] = id
}

// forget drops all of a deleted topic but the memory that it was deleted.
func (t *Table) forget(id object.UUID, name string) {
	if t.names[name] == id {
		delete(t.names, name)
	}
	for p := range t.rows {
		if p.Topic == id {
			delete(t.rows, p)
			t.stir(p)
			delete(t.mine, p)
			delete(t.heard, p)
		}
	}
	t.forgotten = append(t.forgotten, id)
	if len(t.forgotten) > maxForgotten {
		delete(t.topics, t.forgotten[0])
		t.forgotten = t.forgotten[1:]
	}
}

func (t *Table) applyRow(p *controlplanev1.PlacedPartition) bool {
	if len(p.GetTopicId()) != topicIDBytes {
		return false
	}
	id := partition.ID{Topic: object.UUID(p.GetTopicId()), Number: p.GetPartition()}
	if t.topics[id.Topic].deleted || t.rows[id].Revision >= p.GetRevision() {
		return false
	}
	row := rowOf(p)
	t.rows[id] = row
	if h, ok := t.heard[id]; ok && h.leader.Epoch <= row.Epoch {
		delete(t.heard, id)
	}
	if row.Assigned == t.self || row.Leader == t.self {
		t.mine[id] = struct{}{}
		t.stir(id)
	} else {
		t.stir(id)
		delete(t.mine, id)
	}
	return true
}

// stir notes a change of one of this agent's rows.
func (t *Table) stir(p partition.ID) {
	if _, mine := t.mine[p]; mine {
		t.stirred[p] = struct{}{}
	}
}
