package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/control"
)

// orders are what other commands ask of a running cluster.
type orders struct{ s *Supervisor }

var _ control.Orders = orders{}

// Status lists the parts.
func (o orders) Status() []control.Part {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	list := make([]control.Part, 0, len(o.s.parts))
	for _, p := range o.s.parts {
		list = append(list, p.status())
	}
	return list
}

// Stop begins the stop.
func (o orders) Stop() { o.s.stop() }

// StartAgent starts an agent that has died, or one more.
func (o orders) StartAgent(_ context.Context, agent control.NewAgent) (control.Part, error) {
	return o.s.startAgent(agent)
}

// startAgent belongs to the cluster, not to who asked for it: it goes on should that one leave.
func (s *Supervisor) startAgent(agent control.NewAgent) (control.Part, error) {
	s.starting.Lock()
	defer s.starting.Unlock()
	if !s.complete {
		return control.Part{}, errors.New("dev is still starting: wait until it is ready")
	}
	p, err := s.agentToStart(s.life, agent)
	if err != nil {
		return control.Part{}, err
	}
	if err := s.start(s.life, p); err != nil {
		return control.Part{}, err
	}
	if _, err := s.publish(); err != nil {
		return control.Part{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.status(), nil
}

// agentToStart returns the agent of this id, which has died, or a new one. Its state is starting.
func (s *Supervisor) agentToStart(ctx context.Context, agent control.NewAgent) (*part, error) {
	if known := s.agentByID(agent.ID); known != nil {
		return known, s.reuse(known, agent)
	}
	if agent.Zone == "" {
		agent.Zone = "az-a"
		if len(s.config.Zones) > 0 {
			agent.Zone = s.config.Zones[0]
		}
	}
	if agent.AgentGroup == "" {
		agent.AgentGroup = s.config.AgentGroup
	}
	if agent.ID == "" {
		agent.ID = s.freeAgentID(agent.Zone)
	}
	if err := checkAgent(agent); err != nil {
		return nil, err
	}
	return s.newAgent(ctx, agent)
}

func checkAgent(agent control.NewAgent) error {
	switch {
	case !zoneName.MatchString(agent.ID) || agent.ID == "." || agent.ID == "..": // it names a log file, too
		return fmt.Errorf("--id: %q must be 1 to 100 of letters, digits, . _ and -", agent.ID)
	case slices.Contains([]string{kindPostgres, kindS3, devLog}, agent.ID):
		return fmt.Errorf("--id: %s is the name of another part: choose another", agent.ID)
	case !zoneName.MatchString(agent.Zone):
		return fmt.Errorf("--zone: %q must be 1 to 100 of letters, digits, . _ and -", agent.Zone)
	case !groupName.MatchString(agent.AgentGroup):
		return fmt.Errorf("--agent-group: %q must be 1 to 40 of a-z, 0-9 and -", agent.AgentGroup)
	}
	return nil
}

// devLog is the log of a dev in the background.
const devLog = "dev"

func (s *Supervisor) newAgent(ctx context.Context, agent control.NewAgent) (*part, error) {
	s.mu.Lock()
	taken := slices.ContainsFunc(s.parts, func(p *part) bool { return p.name == agent.ID })
	many := len(s.parts) >= maxAgents+maxControlPlanes
	s.mu.Unlock()
	if taken {
		return nil, fmt.Errorf("--id: %s is the name of another part: choose another", agent.ID)
	}
	if many {
		return nil, errors.New("dev runs as many parts as it may")
	}
	if err := s.config.checkAgentFlags(ctx, agent.Flags); err != nil {
		return nil, err
	}
	key, err := s.keyOfGroup(ctx, agent.AgentGroup)
	if err != nil {
		return nil, err
	}
	port, err := s.port(ctx, agent.ID)
	if err != nil {
		return nil, err
	}
	if err := s.config.Dir.WriteState(s.state); err != nil {
		return nil, err
	}
	p := s.agentPart(agent.ID, agent.Zone, agent.AgentGroup, port, key, agent.Flags...)
	return p, s.add(p)
}

// keyOfGroup returns the secret of the key of an agent group's agents. The agent group is made if there is none.
func (s *Supervisor) keyOfGroup(ctx context.Context, group string) (string, error) {
	secret, err := s.key(ctx, agentKeyName(group), client.RoleAgent, group)
	if !errors.Is(err, client.ReasonUnknownAgentGroup) {
		return secret, err
	}
	sdk, err := client.New(client.WithControlPlane(s.controlPlaneURLs()...), client.WithAPIKey(s.state.AdminKey))
	if err != nil {
		return "", fmt.Errorf("make the agent group %s: %w", group, err)
	}
	defer sdk.Close()
	if _, err := sdk.Admin().CreateAgentGroup(ctx, group); err != nil && !errors.Is(err, client.ReasonAgentGroupExists) {
		return "", fmt.Errorf("make the agent group %s: %w", group, err)
	}
	return s.key(ctx, agentKeyName(group), client.RoleAgent, group)
}

func (s *Supervisor) agentByID(id string) *part {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.parts, func(p *part) bool { return p.kind == kindAgent && p.name == id })
	if i < 0 {
		return nil
	}
	return s.parts[i]
}

// reuse makes a dead agent one that starts; it keeps its place and its address.
func (s *Supervisor) reuse(p *part, agent control.NewAgent) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case p.state != stateExited:
		return fmt.Errorf("%s is %s: choose another --id, or leave it out", p.name, p.state)
	case agent.Zone != "" && agent.Zone != p.zone:
		return fmt.Errorf("%s belongs to zone %s: choose another --id", p.name, p.zone)
	case len(agent.Flags) > 0:
		return fmt.Errorf("%s starts with the flags that it had: choose another --id", p.name)
	case agent.AgentGroup != "" && agent.AgentGroup != p.group:
		return fmt.Errorf("%s belongs to agent group %s: choose another --id", p.name, p.group)
	}
	p.restarts = 0
	p.set(stateStarting, "")
	return nil
}

func (s *Supervisor) freeAgentID(zone string) string {
	for i := 1; ; i++ { // ends: there are maxAgents at most
		if id := fmt.Sprintf("agent-%s-%d", zone, i); s.agentByID(id) == nil {
			return id
		}
	}
}
