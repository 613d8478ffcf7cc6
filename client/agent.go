package client

import (
	"context"
	"strings"
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
	// AgentUnfit: it lives and cannot write to the bucket; nothing is placed on it.
	AgentUnfit = AgentState(controlplanev1.AgentState_AGENT_STATE_UNFIT)
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
	case AgentUnfit:
		return "unfit"
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
	LeaseCount      int32     // partitions that it leads
	AssignedCount   int32     // partitions that it should lead
	EndReason       string    // "expired", "superseded", "deregistered"; empty: the session lives
	// CapacityBytesPerSecond is its weight in placement, as it registered.
	CapacityBytesPerSecond int64
	// InBytesPerSecond and OutBytesPerSecond are of its last report, about 10 s old at most; 0 where there is none.
	InBytesPerSecond, OutBytesPerSecond int64
}

func agentFrom(g *controlplanev1.Agent) Agent {
	return Agent{
		ID: g.GetAgentId(), AgentGroup: g.GetAgentGroup(), Zone: g.GetZone(), Address: g.GetAddress(), Version: g.GetVersion(),
		State: AgentState(g.GetState()), SessionID: g.GetSessionId(), StartedAt: timeFrom(g.GetStartedAt()),
		LastHeartbeatAt: timeFrom(g.GetLastHeartbeatAt()), ExpiresAt: timeFrom(g.GetExpiresAt()),
		LeaseCount: g.GetLeaseCount(), AssignedCount: g.GetAssignedCount(), EndReason: g.GetEndReason(),
		CapacityBytesPerSecond: g.GetCapacityBytesPerSecond(),
		InBytesPerSecond:       g.GetInBytesPerSecond(), OutBytesPerSecond: g.GetOutBytesPerSecond(),
	}
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
		agents = append(agents, agentFrom(g))
	}
	return agents, nil
}

// Direction says which way bytes went, seen from the agent that counted them.
type Direction int8

const (
	// DirectionProduce: from a client that produced.
	DirectionProduce = Direction(controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_PRODUCE)
	// DirectionFetch: to a client that fetched or consumed.
	DirectionFetch = Direction(controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_FETCH)
	// DirectionForward: to the leader, for a producer that asked another agent.
	DirectionForward = Direction(controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_FORWARD)
	// DirectionHandoff: to the successor, for a producer that had not heard of a hand-off yet.
	DirectionHandoff = Direction(controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_HANDOFF)
	// DirectionCache: to another agent of the zone, from the cache that they share.
	DirectionCache = Direction(controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_CACHE)
	// DirectionNotice: to another agent: commit notices.
	DirectionNotice = Direction(controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_NOTICE)
)

func (d Direction) String() string {
	name, known := controlplanev1.TrafficDirection_name[int32(d)]
	if !known || d == 0 {
		return "unknown"
	}
	return strings.ToLower(strings.TrimPrefix(name, "TRAFFIC_DIRECTION_"))
}

// Traffic is bytes between an agent and one zone.
type Traffic struct {
	Direction Direction
	Zone      string // of the other side; empty: unknown
	Bytes     int64
}

// AgentDescription is an agent with its traffic.
type AgentDescription struct {
	Agent Agent
	// Traffic since the process started, from its last report.
	Traffic []Traffic
	// ReportedAt is when that report arrived; zero: there is none.
	ReportedAt time.Time
}

// DescribeAgent describes the newest session of an agent. Refused with ReasonUnknownAgent.
func (a *Admin) DescribeAgent(ctx context.Context, agentID string) (AgentDescription, error) {
	var d AgentDescription
	err := a.call(ctx, true, func(ctx context.Context, s controlPlane) error {
		answer, err := s.cluster.DescribeAgent(ctx, &controlplanev1.DescribeAgentRequest{AgentId: agentID})
		d = AgentDescription{Agent: agentFrom(answer.GetAgent()), ReportedAt: timeFrom(answer.GetReportedAt())}
		for _, t := range answer.GetTraffic() {
			d.Traffic = append(d.Traffic, Traffic{Direction: Direction(t.GetDirection()), Zone: t.GetZone(), Bytes: t.GetBytes()})
		}
		return err
	})
	return d, err
}
