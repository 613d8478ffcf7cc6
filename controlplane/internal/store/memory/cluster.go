package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// leasePage is how many leases are listed where the request does not say.
const leasePage = 10_000

// ListAgents lists the newest session of each agent that lives or ended within the last day.
func (s *Store) ListAgents(_ context.Context, bound store.AgentGroup, request *controlplanev1.ListAgentsRequest) (*controlplanev1.ListAgentsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	response := &controlplanev1.ListAgentsResponse{}
	for agentID, name := range s.agents {
		n := s.newest(agentID)
		seen := (bound == store.EveryAgentGroup || name == bound) && (request.GetAgentGroup() == "" || string(name) == request.GetAgentGroup())
		if seen && n != nil && (n.lives() || time.Since(n.endedAt) < 24*time.Hour) {
			response.Agents = append(response.Agents, s.agentMessage(n))
		}
	}
	slices.SortFunc(response.Agents, func(a, b *controlplanev1.Agent) int {
		return cmp.Or(cmp.Compare(a.GetAgentGroup(), b.GetAgentGroup()), cmp.Compare(a.GetZone(), b.GetZone()), cmp.Compare(a.GetAgentId(), b.GetAgentId()))
	})
	return response, nil
}

func (s *Store) newest(agentID string) (newest *session) {
	for _, n := range s.sessions {
		if n.agentID == agentID && (newest == nil || n.lives() || (!newest.lives() && n.startedAt.After(newest.startedAt))) {
			newest = n
		}
	}
	return newest
}

func (s *Store) agentMessage(n *session) *controlplanev1.Agent {
	agent := &controlplanev1.Agent{
		AgentId: n.agentID, AgentGroup: string(n.group.name), Zone: n.zone, Address: n.address, Version: n.version, State: n.state(),
		SessionId: n.id.String(), StartedAt: timestamppb.New(n.startedAt), LastHeartbeatAt: timestamppb.New(n.heardAt),
		ExpiresAt: timestamppb.New(n.heardAt.Add(n.duration)), EndReason: n.endReason,
		CapacityBytesPerSecond: n.capacity, InBytesPerSecond: n.report.GetInBytesPerSecond(), OutBytesPerSecond: n.report.GetOutBytesPerSecond(),
	}
	for _, p := range s.partitions(n.group) {
		if p.leader == n && n.lives() {
			agent.LeaseCount++
		}
		if p.assigned == n.agentID {
			agent.AssignedCount++
		}
	}
	return agent
}

func (n *session) state() controlplanev1.AgentState {
	switch {
	case !n.lives():
		return controlplanev1.AgentState_AGENT_STATE_ENDED
	case n.suspect:
		return controlplanev1.AgentState_AGENT_STATE_SUSPECT
	case n.leaving():
		return controlplanev1.AgentState_AGENT_STATE_DRAINING
	case n.unfit:
		return controlplanev1.AgentState_AGENT_STATE_UNFIT
	default:
		return controlplanev1.AgentState_AGENT_STATE_LIVE
	}
}

// ListLeases lists a page of partitions by topic name and number.
func (s *Store) ListLeases(_ context.Context, bound store.AgentGroup, request *controlplanev1.ListLeasesRequest) (*controlplanev1.ListLeasesResponse, error) {
	after, err := parseToken(request.GetPageToken())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if request.GetTopic() != "" {
		if _, err := s.named(bound, request.GetTopic()); err != nil {
			return nil, err
		}
	}
	response := &controlplanev1.ListLeasesResponse{}
	var last string
	for _, t := range s.byName() {
		for _, p := range t.partitions {
			lease := p.leaseMessage()
			at := fmt.Sprintf("%s/%010d", t.name, p.number)
			if at <= after || (bound != store.EveryAgentGroup && t.group.name != bound) ||
				(request.GetTopic() != "" && request.GetTopic() != t.name) ||
				(request.GetLeaderAgentId() != "" && request.GetLeaderAgentId() != lease.GetLeader()) {
				continue
			}
			if len(response.Leases) == int(cmp.Or(request.GetPageSize(), leasePage)) {
				response.NextPageToken = pageToken(last)
				return response, nil
			}
			response.Leases = append(response.Leases, lease)
			last = at
		}
	}
	return response, nil
}

func (p *partition) leaseMessage() *controlplanev1.Lease {
	lease := &controlplanev1.Lease{
		Topic: p.topic.name, TopicId: p.topic.id.String(), Partition: p.number, Epoch: p.epoch, AssignedAgentId: p.assigned,
		HighWatermark: p.highWatermark, Pinned: p.pinned,
	}
	if p.leader != nil && p.leader.lives() {
		lease.Leader, lease.Zone = p.leader.agentID, p.leader.zone
		lease.ExpiresAt = timestamppb.New(p.leader.heardAt.Add(p.leader.duration))
	}
	return lease
}
