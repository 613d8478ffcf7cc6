package client

import (
	"context"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// AgentGroup is an agent group and how much is in it.
type AgentGroup struct {
	Name   string
	Topics int32
	Agents int32 // whose session lives
	Keys   int32 // that are valid
}

func agentGroupFrom(g *controlplanev1.AgentGroup) AgentGroup {
	return AgentGroup{Name: g.GetAgentGroup(), Topics: g.GetTopics(), Agents: g.GetAgents(), Keys: g.GetKeys()}
}

// CreateAgentGroup makes an agent group; its name is 1 to 40 of small letters, digits and "-". Refused with ReasonAgentGroupExists or
// ReasonInvalid. It is not idempotent: after ReasonNoAnswer look whether the agent group is there.
func (a *Admin) CreateAgentGroup(ctx context.Context, name string) (AgentGroup, error) {
	var made AgentGroup
	err := a.call(ctx, false, func(ctx context.Context, s controlPlane) error {
		answer, err := s.groups.CreateAgentGroup(ctx, &controlplanev1.CreateAgentGroupRequest{AgentGroup: name})
		made = agentGroupFrom(answer.GetAgentGroup())
		return err
	})
	return made, err
}

// ListAgentGroups returns all agent groups by name.
func (a *Admin) ListAgentGroups(ctx context.Context) ([]AgentGroup, error) {
	var all []AgentGroup
	err := a.call(ctx, true, func(ctx context.Context, s controlPlane) error {
		answer, err := s.groups.ListAgentGroups(ctx, &controlplanev1.ListAgentGroupsRequest{})
		all = make([]AgentGroup, 0, len(answer.GetAgentGroups()))
		for _, g := range answer.GetAgentGroups() {
			all = append(all, agentGroupFrom(g))
		}
		return err
	})
	return all, err
}

// DeleteAgentGroup removes an agent group that has no topic, no live agent and no valid key. Refused with ReasonUnknownAgentGroup,
// ReasonAgentGroupNotEmpty, or ReasonInvalid for "default".
func (a *Admin) DeleteAgentGroup(ctx context.Context, name string) error {
	return a.call(ctx, false, func(ctx context.Context, s controlPlane) error {
		_, err := s.groups.DeleteAgentGroup(ctx, &controlplanev1.DeleteAgentGroupRequest{AgentGroup: name})
		return err
	})
}
