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
	Describe agentDescribeCommand `cmd:"" help:"Show an agent, its traffic, and the partitions that it leads."`
	Drain    agentDrainCommand    `cmd:"" help:"Have an agent hand over all that it leads, and exit."`
}

// agent is how an agent is printed. Stable.
type agent struct {
	ID              string     `json:"id"`
	AgentGroup      string     `json:"agent_group"`
	Zone            string     `json:"zone"`
	Address         string     `json:"address"`
	Version         string     `json:"version"`
	State           string     `json:"state"` // live, suspect, draining, unfit, ended
	SessionID       string     `json:"session_id"`
	StartedAt       *time.Time `json:"started_at"`
	LastHeartbeatAt *time.Time `json:"last_heartbeat_at"`
	ExpiresAt       *time.Time `json:"expires_at"`
	LeaseCount      int32      `json:"lease_count"`
	EndReason       *string    `json:"end_reason"`
	AssignedCount   int32      `json:"assigned_count"`
	// Bytes of records per second: as it registered, and of its last report.
	CapacityBytesPerSecond int64 `json:"capacity_bytes_per_second"`
	InBytesPerSecond       int64 `json:"in_bytes_per_second"`
	OutBytesPerSecond      int64 `json:"out_bytes_per_second"`
}

func agentFrom(a client.Agent) agent {
	return agent{
		ID: a.ID, AgentGroup: a.AgentGroup, Zone: a.Zone, Address: a.Address, Version: a.Version, State: a.State.String(),
		SessionID: a.SessionID, StartedAt: timeOrNull(a.StartedAt), LastHeartbeatAt: timeOrNull(a.LastHeartbeatAt),
		ExpiresAt: timeOrNull(a.ExpiresAt), LeaseCount: a.LeaseCount, EndReason: orNull(a.EndReason),
		AssignedCount: a.AssignedCount, CapacityBytesPerSecond: a.CapacityBytesPerSecond,
		InBytesPerSecond: a.InBytesPerSecond, OutBytesPerSecond: a.OutBytesPerSecond,
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
		Head:  []string{"AGENT", "STATE", "ZONE", "GROUP", "LEASES", "IN", "OUT", "CAPACITY", "ADDRESS", "HEARTBEAT", "VERSION"},
		Empty: "There are no agents.",
	}
	for _, a := range agents {
		state := a.State.String()
		if a.EndReason != "" {
			state += " (" + a.EndReason + ")"
		}
		rows.Body = append(rows.Body, []string{
			a.ID, state, a.Zone, a.AgentGroup, fmt.Sprint(a.LeaseCount), output.Rate(a.InBytesPerSecond), output.Rate(a.OutBytesPerSecond),
			output.Rate(a.CapacityBytesPerSecond), a.Address, output.Time(a.LastHeartbeatAt), a.Version,
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
	// Traffic since the process started, from the report that arrived at ReportedAt; null: there is none.
	Traffic    []traffic  `json:"traffic"`
	ReportedAt *time.Time `json:"reported_at"`
}

// traffic is bytes of batches between an agent and one zone; null: unknown.
type traffic struct {
	Direction string  `json:"direction"` // produce, fetch, forward, handoff, cache, notice
	Zone      *string `json:"zone"`
	Bytes     int64   `json:"bytes"`
}

// Run describes the agent.
func (c agentDescribeCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	found, err := admin.DescribeAgent(ctx, c.ID)
	if err != nil {
		return fmt.Errorf("describe agent %s: %w", c.ID, err)
	}
	leases, err := admin.ListLeases(ctx, client.LeaseFilter{LeaderAgentID: c.ID})
	if err != nil {
		return fmt.Errorf("describe agent %s: %w", c.ID, err)
	}
	if e.Output == output.Table {
		return e.tables(agentRows(found.Agent), trafficRows(found.Traffic), leaseRows(leases))
	}
	return e.print(describedFrom(found, leases), output.Rows{})
}

func describedFrom(d client.AgentDescription, leases []client.Lease) describedAgent {
	described := describedAgent{
		agent: agentFrom(d.Agent), Leases: leasesFrom(leases), Traffic: []traffic{}, ReportedAt: timeOrNull(d.ReportedAt),
	}
	for _, t := range d.Traffic {
		described.Traffic = append(described.Traffic, traffic{Direction: t.Direction.String(), Zone: orNull(t.Zone), Bytes: t.Bytes})
	}
	return described
}

func trafficRows(all []client.Traffic) output.Rows {
	rows := output.Rows{Head: []string{"DIRECTION", "OTHER ZONE", "BYTES"}, Empty: "It has reported no traffic."}
	for _, t := range all {
		rows.Body = append(rows.Body, []string{t.Direction.String(), t.Zone, output.Bytes(t.Bytes)})
	}
	return rows
}
