package command

import (
	"context"
	"fmt"
	"time"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/output"
)

type agentCommand struct {
	List     agentListCommand     `cmd:"" help:"List the agents that live, and those that ended within the last day."`
	Describe agentDescribeCommand `cmd:"" help:"Show an agent and the partitions that it leads."`
}

// agent is how an agent is printed. Stable.
type agent struct {
	ID              string     `json:"id"`
	AgentGroup      string     `json:"agent_group"`
	Zone            string     `json:"zone"`
	Address         string     `json:"address"`
	Version         string     `json:"version"`
	State           string     `json:"state"` // live, suspect, draining, ended
	SessionID       string     `json:"session_id"`
	StartedAt       *time.Time `json:"started_at"`
	LastHeartbeatAt *time.Time `json:"last_heartbeat_at"`
	ExpiresAt       *time.Time `json:"expires_at"`
	LeaseCount      int32      `json:"lease_count"`
	EndReason       *string    `json:"end_reason"`
}

func agentFrom(a client.Agent) agent {
	return agent{
		ID: a.ID, AgentGroup: a.AgentGroup, Zone: a.Zone, Address: a.Address, Version: a.Version, State: a.State.String(),
		SessionID: a.SessionID, StartedAt: timeOrNull(a.StartedAt), LastHeartbeatAt: timeOrNull(a.LastHeartbeatAt),
		ExpiresAt: timeOrNull(a.ExpiresAt), LeaseCount: a.LeaseCount, EndReason: orNull(a.EndReason),
	}
}

// timeOrNull is nil for the zero time.
func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func agentRows(agents ...client.Agent) output.Rows {
	rows := output.Rows{
		Head:  []string{"AGENT", "STATE", "ZONE", "GROUP", "LEASES", "ADDRESS", "HEARTBEAT", "VERSION"},
		Empty: "There are no agents.",
	}
	for _, a := range agents {
		state := a.State.String()
		if a.EndReason != "" {
			state += " (" + a.EndReason + ")"
		}
		rows.Body = append(rows.Body, []string{
			a.ID, state, a.Zone, a.AgentGroup, fmt.Sprint(a.LeaseCount), a.Address, output.Time(a.LastHeartbeatAt), a.Version,
		})
	}
	return rows
}

type agentListCommand struct {
	AgentGroup string `help:"Only this agent group." placeholder:"NAME"`
}

// Run lists the agents.
func (c agentListCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	found, err := admin.ListAgents(ctx, c.AgentGroup)
	if err != nil {
		return fmt.Errorf("list agents: %w", err)
	}
	agents := make([]agent, 0, len(found))
	for _, a := range found {
		agents = append(agents, agentFrom(a))
	}
	return e.print(agents, agentRows(found...))
}

type agentDescribeCommand struct {
	ID string `arg:"" help:"Id of the agent."`
}

// describedAgent is an agent with what it leads. Stable.
type describedAgent struct {
	agent
	Leases []lease `json:"leases"`
}

// Run describes the agent.
func (c agentDescribeCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	found, err := admin.ListAgents(ctx, "")
	if err != nil {
		return fmt.Errorf("describe agent %s: %w", c.ID, err)
	}
	for _, a := range found {
		if a.ID == c.ID {
			return describeAgent(ctx, e, admin, a)
		}
	}
	return fmt.Errorf("describe agent %s: no such agent; `streamhouse agent list` shows them", c.ID)
}

func describeAgent(ctx context.Context, e *env, admin *client.Admin, found client.Agent) error {
	leases, err := admin.ListLeases(ctx, client.LeaseFilter{LeaderAgentID: found.ID})
	if err != nil {
		return fmt.Errorf("describe agent %s: %w", found.ID, err)
	}
	if e.Output == output.Table {
		if err := e.print(nil, agentRows(found)); err != nil {
			return err
		}
		fmt.Fprintln(e.Stdout)
	}
	return e.print(describedAgent{agent: agentFrom(found), Leases: leasesFrom(leases)}, leaseRows(leases))
}

type leaseCommand struct {
	List leaseListCommand `cmd:"" help:"List who leads each partition, in which epoch."`
}

// lease is how a lease is printed. Stable; null where nobody leads.
type lease struct {
	Topic      string     `json:"topic"`
	Partition  int32      `json:"partition"`
	Leader     *string    `json:"leader"`
	Zone       *string    `json:"zone"`
	Epoch      int32      `json:"epoch"`
	ExpiresAt  *time.Time `json:"expires_at"`
	AssignedTo *string    `json:"assigned_to"`
}

func leasesFrom(found []client.Lease) []lease {
	leases := make([]lease, 0, len(found))
	for _, l := range found {
		leases = append(leases, lease{
			Topic: l.Topic, Partition: l.Partition, Leader: orNull(l.LeaderAgentID), Zone: orNull(l.LeaderZone), Epoch: l.Epoch,
			ExpiresAt: timeOrNull(l.ExpiresAt), AssignedTo: orNull(l.AssignedAgentID),
		})
	}
	return leases
}

func leaseRows(found []client.Lease) output.Rows {
	rows := output.Rows{
		Head:  []string{"TOPIC", "PARTITION", "LEADER", "ZONE", "EPOCH", "EXPIRES", "ASSIGNED TO"},
		Empty: "There are no leases.",
	}
	for _, l := range found {
		rows.Body = append(rows.Body, []string{
			l.Topic, fmt.Sprint(l.Partition), l.LeaderAgentID, l.LeaderZone, fmt.Sprint(l.Epoch), output.Time(l.ExpiresAt), l.AssignedAgentID,
		})
	}
	return rows
}

type leaseListCommand struct {
	Topic  string `help:"Only this topic."               placeholder:"NAME"`
	Leader string `help:"Only those led by this agent." placeholder:"AGENT"`
}

// Run lists the leases.
func (c leaseListCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	found, err := admin.ListLeases(ctx, client.LeaseFilter{Topic: c.Topic, LeaderAgentID: c.Leader})
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	return e.print(leasesFrom(found), leaseRows(found))
}
