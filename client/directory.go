package client

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

const (
	askTimeout  = 3 * time.Second  // one agent's time to answer a small question
	askRounds   = 6                // times that all agents are asked before giving up
	mostPenalty = 5 * time.Second  // longest time that a failing agent is passed over
	leavesFor   = 10 * time.Second // by then others say so too, or it is gone
	maxTopics   = 1000             // topics remembered; more are forgotten and asked again
)

// directory is what the client knows of the agent group: its agents, and who leads which partition. It is a
// cache: every use of it survives its being wrong.
type directory struct {
	zone      string
	logger    *slog.Logger
	connectTo connector

	mu     sync.Mutex // guards all below; taken after a producer's or consumer's own
	peers  map[string]*peer
	topics map[string]*topic
	asking map[string]*inquiry
	news   map[chan struct{}]struct{}
}

// connector connects to the server at a URL; bulk: for large requests and answers.
type connector func(url string, bulk bool) *connect.Client

// inquiry is a question about a topic; topic and err are written before done is closed.
type inquiry struct {
	done  chan struct{}
	topic *topic
	err   *Error
}

// peer is an agent. Fields below url and rpc are guarded by directory.mu.
type peer struct {
	url       string
	rpc       dataplanev1connect.RecordServiceClient
	bulk      dataplanev1connect.RecordServiceClient // for Produce, and for Fetch where there is much to read
	agentID   string
	zone      string
	seed      bool // configured, so never forgotten
	draining  bool
	suspect   bool
	leaves    time.Time // it said that it leaves: as if it drained until then
	failures  int
	downUntil time.Time // passed over until then
}

// topic is what one name meant when it was asked for. All but leaders and askedAt never change: a changed topic
// is a new value.
type topic struct {
	id              string
	name            string
	maxRecordBytes  int
	bufferedAllowed bool
	keysRequired    bool // it is compacted by key
	partitions      int32

	stale atomic.Bool             // forgotten, or replaced: to be asked for anew
	near  atomic.Pointer[[]int32] // partitions led in the client's zone; nil: to be found anew

	leaders []leader  // guarded by directory.mu
	askedAt time.Time // guarded by directory.mu
}

// leader is who leads a partition as far as known; url is empty if nobody is known.
type leader struct {
	agentID, url, zone string
	epoch              int32
}

func newDirectory(seeds []string, zone string, logger *slog.Logger, connectTo connector) *directory {
	d := &directory{
		zone: zone, logger: logger, connectTo: connectTo,
		peers: map[string]*peer{}, topics: map[string]*topic{}, asking: map[string]*inquiry{},
		news: map[chan struct{}]struct{}{},
	}
	for _, url := range seeds {
		d.peers[url] = d.newPeer(url)
		d.peers[url].seed = true
	}
	return d
}

func (d *directory) newPeer(url string) *peer {
	return &peer{
		url: url, rpc: dataplanev1connect.NewRecordServiceClient(d.connectTo(url, false)),
		bulk: dataplanev1connect.NewRecordServiceClient(d.connectTo(url, true)),
	}
}

// subscribe returns a channel that holds a token after leaders changed.
func (d *directory) subscribe() chan struct{} {
	ch := make(chan struct{}, 1) // one token: the reader looks at everything anyway
	d.mu.Lock()
	defer d.mu.Unlock()
	d.news[ch] = struct{}{}
	return ch
}

func (d *directory) unsubscribe(ch chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.news, ch)
}

// peer returns the agent at url, which it makes if need be.
func (d *directory) peer(url string) *peer {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.peerLocked(url)
}

func (d *directory) peerLocked(url string) *peer {
	p := d.peers[url]
	if p == nil {
		p = d.newPeer(url)
		d.peers[url] = p
	}
	return p
}

// up reports whether the agent at url has not failed just now.
func (d *directory) up(url string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.peers[url]
	return p == nil || !time.Now().Before(p.downUntil)
}

// failed passes an agent over for a while, longer with each failure in a row.
func (d *directory) failed(p *peer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p.failures++
	penalty := min(250*time.Millisecond<<min(p.failures-1, 5), mostPenalty)
	p.downUntil = time.Now().Add(penalty/2 + rand.N(penalty/2))
}

func (d *directory) answered(p *peer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p.failures, p.downUntil = 0, time.Time{}
}

// leaving notes that an agent says that it leaves, before others say so.
func (d *directory) leaving(p *peer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p.leaves = time.Now().Add(leavesFor)
}

