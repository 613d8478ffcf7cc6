package overview

import (
	"fmt"
	"strings"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// mostNamed is how many agents a sentence names.
const mostNamed = 10

// warnings are sentences about what needs attention, the weightiest first.
func warnings(view *store.ClusterView, catalog *controlplanev1.GetCatalogStatusResponse, groups []*controlplanev1.AgentGroupStatus) (said []string) {
	switch catalog.GetState() { //nolint:exhaustive // the others need no attention
	case controlplanev1.CatalogState_CATALOG_STATE_HALTED:
		said = append(said, "The catalog has lost transactions and is halted: see `streamhouse catalog status`.")
	case controlplanev1.CatalogState_CATALOG_STATE_VERIFYING:
		said = append(said, "The database was restarted and its catalog is being verified: no partition gets a new leader meanwhile.")
	}
	for _, g := range groups {
		said = append(said, ofGroup(g)...)
	}
	said = append(said, ofAgents(view.Agents)...)
	for _, d := range view.Deserted {
		said = append(said, fmt.Sprintf("No agent of agent group %s lives in zone %s, which topic %s prefers: agents of other zones lead it.",
			d.AgentGroup, d.Zone, d.Topic))
	}
	if view.PlacementBy == "" {
		said = append(said, "No control plane decides placement: partitions are taken over when an agent is lost, and nothing is balanced.")
	}
	return said
}

func ofGroup(g *controlplanev1.AgentGroupStatus) (said []string) {
	agents := int32(0)
	for _, z := range g.GetZones() {
		agents += z.GetAgents()
	}
	if g.GetPartitions() > 0 && agents == 0 {
		return []string{fmt.Sprintf("Agent group %s has %d partitions and no agent: nobody serves them.", g.GetAgentGroup(), g.GetPartitions())}
	}
	if g.GetLeaderlessPartitions() > 0 {
		said = append(said, fmt.Sprintf("%d of %d partitions of agent group %s have no leader.", g.GetLeaderlessPartitions(), g.GetPartitions(), g.GetAgentGroup()))
	}
	return said
}

// ofAgents says which agents cannot lead for a reason that is not theirs to choose.
func ofAgents(agents []*controlplanev1.Agent) (said []string) {
	for _, kind := range []struct {
		state    controlplanev1.AgentState
		sentence string
	}{
		{controlplanev1.AgentState_AGENT_STATE_SUSPECT, "Agents that have gone silent: %s. Others take their partitions over."},
		{controlplanev1.AgentState_AGENT_STATE_UNFIT, "Agents that cannot write to the bucket: %s. Nothing is placed on them."},
	} {
		var ids []string
		for _, a := range agents {
			if a.GetState() == kind.state {
				ids = append(ids, a.GetAgentId())
			}
		}
		if len(ids) > mostNamed {
			ids = append(ids[:mostNamed], fmt.Sprintf("and %d more", len(ids)-mostNamed))
		}
		if len(ids) > 0 {
			said = append(said, fmt.Sprintf(kind.sentence, strings.Join(ids, ", ")))
		}
	}
	return said
}
