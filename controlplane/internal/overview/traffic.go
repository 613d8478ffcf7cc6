package overview

import (
	"cmp"
	"maps"
	"slices"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// way is from an agent's zone to another, or the other way round.
type way struct {
	agentZone, otherZone string
	direction            controlplanev1.TrafficDirection
}

// addTraffic sums what the agents of the group reported.
func addTraffic(status *controlplanev1.AgentGroupStatus, reports []store.ReportedTraffic) {
	bytes := map[way]int64{}
	for _, report := range reports {
		if string(report.AgentGroup) != status.GetAgentGroup() {
			continue
		}
		for _, t := range report.Traffic {
			bytes[way{report.Zone, t.GetZone(), t.GetDirection()}] += t.GetBytes()
		}
	}
	ways := slices.SortedFunc(maps.Keys(bytes), func(a, b way) int {
		return cmp.Or(cmp.Compare(a.agentZone, b.agentZone), cmp.Compare(a.otherZone, b.otherZone), cmp.Compare(a.direction, b.direction))
	})
	for _, w := range ways {
		status.Traffic = append(status.Traffic, &controlplanev1.ZoneTraffic{
			AgentZone: w.agentZone, OtherZone: w.otherZone, Direction: w.direction, Bytes: bytes[w],
		})
		if w.agentZone == w.otherZone || w.otherZone == "" { // of a zone that nobody named it is not known
			continue
		}
		if ofClients(w.direction) {
			status.ClientBytesAcrossZones += bytes[w]
		} else {
			status.AgentBytesAcrossZones += bytes[w]
		}
	}
}

func ofClients(direction controlplanev1.TrafficDirection) bool {
	return direction == controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_PRODUCE || direction == controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_FETCH
}
