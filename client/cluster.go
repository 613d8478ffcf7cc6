package client

import (
	"context"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// AgentState is the state of an agent's newest session.
type AgentState int8

const (
	// AgentLive: its session lives.
	AgentLive = AgentState(controlplanev1.AgentState_AGENT_STATE_LIVE)
	// AgentSuspect: it has been silent, its partitions go elsewhere.
	AgentSuspect = AgentState(controlplanev1.AgentState_AGENT_STATE_SUSPECT)
	// AgentDraining: it hands its partitions over and will leave.
	AgentDraining = AgentState(controlplanev1.AgentState_AGENT_STATE_DRAINING)
	// AgentEnded: its session has ended.
	AgentEnded = AgentState(controlplanev1.AgentState_AGENT_STATE_ENDED)
)

func (s AgentState) String() string {
	switch s {
	case AgentLive:
		return "live"
	case AgentSuspect:
		return "suspect"
	case AgentDraining:
		return "draining"
	case AgentEnded:
		return "ended"
	}
	return "unknown"
}

// Agent is an agent and its newest session.
type Agent struct {
	ID              string
	AgentGroup      string
	Zone            string
	Address         string // base URL of its listener
	Version         string
	State           AgentState
	SessionID       string // UUID
	StartedAt       time.Time
	LastHeartbeatAt time.Time
	ExpiresAt       time.Time // when the session ends without a further heartbeat
	LeaseCount      int32
	EndReason       string // "expired", "superseded", "deregistered"; empty: the session lives
}

// ListAgents returns the agents that live, or ended within the last day, by agent group, zone and id. agentGroup
// empty: of all agent groups that the key may see.
func (a *Admin) ListAgents(ctx context.Context, agentGroup string) ([]Agent, error) {
	var found *controlplanev1.ListAgentsResponse
	err := a.call(ctx, true, func(ctx context.Context, s controlPlane) (err error) {
		found, err = s.cluster.ListAgents(ctx, &controlplanev1.ListAgentsRequest{AgentGroup: agentGroup})
		return err
	})
	if err != nil {
		return nil, err
	}
	agents := make([]Agent, 0, len(found.GetAgents()))
	for _, g := range found.GetAgents() {
		agents = append(agents, Agent{
			ID: g.GetAgentId(), AgentGroup: g.GetAgentGroup(), Zone: g.GetZone(), Address: g.GetAddress(), Version: g.GetVersion(),
			State: AgentState(g.GetState()), SessionID: g.GetSessionId(), StartedAt: timeFrom(g.GetStartedAt()),
			LastHeartbeatAt: timeFrom(g.GetLastHeartbeatAt()), ExpiresAt: timeFrom(g.GetExpiresAt()),
			LeaseCount: g.GetLeaseCount(), EndReason: g.GetEndReason(),
		})
	}
	return agents, nil
}

// Lease is who leads a partition.
type Lease struct {
	Topic           string
	TopicID         string // UUID
	Partition       int32
	LeaderAgentID   string // empty: nobody leads it
	LeaderZone      string
	Epoch           int32     // of the newest tenure; 0: never led
	ExpiresAt       time.Time // when the leader's session ends without a further heartbeat; zero: nobody leads it
	AssignedAgentID string    // who should lead it; empty: nobody
	HighWatermark   int64
}

// LeaseFilter narrows ListLeases; the zero value lists all that the key may see.
type LeaseFilter struct {
	Topic         string // only this topic
	LeaderAgentID string // only those led by this agent
}

// ListLeases returns a lease for each partition, by topic name and partition.
func (a *Admin) ListLeases(ctx context.Context, f LeaseFilter) ([]Lease, error) {
	var all []Lease
	err := pages(func(token string) (string, error) {
		var page *controlplanev1.ListLeasesResponse
		err := a.call(ctx, true, func(ctx context.Context, s controlPlane) (err error) {
			page, err = s.cluster.ListLeases(ctx, &controlplanev1.ListLeasesRequest{
				Topic: f.Topic, LeaderAgentId: f.LeaderAgentID, PageSize: adminPage, PageToken: token,
			})
			return err
		})
		for _, l := range page.GetLeases() {
			all = append(all, Lease{
				Topic: l.GetTopic(), TopicID: l.GetTopicId(), Partition: l.GetPartition(), LeaderAgentID: l.GetLeader(),
				LeaderZone: l.GetZone(), Epoch: l.GetEpoch(), ExpiresAt: timeFrom(l.GetExpiresAt()),
				AssignedAgentID: l.GetAssignedAgentId(), HighWatermark: l.GetHighWatermark(),
			})
		}
		return page.GetNextPageToken(), err
	})
	return all, err
}