// candidates lists the agents, the best first: see cost; in random order among equals.
func (d *directory) candidates() []*peer {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	cost := make(map[*peer]int, len(d.peers))
	all := make([]*peer, 0, len(d.peers))
	for _, p := range d.peers {
		all = append(all, p)
		cost[p] = d.cost(p, now)
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	slices.SortStableFunc(all, func(a, b *peer) int { return cmp.Compare(cost[a], cost[b]) })
	return all
}

// cost orders agents. Another zone is better than an agent that fails to answer, or is thought to be gone, and worse than one that drains.
func (d *directory) cost(p *peer, now time.Time) int {
	n := 0
	if now.Before(p.downUntil) {
		n += 8
	}
	if p.suspect {
		n += 4
	}
	if d.zone != "" && p.zone != d.zone {
		n += 2
	}
	if p.draining || now.Before(p.leaves) {
		n++
	}
	return n
}

// ask puts a question that changes nothing to one agent after the other until one answers it, or says that the
// question is wrong. Agents at the URL avoid come last.
func (d *directory) ask(ctx context.Context, avoid string, question func(context.Context, *peer) error) *Error {
	last := failure(ReasonMisconfigured, "no agent is known: pass WithAgents")
	for round := range askRounds {
		if round > 0 {
			if sleep(ctx, backoff(round)) != nil {
				return canceled(ctx, last.Error())
			}
		}
		all := d.candidates()
		slices.SortStableFunc(all, func(a, b *peer) int { return cmp.Compare(one(a.url == avoid), one(b.url == avoid)) })
		for _, p := range all {
			e := d.askOne(ctx, p, question)
			if e == nil || !e.Reason.transient() {
				return e
			}
			if ctx.Err() != nil {
				return canceled(ctx, e.Error())
			}
			last = e
		}
		if len(all) == 0 {
			break
		}
	}
	return last
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

func (d *directory) askOne(ctx context.Context, p *peer, question func(context.Context, *peer) error) *Error {
	once, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	err := question(once, p)
	if err == nil {
		d.answered(p)
		return nil
	}
	e := fromCall(err)
	if e.unanswered() && ctx.Err() == nil {
		d.failed(p)
	}
	return e
}

// topic returns what is known of a topic, which it asks for the first time.
func (d *directory) topic(ctx context.Context, name string) (*topic, *Error) {
	d.mu.Lock()
	t := d.topics[name]
	d.mu.Unlock()
	if t != nil {
		return t, nil
	}
	return d.refresh(ctx, name, "")
}

// forget makes the next use of the topic ask again: it may have been made anew under the same name.
func (d *directory) forget(t *topic) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t.stale.Store(true)
	if d.topics[t.name] == t {
		delete(d.topics, t.name)
	}
}

// refresh asks for a topic and for the agents, the agent at the URL avoid last. Concurrent callers share a question.
func (d *directory) refresh(ctx context.Context, name, avoid string) (*topic, *Error) {
	for {
		q, mine := d.inquire(name)
		if mine {
			q.topic, q.err = d.askTopic(ctx, name, avoid)
			d.mu.Lock()
			delete(d.asking, name)
			d.mu.Unlock()
			close(q.done)
			return q.topic, q.err
		}
		select {
		case <-q.done:
		case <-ctx.Done():
			return nil, canceled(ctx, "ask for topic "+name)
		}
		if q.err == nil || q.err.Reason != ReasonCanceled {
			return q.topic, q.err
		} // else the one who asked gave up: ask again
	}
}

// inquire joins the question that is under way about a topic, or starts one, which is then the caller's to answer.
func (d *directory) inquire(name string) (q *inquiry, mine bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if q := d.asking[name]; q != nil {
		return q, false
	}
	q = &inquiry{done: make(chan struct{})}
	d.asking[name] = q
	return q, true
}

func (d *directory) askTopic(ctx context.Context, name, avoid string) (*topic, *Error) {
	if name == "" || len(name) > 200 {
		return nil, failure(ReasonInvalid, "a topic's name has 1 to 200 bytes").wrote(SurelyNotWritten)
	}
	var found *topic
	e := d.ask(ctx, avoid, func(ctx context.Context, p *peer) error {
		answer, err := p.rpc.GetMetadata(ctx, &dataplanev1.GetMetadataRequest{Topics: []string{name}})
		if err != nil {
			return err
		}
		if len(answer.GetTopics()) != 1 {
			return failure(ReasonNoAnswer, "%d topics in answer to one", len(answer.GetTopics())).wrote(SurelyNotWritten)
		}
		t, refused := d.learn(answer, answer.GetTopics()[0])
		if refused != nil {
			return refused
		}
		found = t
		return nil
	})
	if e != nil {
		e = e.wrote(SurelyNotWritten) // nothing of any record was sent
		if e.Topic == "" {
			e = e.at(name, -1)
		}
		return nil, e
	}
	return found, nil
}

// learn takes an answer over: the agents as they are now, and leaders where their epoch is not older.
func (d *directory) learn(answer *dataplanev1.GetMetadataResponse, m *dataplanev1.TopicMetadata) (*topic, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.learnAgents(answer.GetAgents())
	if r := m.GetRefusal(); r != nil {
		if t := d.topics[m.GetName()]; t != nil {
			t.stale.Store(true)
			delete(d.topics, m.GetName())
		}
		return nil, fromRefusal(r)
	}
	t := d.topics[m.GetName()]
	if !t.same(m) {
		fresh := &topic{
			id: m.GetTopicId(), name: m.GetName(), maxRecordBytes: int(m.GetMaxRecordBytes()), bufferedAllowed: m.GetAllowBufferedAcks(),
			keysRequired: m.GetKeysRequired(), partitions: int32(len(m.GetPartitions())), leaders: make([]leader, len(m.GetPartitions())),
		}
		if t != nil {
			t.stale.Store(true)
			if t.id == fresh.id {
				copy(fresh.leaders, t.leaders)
			}
		}
		t = fresh
		d.remember(t)
	}
	t.askedAt = time.Now()
	for _, p := range m.GetPartitions() {
		d.learnLeader(t, p.GetPartition(), p.GetLeader())
	}
	return t, nil
}

// same reports whether an answer tells nothing new but leaders.
func (t *topic) same(m *dataplanev1.TopicMetadata) bool {
	return t != nil && t.id == m.GetTopicId() && t.partitions == int32(len(m.GetPartitions())) &&
		t.maxRecordBytes == int(m.GetMaxRecordBytes()) && t.bufferedAllowed == m.GetAllowBufferedAcks() &&
		t.keysRequired == m.GetKeysRequired()
}

func (d *directory) remember(t *topic) {
	for name, other := range d.topics {
		if len(d.topics) < maxTopics {
			break
		}
		other.stale.Store(true)
		delete(d.topics, name)
	}
	d.topics[t.name] = t
}

// learnAgents replaces the agents that are not configured. Requires: mu held.
func (d *directory) learnAgents(agents []*dataplanev1.AgentMetadata) {
	alive, changed := make(map[string]bool, len(agents)), false
	for _, a := range agents {
		url, e := normalURL(a.GetAddress())
		if e != nil {
			continue // an agent that advertises nonsense is reached through others
		}
		alive[url] = true
		p := d.peerLocked(url)
		changed = changed || p.draining != a.GetDraining() || p.suspect != a.GetSuspect()
		p.agentID, p.zone, p.draining, p.suspect = a.GetAgentId(), a.GetZone(), a.GetDraining(), a.GetSuspect()
	}
	for url, p := range d.peers {
		if !p.seed && !alive[url] {
			delete(d.peers, url)
		}
	}
	if changed {
		for _, t := range d.topics {
			t.near.Store(nil)
		}
	}
}

// heard takes over whom an answer names as leader.
func (d *directory) heard(t *topic, partition int32, l *refusalv1.Leader) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.learnLeader(t, partition, l)
}

