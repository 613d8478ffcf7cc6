package memory

import (
	"cmp"
	"context"
	"slices"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// group finds an agent group that was not removed.
func (s *Store) group(name store.AgentGroup) (*group, error) {
	if g, known := s.groups[name]; known && !g.removed {
		return g, nil
	}
	return nil, store.Refuse(refusalv1.Reason_REASON_UNKNOWN_AGENT_GROUP, "there is no agent group %q", name)
}

// EnsureAgentGroup creates the agent group where it does not exist.
func (s *Store) EnsureAgentGroup(_ context.Context, name store.AgentGroup) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeGroup(name)
	return nil
}

// makeGroup says whether there was none. One that was removed goes on with its revisions.
func (s *Store) makeGroup(name store.AgentGroup) bool {
	g, known := s.groups[name]
	switch {
	case !known:
		s.groups[name] = &group{name: name}
	case g.removed:
		g.removed = false
		s.stamp(g)
	default:
		return false
	}
	return true
}

// CreateAgentGroup creates an agent group that does not exist.
func (s *Store) CreateAgentGroup(_ context.Context, request *controlplanev1.CreateAgentGroupRequest) (*controlplanev1.CreateAgentGroupResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.makeGroup(store.AgentGroup(request.GetAgentGroup())) {
		return nil, store.Refuse(refusalv1.Reason_REASON_AGENT_GROUP_EXISTS, "the agent group exists")
	}
	return &controlplanev1.CreateAgentGroupResponse{AgentGroup: &controlplanev1.AgentGroup{AgentGroup: request.GetAgentGroup()}}, nil
}

// ListAgentGroups lists agent groups by name.
func (s *Store) ListAgentGroups(context.Context) (*controlplanev1.ListAgentGroupsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	response := &controlplanev1.ListAgentGroupsResponse{}
	for _, g := range s.groups {
		if !g.removed {
			response.AgentGroups = append(response.AgentGroups, s.contents(g))
		}
	}
	slices.SortFunc(response.AgentGroups, func(a, b *controlplanev1.AgentGroup) int { return cmp.Compare(a.GetAgentGroup(), b.GetAgentGroup()) })
	return response, nil
}

// contents counts what is in the agent group.
func (s *Store) contents(g *group) *controlplanev1.AgentGroup {
	message := &controlplanev1.AgentGroup{AgentGroup: string(g.name)}
	for _, t := range s.topics {
		if t.group == g && !t.deleted {
			message.Topics++
		}
	}
	for _, n := range s.sessions {
		if n.group == g && n.lives() {
			message.Agents++
		}
	}
	for _, k := range s.keys {
		if k.principal.AgentGroup == g.name && k.revokedAt.IsZero() {
			message.Keys++
		}
	}
	return message
}

// DeleteAgentGroup removes an agent group in which nothing is left.
func (s *Store) DeleteAgentGroup(_ context.Context, request *controlplanev1.DeleteAgentGroupRequest) (*controlplanev1.DeleteAgentGroupResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if store.AgentGroup(request.GetAgentGroup()) == store.DefaultAgentGroup {
		return nil, invalid("agent_group", "is the default one")
	}
	g, err := s.group(store.AgentGroup(request.GetAgentGroup()))
	if err != nil {
		return nil, err
	}
	left := s.contents(g)
	rows := false // of topics, deleted or not
	for _, t := range s.topics {
		rows = rows || (t.group == g && len(t.partitions) > 0)
	}
	if rows || left.GetTopics()+left.GetAgents()+left.GetKeys() > 0 {
		return nil, store.Refuse(refusalv1.Reason_REASON_AGENT_GROUP_NOT_EMPTY, "something is left in it")
	}
	s.stamp(g)
	g.removed, g.unsettled = true, false
	return &controlplanev1.DeleteAgentGroupResponse{}, nil
}
