package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/placement"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// AssignOrphans gives every partition that nobody fit should lead to another agent. Of those that are led in good order only as many as there
// may be hand-offs.
func (s *Store) AssignOrphans(_ context.Context, name store.AgentGroup) (assigned int, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.group(name)
	if err != nil {
		return 0, false, err
	}
	budget := s.config.MaxMoves - s.moving(g)
	now := map[*partition]bool{}
	for _, p := range s.partitions(g) {
		switch {
		case s.assigneeIsPresent(p):
		case p.handOver("") && budget <= 0:
			more = true
		case p.handOver(""):
			budget--
			now[p] = true
		default:
			now[p] = true
		}
	}
	if !s.anyEligible(g) {
		more = false
	}
	g.unsettled = more
	return s.repair(g, func(p *partition) bool { return now[p] }), more, nil
}

// handOver: somebody leads it in good order who would have to hand it over to this agent.
func (p *partition) handOver(agentID string) bool {
	return p.leader != nil && p.leader.lives() && !p.leader.suspect && !p.leader.unfit && p.leader.agentID != agentID
}

// moving counts hand-offs under way.
func (s *Store) moving(g *group) (n int) {
	for _, p := range s.partitions(g) {
		if p.assigned != "" && p.handOver(p.assigned) {
			n++
		}
	}
	return n
}

func (s *Store) anyEligible(g *group) bool {
	for _, n := range s.sessions {
		if n.group == g && n.eligible() {
			return true
		}
	}
	return false
}

// eligible: it may be given partitions.
func (n *session) eligible() bool { return n.lives() && n.placementState() == placement.Eligible }

// repair assigns those of the orphans that are wanted; the others count for nothing.
func (s *Store) repair(g *group, wanted func(*partition) bool) (assigned int) {
	in, partitions := s.placementInput(g, func(p *partition) bool { return s.assigneeIsPresent(p) || wanted(p) })
	for _, move := range placement.Repair(in).Moves {
		p := partitions[move.Partition]
		s.assign(p, in.Agents[move.To].ID)
		assigned++
	}
	return assigned
}

// assign ends a pin: it was to another agent.
func (s *Store) assign(p *partition, agentID string) {
	p.assigned, p.pinned, p.revision = agentID, false, s.stamp(p.topic.group)
}

// placementInput is the agent group as placement sees it, and its partitions by their place there.
func (s *Store) placementInput(g *group, shown func(*partition) bool) (in placement.Input, placed []*partition) {
	agents, topics := map[string]int32{}, map[*topic]int32{}
	for _, n := range s.sessions {
		if n.group == g && n.lives() {
			agents[n.agentID] = int32(len(in.Agents))
			in.Agents = append(in.Agents, placement.Agent{ID: n.agentID, Zone: n.zone, CapacityBytesPerSecond: n.capacity, State: n.placementState()})
		}
	}
	for _, p := range s.partitions(g) {
		if _, known := topics[p.topic]; !known {
			topics[p.topic] = int32(len(in.Topics))
			in.Topics = append(in.Topics, placement.Topic{
				ID: p.topic.id, Name: p.topic.name, PreferredZones: p.topic.preferred, AllowBufferedAcks: p.topic.buffered,
			})
		}
		agent, assigned := agents[p.assigned]
		if !assigned {
			agent = placement.Nobody
		}
		if shown(p) {
			in.Partitions = append(in.Partitions, placement.Partition{Topic: topics[p.topic], Number: p.number, Agent: agent, Pinned: p.pinned})
			placed = append(placed, p)
		}
	}
	return in, placed
}

func (n *session) placementState() placement.State {
	switch {
	case n.leaving():
		return placement.Draining
	case n.unfit:
		return placement.Unfit
	case n.suspect:
		return placement.Suspect
	}
	return placement.Eligible
}

// Shapes answers what tells whether a plan still holds.
func (s *Store) Shapes(context.Context) (map[store.AgentGroup]store.Shape, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shapes := map[store.AgentGroup]store.Shape{}
	for name, g := range s.groups {
		if g.removed {
			continue
		}
		var reported time.Time
		for _, n := range s.sessions {
			if n.group == g && n.lives() && n.reportedAt.After(reported) {
				reported = n.reportedAt
			}
		}
		shapes[name] = store.Shape{Revision: g.revision, Changed: g.shape, ReportedAt: reported}
	}
	return shapes, nil
}

// PlacementInput answers an agent group as placement sees it.
func (s *Store) PlacementInput(_ context.Context, name store.AgentGroup) (*store.PlacementInput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.group(name)
	if err != nil {
		return nil, err
	}
	in, partitions := s.placementInput(g, func(*partition) bool { return true })
	planned := &store.PlacementInput{Input: in, Shape: store.Shape{Revision: g.revision, Changed: g.shape}, Leaders: make([]int32, len(partitions))}
	for i, p := range partitions {
		planned.Leaders[i] = placement.Nobody
		if p.handOver("") {
			planned.Leaders[i] = int32(slices.IndexFunc(in.Agents, func(a placement.Agent) bool { return a.ID == p.leader.agentID }))
		}
	}
	return planned, nil
}