// learnLeader notes a leader unless a later one is known. Requires: mu held.
func (d *directory) learnLeader(t *topic, partition int32, l *refusalv1.Leader) {
	if partition < 0 || int(partition) >= len(t.leaders) {
		return
	}
	known := &t.leaders[partition]
	if l.GetEpoch() == known.epoch && l.GetAgentId() == known.agentID && known.url != "" {
		return
	}
	url, e := normalURL(l.GetAddress())
	if e != nil || l.GetEpoch() < known.epoch {
		return
	}
	now := leader{agentID: l.GetAgentId(), url: url, zone: l.GetZone(), epoch: l.GetEpoch()}
	if *known == now {
		return
	}
	*known = now
	t.near.Store(nil)
	for ch := range d.news {
		select {
		case ch <- struct{}{}:
		default: // its token is still there
		}
	}
}

// leaderOf returns who leads a partition as far as known.
func (d *directory) leaderOf(t *topic, partition int32) leader {
	d.mu.Lock()
	defer d.mu.Unlock()
	if int(partition) >= len(t.leaders) {
		return leader{}
	}
	return t.leaders[partition]
}

// leaderAndAge is leaderOf and age at once.
func (d *directory) leaderAndAge(t *topic, partition int32) (leader, time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if int(partition) >= len(t.leaders) {
		return leader{}, time.Since(t.askedAt)
	}
	return t.leaders[partition], time.Since(t.askedAt)
}

// near lists the partitions that are led in the client's zone, without those whose leader leaves or is thought to be gone if there are others.
func (d *directory) near(t *topic) []int32 {
	if d.zone == "" {
		return nil
	}
	if ps := t.near.Load(); ps != nil {
		return *ps
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var stay, leave []int32
	for p := range t.leaders {
		lead := &t.leaders[p]
		switch agent := d.peers[lead.url]; {
		case lead.url == "" || lead.zone != d.zone:
		case agent != nil && (agent.draining || agent.suspect):
			leave = append(leave, int32(p))
		default:
			stay = append(stay, int32(p))
		}
	}
	if len(stay) == 0 {
		stay = leave
	}
	t.near.Store(&stay)
	return stay
}

// age is the time since the topic was last asked for.
func (d *directory) age(t *topic) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Since(t.askedAt)
}

// equals returns the leading part of candidates that is as good as the first.
func (d *directory) equals(candidates []*peer) []*peer {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for i, p := range candidates {
		if d.cost(p, now) != d.cost(candidates[0], now) {
			return candidates[:i]
		}
	}
	return candidates
}
