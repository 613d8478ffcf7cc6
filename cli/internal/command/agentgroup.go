package command

import (
	"context"
	"fmt"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/output"
)

type agentGroupCommand struct {
	Create agentGroupCreateCommand `cmd:"" help:"Create an agent group."`
	List   agentGroupListCommand   `cmd:"" help:"List the agent groups."`
	Delete agentGroupDeleteCommand `cmd:"" help:"Remove an agent group that has no topic, no live agent and no valid key."`
}

// Help says what an agent group is.
func (agentGroupCommand) Help() string {
	return `An agent group has topics, agents, keys and a prefix in the bucket of its own. Nothing of one reaches another.`
}

// agentGroup is how an agent group is printed. Stable.
type agentGroup struct {
	Name   string `json:"name"`
	Topics int32  `json:"topics"`
	Agents int32  `json:"agents"`
	Keys   int32  `json:"keys"`
}

func agentGroupsFrom(found ...client.AgentGroup) []agentGroup {
	groups := make([]agentGroup, 0, len(found))
	for _, g := range found {
		groups = append(groups, agentGroup(g))
	}
	return groups
}

func agentGroupRows(groups ...agentGroup) output.Rows {
	rows := output.Rows{Head: []string{"AGENT GROUP", "TOPICS", "LIVE AGENTS", "VALID KEYS"}, Empty: "There are no agent groups."}
	for _, g := range groups {
		rows.Body = append(rows.Body, []string{g.Name, fmt.Sprint(g.Topics), fmt.Sprint(g.Agents), fmt.Sprint(g.Keys)})
	}
	return rows
}

type agentGroupCreateCommand struct {
	Name string `arg:"" help:"1 to 40 of a-z, 0-9 and -."`
}

// Run creates the agent group.
func (c agentGroupCreateCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	made, err := admin.CreateAgentGroup(ctx, c.Name)
	if err != nil {
		return fmt.Errorf("create agent group %s: %w", c.Name, err)
	}
	return e.print(agentGroup(made), agentGroupRows(agentGroup(made)))
}

type agentGroupListCommand struct{}

// Run lists the agent groups.
func (agentGroupListCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	found, err := admin.ListAgentGroups(ctx)
	if err != nil {
		return fmt.Errorf("list agent groups: %w", err)
	}
	groups := agentGroupsFrom(found...)
	return e.print(groups, agentGroupRows(groups...))
}

type agentGroupDeleteCommand struct {
	Name string `arg:"" help:"Agent group."`
}

// deletedAgentGroup is the answer to delete. Stable.
type deletedAgentGroup struct {
	Name string `json:"name"`
}

// Run removes the agent group.
func (c agentGroupDeleteCommand) Run(ctx context.Context, e *env) error {
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	if err := admin.DeleteAgentGroup(ctx, c.Name); err != nil {
		return fmt.Errorf("delete agent group %s: %w", c.Name, err)
	}
	return e.print(deletedAgentGroup(c), output.Rows{Head: []string{"DELETED"}, Body: [][]string{{c.Name}}})
}
