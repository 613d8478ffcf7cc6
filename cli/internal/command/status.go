package command

import (
	"context"
	"fmt"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/output"
)

type clusterCommand struct {
	Status clusterStatusCommand `cmd:"" help:"Show agents by agent group and zone, partitions without a leader, bytes across zones, warnings."`
}

type clusterStatusCommand struct{}

// clusterStatus is how the cluster is printed. Stable.
type clusterStatus struct {
	AgentGroups []groupStatus `json:"agent_groups"`
	Warnings    []string      `json:"warnings"`
	AnsweredBy  string        `json:"answered_by"`
	PlacementBy *string       `json:"placement_by"`
}

// groupStatus is an agent group at a glance.
type groupStatus struct {
	AgentGroup             string        `json:"agent_group"`
	Topics                 int32         `json:"topics"`
	Partitions             int32         `json:"partitions"`
	LeaderlessPartitions   int32         `json:"leaderless_partitions"`
	MovingPartitions       int32         `json:"moving_partitions"`
	ClientBytesAcrossZones int64         `json:"client_bytes_across_zones"`
	AgentBytesAcrossZones  int64         `json:"agent_bytes_across_zones"`
	Zones                  []zoneStatus  `json:"zones"`
	Traffic                []zoneTraffic `json:"traffic"`
}

// zoneStatus is a zone of an agent group.
type zoneStatus struct {
	Zone                   string `json:"zone"`
	Agents                 int32  `json:"agents"`
	DrainingAgents         int32  `json:"draining_agents"`
	SuspectAgents          int32  `json:"suspect_agents"`
	Partitions             int32  `json:"partitions"`
	InBytesPerSecond       int64  `json:"in_bytes_per_second"`
	OutBytesPerSecond      int64  `json:"out_bytes_per_second"`
	CapacityBytesPerSecond int64  `json:"capacity_bytes_per_second"`
}

// zoneTraffic is bytes of batches between the agents of a zone and others; null: an unknown zone.
type zoneTraffic struct {
	AgentZone string  `json:"agent_zone"`
	OtherZone *string `json:"other_zone"`
	Direction string  `json:"direction"`
	Bytes     int64   `json:"bytes"`
}

func clusterStatusFrom(s client.ClusterStatus) clusterStatus {
	status := clusterStatus{
		AgentGroups: make([]groupStatus, 0, len(s.AgentGroups)), Warnings: append([]string{}, s.Warnings...),
		AnsweredBy: s.AnsweredBy, PlacementBy: orNull(s.PlacementBy),
	}
	for _, g := range s.AgentGroups {
		status.AgentGroups = append(status.AgentGroups, groupStatusFrom(g))
	}
	return status
}

func groupStatusFrom(g client.AgentGroupStatus) groupStatus {
	group := groupStatus{
		AgentGroup: g.AgentGroup, Topics: g.Topics, Partitions: g.Partitions, LeaderlessPartitions: g.LeaderlessPartitions,
		MovingPartitions: g.MovingPartitions, ClientBytesAcrossZones: g.ClientBytesAcrossZones, AgentBytesAcrossZones: g.AgentBytesAcrossZones,
		Zones: make([]zoneStatus, 0, len(g.Zones)), Traffic: make([]zoneTraffic, 0, len(g.Traffic)),
	}
	for _, z := range g.Zones {
		group.Zones = append(group.Zones, zoneStatus(z))
	}
	for _, t := range g.Traffic {
		group.Traffic = append(group.Traffic, zoneTraffic{
			AgentZone: t.AgentZone, OtherZone: orNull(t.OtherZone), Direction: t.Direction.String(), Bytes: t.Bytes,
		})
	}
	return group
}

// statusTables are for people: what needs attention comes first.
func statusTables(s clusterStatus) []output.Rows {
	var tables []output.Rows
	if len(s.Warnings) > 0 {
		tables = append(tables, sentences("WARNINGS", s.Warnings))
	}
	return append(tables, groupRows(s), zoneRows(s), crossingRows(s))
}

func groupRows(s clusterStatus) output.Rows {
	rows := output.Rows{
		Head:  []string{"AGENT GROUP", "TOPICS", "PARTITIONS", "LEADERLESS", "MOVING", "CLIENTS ACROSS ZONES", "AGENTS ACROSS ZONES"},
		Empty: "There are no agent groups.",
	}
	for _, g := range s.AgentGroups {
		rows.Body = append(rows.Body, []string{
			g.AgentGroup, fmt.Sprint(g.Topics), fmt.Sprint(g.Partitions), fmt.Sprint(g.LeaderlessPartitions), fmt.Sprint(g.MovingPartitions),
			output.Bytes(g.ClientBytesAcrossZones), output.Bytes(g.AgentBytesAcrossZones),
		})
	}
	return rows
}

func zoneRows(s clusterStatus) output.Rows {
	rows := output.Rows{
		Head:  []string{"AGENT GROUP", "ZONE", "AGENTS", "DRAINING", "SUSPECT", "LEADS", "IN", "OUT", "CAPACITY", "USED"},
		Empty: "No agent lives.",
	}
	for _, g := range s.AgentGroups {
		for _, z := range g.Zones {
			rows.Body = append(rows.Body, []string{
				g.AgentGroup, z.Zone, fmt.Sprint(z.Agents), fmt.Sprint(z.DrainingAgents), fmt.Sprint(z.SuspectAgents), fmt.Sprint(z.Partitions),
				output.Rate(z.InBytesPerSecond), output.Rate(z.OutBytesPerSecond), output.Rate(z.CapacityBytesPerSecond),
				share(z.InBytesPerSecond+z.OutBytesPerSecond, z.CapacityBytesPerSecond),
			})
		}
	}
	return rows
}

// share is a part of a whole in percent; empty: there is no whole.
func share(part, whole int64) string {
	if whole <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f %%", 100*float64(part)/float64(whole))
}

// crossingRows are the ways that cross zones, or whose other side is unknown.
func crossingRows(s clusterStatus) output.Rows {
	rows := output.Rows{
		Head:  []string{"AGENT GROUP", "AGENT ZONE", "OTHER ZONE", "DIRECTION", "BYTES"},
		Empty: "No bytes crossed zones.",
	}
	for _, g := range s.AgentGroups {
		for _, t := range g.Traffic {
			other := "unknown"
			if t.OtherZone != nil {
				other = *t.OtherZone
			}
			if other != t.AgentZone && t.Bytes > 0 {
				rows.Body = append(rows.Body, []string{g.AgentGroup, t.AgentZone, other, t.Direction, output.Bytes(t.Bytes)})
			}
		}
	}
	return rows
}

// Run shows the status.
func (clusterStatusCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	found, err := admin.ClusterStatus(ctx)
	if err != nil {
		return fmt.Errorf("cluster status: %w", err)
	}
	status := clusterStatusFrom(found)
	if e.Output != output.Table {
		return e.print(status, output.Rows{})
	}
	return e.tables(statusTables(status)...)
}