// PartitionLoads answers what was reported; of two reports of one partition the greater counts.
func (s *Store) PartitionLoads(_ context.Context, name store.AgentGroup) (map[store.PartitionID]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	loads := map[store.PartitionID]int64{}
	for _, n := range s.sessions {
		if n.group.name != name || !n.lives() {
			continue
		}
		for _, p := range n.report.GetPartitions() {
			id := store.PartitionID{Topic: uuid.UUID(p.GetTopicId()), Number: p.GetPartition()}
			loads[id] = max(loads[id], p.GetBytesPerSecond())
		}
	}
	return loads, nil
}

// movePage is how many transfers are looked at in one call.
const movePage = 1000

// MovePartitions assigns in order, until there would be too many hand-offs.
func (s *Store) MovePartitions(_ context.Context, name store.AgentGroup, transfers []store.Transfer) (store.Moved, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var moved store.Moved
	g, err := s.group(name)
	if err != nil {
		return moved, err
	}
	budget := s.config.MaxMoves - s.moving(g)
	for _, t := range transfers[:min(len(transfers), movePage)] {
		_, p := s.find(t.Topic[:], t.Number)
		to := s.live(t.To)
		if p != nil && p.topic.group == g && p.assigned == t.From && !p.pinned && to != nil && to.eligible() {
			if p.handOver(t.To) {
				if budget--; budget < 0 {
					moved.Full = true
					break
				}
			}
			s.assign(p, t.To)
			moved.Assigned++
		}
		moved.Taken++
	}
	return moved, nil
}

// RequestDrain has an agent drain.
func (s *Store) RequestDrain(_ context.Context, agentID string) (store.AgentGroup, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.live(agentID)
	if n == nil {
		return "", unknownAgent()
	}
	if !n.drain {
		n.drain = true
		s.sessionsChanged(n.group)
	}
	return n.group.name, nil
}

func unknownAgent() error {
	return store.Refuse(refusalv1.Reason_REASON_UNKNOWN_AGENT, "there is no such agent")
}

// TransferLease pins a partition to an agent, or unpins it.
func (s *Store) TransferLease(_ context.Context, request *controlplanev1.TransferLeaseRequest) (*controlplanev1.TransferLeaseResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseHalted(); err != nil {
		return nil, err
	}
	t, err := s.named(store.EveryAgentGroup, request.GetTopic())
	if err != nil {
		return nil, err
	}
	p := t.partition(request.GetPartition())
	if p == nil {
		return nil, store.Refuse(refusalv1.Reason_REASON_UNKNOWN_PARTITION, "there is no such partition")
	}
	to := request.GetToAgentId()
	if to != "" {
		if err := s.refuseIneligible(t, to); err != nil {
			return nil, err
		}
		p.assigned = to
	}
	if revision := s.stamp(t.group); to != "" || p.pinned {
		p.pinned, p.revision = to != "", revision
	}
	s.unsettle(t.group)
	return &controlplanev1.TransferLeaseResponse{Lease: p.leaseMessage()}, nil
}

// FindLease answers the lease of one partition.
func (s *Store) FindLease(_ context.Context, bound store.AgentGroup, topic string, partition int32) (store.AgentGroup, *controlplanev1.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.named(bound, topic)
	if err != nil {
		return "", nil, err
	}
	p := t.partition(partition)
	if p == nil {
		return "", nil, store.Refuse(refusalv1.Reason_REASON_UNKNOWN_PARTITION, "there is no such partition")
	}
	return t.group.name, p.leaseMessage(), nil
}

func (s *Store) refuseIneligible(t *topic, agentID string) error {
	owner, seen := s.agents[agentID]
	switch n := s.live(agentID); {
	case !seen:
		return unknownAgent()
	case owner != t.group.name:
		return store.Refuse(refusalv1.Reason_REASON_WRONG_AGENT_GROUP, "the agent is of another agent group")
	case n == nil || !n.eligible():
		return store.Refuse(refusalv1.Reason_REASON_AGENT_NOT_ELIGIBLE, "the agent cannot lead it")
	}
	return nil
}

// Census counts.
func (s *Store) Census(ctx context.Context) (store.Census, error) {
	view, err := s.ClusterView(ctx, store.EveryAgentGroup)
	census := store.Census{Partitions: view.Partitions, Sessions: map[store.AgentGroup]map[controlplanev1.AgentState]int{}}
	for _, a := range view.Agents {
		if a.GetState() == controlplanev1.AgentState_AGENT_STATE_ENDED {
			continue
		}
		name := store.AgentGroup(a.GetAgentGroup())
		if census.Sessions[name] == nil {
			census.Sessions[name] = map[controlplanev1.AgentState]int{}
		}
		census.Sessions[name][a.GetState()]++
	}
	return census, err
}

