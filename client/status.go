package client

import (
	"context"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// ClusterStatus is the cluster at a glance.
type ClusterStatus struct {
	// AgentGroups that the key may see.
	AgentGroups []AgentGroupStatus
	// Warnings say what needs attention, a sentence each; empty: nothing.
	Warnings []string
	// AnsweredBy names the replica that answered.
	AnsweredBy string
	// PlacementBy names the replica that decides placement now; empty: none.
	PlacementBy string
}

// AgentGroupStatus is an agent group at a glance.
type AgentGroupStatus struct {
	AgentGroup string
	Zones      []ZoneStatus
	Topics     int32
	Partitions int32
	// LeaderlessPartitions: nobody leads them, or their leader's session has ended.
	LeaderlessPartitions int32
	// MovingPartitions: their leader is not the assigned agent; hand-offs under way.
	MovingPartitions int32
	// Traffic between agents and others, since the agents started.
	Traffic []ZoneTraffic
	// ClientBytesAcrossZones were produced and fetched by clients of another zone.
	ClientBytesAcrossZones int64
	// AgentBytesAcrossZones went between agents: forwarded, handed off, notices.
	AgentBytesAcrossZones int64
}

// ZoneStatus is a zone of an agent group.
type ZoneStatus struct {
	Zone                                string
	Agents                              int32 // whose session lives
	DrainingAgents, SuspectAgents       int32
	Partitions                          int32 // led in the zone
	InBytesPerSecond, OutBytesPerSecond int64
	CapacityBytesPerSecond              int64
}

// ZoneTraffic is bytes of batches between the agents of a zone and others.
type ZoneTraffic struct {
	AgentZone string
	OtherZone string // empty: unknown
	Direction Direction
	Bytes     int64
}

// ClusterStatus returns the cluster at a glance.
func (a *Admin) ClusterStatus(ctx context.Context) (ClusterStatus, error) {
	var status ClusterStatus
	err := a.call(ctx, true, func(ctx context.Context, s controlPlane) error {
		answer, err := s.cluster.GetClusterStatus(ctx, &controlplanev1.GetClusterStatusRequest{})
		status = ClusterStatus{Warnings: answer.GetWarnings(), AnsweredBy: answer.GetAnsweredBy(), PlacementBy: answer.GetPlacementBy()}
		for _, g := range answer.GetAgentGroups() {
			status.AgentGroups = append(status.AgentGroups, agentGroupStatusFrom(g))
		}
		return err
	})
	return status, err
}

func agentGroupStatusFrom(m *controlplanev1.AgentGroupStatus) AgentGroupStatus {
	g := AgentGroupStatus{
		AgentGroup: m.GetAgentGroup(), Topics: m.GetTopics(), Partitions: m.GetPartitions(),
		LeaderlessPartitions: m.GetLeaderlessPartitions(), MovingPartitions: m.GetMovingPartitions(),
		ClientBytesAcrossZones: m.GetClientBytesAcrossZones(), AgentBytesAcrossZones: m.GetAgentBytesAcrossZones(),
	}
	for _, z := range m.GetZones() {
		g.Zones = append(g.Zones, ZoneStatus{
			Zone: z.GetZone(), Agents: z.GetAgents(), DrainingAgents: z.GetDrainingAgents(), SuspectAgents: z.GetSuspectAgents(),
			Partitions: z.GetPartitions(), InBytesPerSecond: z.GetInBytesPerSecond(), OutBytesPerSecond: z.GetOutBytesPerSecond(),
			CapacityBytesPerSecond: z.GetCapacityBytesPerSecond(),
		})
	}
	for _, t := range m.GetTraffic() {
		g.Traffic = append(g.Traffic, ZoneTraffic{
			AgentZone: t.GetAgentZone(), OtherZone: t.GetOtherZone(), Direction: Direction(t.GetDirection()), Bytes: t.GetBytes(),
		})
	}
	return g
}
