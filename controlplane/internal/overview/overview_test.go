package overview_test

import (
	"slices"
	"strings"
	"testing"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/overview"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

const (
	live     = controlplanev1.AgentState_AGENT_STATE_LIVE
	suspect  = controlplanev1.AgentState_AGENT_STATE_SUSPECT
	draining = controlplanev1.AgentState_AGENT_STATE_DRAINING
	unfit    = controlplanev1.AgentState_AGENT_STATE_UNFIT
	ended    = controlplanev1.AgentState_AGENT_STATE_ENDED
	produce  = controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_PRODUCE
	handoff  = controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_HANDOFF
)

func agent(id, group, zone string, state controlplanev1.AgentState) *controlplanev1.Agent {
	return &controlplanev1.Agent{AgentId: id, AgentGroup: group, Zone: zone, State: state, InBytesPerSecond: 10, CapacityBytesPerSecond: 100}
}

// busy is a cluster with everything in it.
func busy() *store.ClusterView {
	return &store.ClusterView{
		Agents: []*controlplanev1.Agent{
			agent("a", "blue", "z1", live), agent("b", "blue", "z1", draining), agent("c", "blue", "z2", suspect), agent("d", "blue", "z2", ended),
			agent("e", "green", "z1", unfit),
		},
		Topics: map[store.AgentGroup]int32{"blue": 2, "green": 0, "red": 1},
		Partitions: []store.PartitionTally{
			{AgentGroup: "blue", Zone: "z1", Led: true, Partitions: 7, Moving: 2}, {AgentGroup: "blue", Partitions: 3}, {AgentGroup: "red", Partitions: 4},
		},
		Traffic: []store.ReportedTraffic{
			{AgentGroup: "blue", Zone: "z1", Traffic: []*controlplanev1.Traffic{
				{Direction: produce, Zone: "z1", Bytes: 1000},
				{Direction: produce, Zone: "z2", Bytes: 10},
				{Direction: produce, Bytes: 500},
				{Direction: handoff, Zone: "z2", Bytes: 7},
			}},
			{AgentGroup: "blue", Zone: "z1", Traffic: []*controlplanev1.Traffic{{Direction: produce, Zone: "z2", Bytes: 5}}},
			{AgentGroup: "green", Zone: "z1", Traffic: []*controlplanev1.Traffic{{Direction: produce, Zone: "z9", Bytes: 99}}},
		},
		Deserted: []store.DesertedZone{{AgentGroup: "blue", Zone: "z9", Topic: "orders"}},
	}
}

func TestClusterIsCounted(t *testing.T) {
	t.Parallel()
	status := overview.Of(busy(), nil, "here")
	if len(status.GetAgentGroups()) != 3 || status.GetAnsweredBy() != "here" {
		t.Fatalf("%v", status)
	}
	blue := status.GetAgentGroups()[0]
	if blue.GetPartitions() != 10 || blue.GetLeaderlessPartitions() != 3 || blue.GetMovingPartitions() != 2 || blue.GetTopics() != 2 {
		t.Errorf("partitions: %v", blue)
	}
	// Of a zone that nobody named it is not known whether bytes crossed; those of other agent groups are theirs.
	if blue.GetClientBytesAcrossZones() != 15 || blue.GetAgentBytesAcrossZones() != 7 {
		t.Errorf("across zones: %d of clients, %d of agents", blue.GetClientBytesAcrossZones(), blue.GetAgentBytesAcrossZones())
	}
	z1, z2 := blue.GetZones()[0], blue.GetZones()[1]
	if z1.GetAgents() != 2 || z1.GetDrainingAgents() != 1 || z1.GetPartitions() != 7 || z1.GetCapacityBytesPerSecond() != 200 {
		t.Errorf("z1: %v", z1)
	}
	if z2.GetAgents() != 1 || z2.GetSuspectAgents() != 1 || z2.GetPartitions() != 0 { // whose session has ended is none
		t.Errorf("z2: %v", z2)
	}
}

func TestWarningsSayWhatNeedsAttention(t *testing.T) {
	t.Parallel()
	halted := &controlplanev1.GetCatalogStatusResponse{State: controlplanev1.CatalogState_CATALOG_STATE_HALTED}
	warnings := overview.Of(busy(), halted, "here").GetWarnings()
	for _, want := range []string{
		"halted", "3 of 10 partitions of agent group blue have no leader", "red has 4 partitions and no agent", "gone silent: c", "bucket: e",
		"zone z9, which topic orders prefers", "No control plane decides placement",
	} {
		if !slices.ContainsFunc(warnings, func(said string) bool { return strings.Contains(said, want) }) {
			t.Errorf("nobody says %q in %q", want, warnings)
		}
	}
	if len(warnings) != 7 || !strings.Contains(warnings[0], "halted") {
		t.Errorf("warnings: %q", warnings)
	}
}

func TestAQuietClusterNeedsNoAttention(t *testing.T) {
	t.Parallel()
	view := &store.ClusterView{
		Agents: []*controlplanev1.Agent{agent("a", "blue", "z1", live)}, Topics: map[store.AgentGroup]int32{"blue": 1}, PlacementBy: "p",
		Partitions: []store.PartitionTally{{AgentGroup: "blue", Zone: "z1", Led: true, Partitions: 7}},
	}
	serving := &controlplanev1.GetCatalogStatusResponse{State: controlplanev1.CatalogState_CATALOG_STATE_SERVING}
	if warnings := overview.Of(view, serving, "here").GetWarnings(); len(warnings) > 0 {
		t.Errorf("warnings: %q", warnings)
	}
}
