package command

import (
	"context"
	"fmt"
	"time"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/output"
)

type agentDrainCommand struct {
	ID      string        `arg:""       help:"Id of the agent."`
	DryRun  bool          `help:"Only show where its partitions would go."`
	Wait    bool          `help:"Return once the agent has left; progress goes to stderr."`
	Timeout time.Duration `default:"5m" help:"With --wait: how long at most. Default: ${default}."`
}

// Help says what a drain is.
func (agentDrainCommand) Help() string {
	return `The agent takes no new partitions, commits what it holds, hands its partitions over one by one to those that take them, and exits. ` +
		`Producers and consumers see no error. There is no way back but to start the agent again.`
}

// drained is the answer to drain. Stable.
type drained struct {
	Agent  string `json:"agent"`
	DryRun bool   `json:"dry_run"`
	// MoveCount is how many partitions move in all; Moves has at most 10,000 of them.
	MoveCount int32  `json:"move_count"`
	Moves     []move `json:"moves"`
	// EndReason of its session, "deregistered" where all went well; null: not waited for.
	EndReason *string `json:"end_reason"`
}

// move is a partition that changes its agent; null: nobody.
type move struct {
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	From      *string `json:"from"`
	To        *string `json:"to"`
}

func drainedFrom(c agentDrainCommand, d client.Drain, endReason string) drained {
	moves := make([]move, 0, len(d.Moves))
	for _, m := range d.Moves {
		moves = append(moves, move{Topic: m.Topic, Partition: m.Partition, From: orNull(m.FromAgentID), To: orNull(m.ToAgentID)})
	}
	return drained{Agent: c.ID, DryRun: c.DryRun, MoveCount: d.MoveCount, Moves: moves, EndReason: orNull(endReason)}
}

func moveRows(d client.Drain) output.Rows {
	rows := output.Rows{Head: []string{"TOPIC", "PARTITION", "FROM", "TO"}, Empty: "No partition is assigned to it."}
	for _, m := range d.Moves {
		to := m.ToAgentID
		if to == "" {
			to = "nobody can take it"
		}
		rows.Body = append(rows.Body, []string{m.Topic, fmt.Sprint(m.Partition), m.FromAgentID, to})
	}
	if more := int(d.MoveCount) - len(d.Moves); more > 0 {
		rows.Body = append(rows.Body, []string{fmt.Sprintf("and %d more", more), "", "", ""})
	}
	return rows
}

// Run asks for the drain, and waits for its end if that is wanted.
func (c agentDrainCommand) Run(ctx context.Context, e *env) error {
	if c.DryRun && c.Wait {
		return usage("--wait: a dry run moves nothing that could be waited for")
	}
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	before, err := admin.DescribeAgent(ctx, c.ID)
	if err != nil {
		return fmt.Errorf("drain agent %s: %w", c.ID, err)
	}
	plan, err := admin.DrainAgent(ctx, c.ID, c.DryRun)
	if err != nil {
		return fmt.Errorf("drain agent %s: %w", c.ID, err)
	}
	reason := ""
	if c.Wait {
		if reason, err = c.await(ctx, e, admin, before.Agent.SessionID); err != nil {
			return fmt.Errorf("drain agent %s: %w", c.ID, err)
		}
	}
	return e.print(drainedFrom(c, plan, reason), moveRows(plan))
}

// await returns why the agent's session ended.
func (c agentDrainCommand) await(ctx context.Context, e *env, admin *client.Admin, session string) (string, error) {
	reason, shown := "", int32(-1)
	err := lookUntil(ctx, c.Timeout, "the agent has left", func(ctx context.Context) (bool, error) {
		d, err := admin.DescribeAgent(ctx, c.ID)
		if err != nil {
			return false, err
		}
		if d.Agent.SessionID != session { // started again already
			reason = "superseded"
			return true, nil
		}
		if reason = d.Agent.EndReason; d.Agent.State == client.AgentEnded {
			return true, nil
		}
		if shown != d.Agent.LeaseCount {
			shown = d.Agent.LeaseCount
			fmt.Fprintf(e.Stderr, "%s is %s and leads %s\n", c.ID, d.Agent.State, count(int(shown), "partition"))
		}
		return false, nil
	})
	if err == nil && reason == "expired" {
		return reason, fmt.Errorf("it fell silent before it had handed everything over: what it led goes to others by takeover")
	}
	return reason, err
}

// lookEvery is how often is looked whether something has come to pass.
const lookEvery = 200 * time.Millisecond

// lookUntil looks until it is so, an error says otherwise, or the time is up.
func lookUntil(ctx context.Context, limit time.Duration, what string, is func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		yes, err := is(ctx)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("wait until %s: %w", what, ctx.Err())
		case err != nil || yes:
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}
