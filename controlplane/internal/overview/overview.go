package overview

import (
	"cmp"
	"maps"
	"slices"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// Of tells of what the store has counted. answeredBy names this replica. catalog may be nil: nothing is said of it.
func Of(view *store.ClusterView, catalog *controlplanev1.GetCatalogStatusResponse, answeredBy string) *controlplanev1.GetClusterStatusResponse {
	response := &controlplanev1.GetClusterStatusResponse{AnsweredBy: answeredBy, PlacementBy: view.PlacementBy}
	for _, name := range slices.Sorted(maps.Keys(view.Topics)) {
		response.AgentGroups = append(response.AgentGroups, groupStatus(view, name))
	}
	response.Warnings = warnings(view, catalog, response.GetAgentGroups())
	return response
}

func groupStatus(view *store.ClusterView, name store.AgentGroup) *controlplanev1.AgentGroupStatus {
	status := &controlplanev1.AgentGroupStatus{AgentGroup: string(name), Topics: view.Topics[name]}
	zones := map[string]*controlplanev1.ZoneStatus{}
	for _, agent := range view.Agents {
		if agent.GetAgentGroup() == string(name) && agent.GetState() != controlplanev1.AgentState_AGENT_STATE_ENDED {
			addAgent(zone(zones, agent.GetZone()), agent)
		}
	}
	for _, tally := range view.Partitions {
		if tally.AgentGroup != name {
			continue
		}
		status.Partitions += tally.Partitions
		status.MovingPartitions += tally.Moving
		if tally.Led {
			zone(zones, tally.Zone).Partitions += tally.Partitions
		} else {
			status.LeaderlessPartitions += tally.Partitions
		}
	}
	status.Zones = slices.SortedFunc(maps.Values(zones), func(a, b *controlplanev1.ZoneStatus) int { return cmp.Compare(a.GetZone(), b.GetZone()) })
	addTraffic(status, view.Traffic)
	return status
}

func zone(zones map[string]*controlplanev1.ZoneStatus, name string) *controlplanev1.ZoneStatus {
	if zones[name] == nil {
		zones[name] = &controlplanev1.ZoneStatus{Zone: name}
	}
	return zones[name]
}

func addAgent(zone *controlplanev1.ZoneStatus, agent *controlplanev1.Agent) {
	zone.Agents++
	switch agent.GetState() { //nolint:exhaustive // the others are not counted on their own
	case controlplanev1.AgentState_AGENT_STATE_DRAINING:
		zone.DrainingAgents++
	case controlplanev1.AgentState_AGENT_STATE_SUSPECT:
		zone.SuspectAgents++
	}
	zone.InBytesPerSecond += agent.GetInBytesPerSecond()
	zone.OutBytesPerSecond += agent.GetOutBytesPerSecond()
	zone.CapacityBytesPerSecond += agent.GetCapacityBytesPerSecond()
}