// candidate is one who would decide placement; the first who asks does, until it closes.
type candidate struct {
	store *Store
	name  string
}

// PlacementCandidate makes a candidate.
func (s *Store) PlacementCandidate(name string) store.PlacementCandidate { return &candidate{s, name} }

// Leads takes the lead where nobody has it.
func (c *candidate) Leads(context.Context) (bool, error) {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	if c.store.placementLead == nil {
		c.store.placementLead = c
	}
	return c.store.placementLead == c, nil
}

// Close gives the lead up.
func (c *candidate) Close() {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	if c.store.placementLead == c {
		c.store.placementLead = nil
	}
}

// DescribeAgent describes an agent's newest session.
func (s *Store) DescribeAgent(_ context.Context, bound store.AgentGroup, request *controlplanev1.DescribeAgentRequest) (
	*controlplanev1.DescribeAgentResponse, error,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.newest(request.GetAgentId())
	if n == nil || (bound != store.EveryAgentGroup && n.group.name != bound) || (!n.lives() && time.Since(n.endedAt) > 24*time.Hour) {
		return nil, unknownAgent()
	}
	response := &controlplanev1.DescribeAgentResponse{Agent: s.agentMessage(n)}
	if n.report != nil {
		response.Traffic, response.ReportedAt = n.report.GetTraffic(), timestamppb.New(n.reportedAt)
	}
	return response, nil
}

// ClusterView counts.
func (s *Store) ClusterView(ctx context.Context, bound store.AgentGroup) (*store.ClusterView, error) {
	agents, err := s.ListAgents(ctx, bound, &controlplanev1.ListAgentsRequest{})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	view := &store.ClusterView{Agents: agents.GetAgents(), Topics: map[store.AgentGroup]int32{}}
	for name, g := range s.groups {
		if !g.removed && (bound == store.EveryAgentGroup || name == bound) {
			s.look(g, view)
		}
	}
	byGroup := func(a, b store.AgentGroup, rest ...int) int {
		return cmp.Or(append([]int{cmp.Compare(a, b)}, rest...)...)
	}
	slices.SortFunc(view.Partitions, func(a, b store.PartitionTally) int {
		return byGroup(a.AgentGroup, b.AgentGroup, cmp.Compare(a.Zone, b.Zone))
	})
	slices.SortFunc(view.Deserted, func(a, b store.DesertedZone) int {
		return byGroup(a.AgentGroup, b.AgentGroup, cmp.Compare(a.Zone, b.Zone))
	})
	slices.SortStableFunc(view.Traffic, func(a, b store.ReportedTraffic) int {
		return byGroup(a.AgentGroup, b.AgentGroup, cmp.Compare(a.Zone, b.Zone))
	})
	if s.placementLead != nil {
		view.PlacementBy = s.placementLead.name
	}
	return view, nil
}

// look adds an agent group to the view.
func (s *Store) look(g *group, view *store.ClusterView) {
	view.Topics[g.name] = s.contents(g).GetTopics()
	zones := map[string]bool{}
	for _, n := range s.sessions {
		if n.group == g && n.lives() {
			zones[n.zone] = true
			if n.report != nil {
				view.Traffic = append(view.Traffic, store.ReportedTraffic{AgentGroup: g.name, Zone: n.zone, Traffic: n.report.GetTraffic()})
			}
		}
	}
	tallies := map[string]store.PartitionTally{}
	for _, p := range s.partitions(g) {
		tally := store.PartitionTally{AgentGroup: g.name}
		if p.leader != nil && p.leader.lives() {
			tally.Zone, tally.Led = p.leader.zone, true
		}
		known := tallies[tally.Zone]
		tally.Partitions, tally.Moving, tally.Epoch = known.Partitions+1, known.Moving, max(known.Epoch, p.epoch)
		if tally.Led && p.assigned != "" && p.assigned != p.leader.agentID {
			tally.Moving++
		}
		tallies[tally.Zone] = tally
	}
	for _, tally := range tallies {
		view.Partitions = append(view.Partitions, tally)
	}
	deserted := map[string]string{}
	for _, t := range s.byName() {
		for _, zone := range t.preferred {
			if _, said := deserted[zone]; t.group == g && !zones[zone] && !said {
				deserted[zone] = t.name
			}
		}
	}
	for zone, topic := range deserted {
		view.Deserted = append(view.Deserted, store.DesertedZone{AgentGroup: g.name, Zone: zone, Topic: topic})
	}
}
