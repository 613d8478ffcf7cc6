package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/control"
	"github.com/streamhouse/streamhouse/cli/internal/datadir"
	"github.com/streamhouse/streamhouse/cli/internal/failover"
	"github.com/streamhouse/streamhouse/cli/internal/output"
	"github.com/streamhouse/streamhouse/cli/internal/supervisor"
)

type benchFailoverCommand struct {
	Partitions int           `default:"1000"                      help:"Partitions of the topic that is made for this, and deleted at the end."`
	Kills      int           `default:"20"                        help:"How many agents are hit, one after the other; each comes back before the next."`
	Signal     string        `default:"kill" enum:"kill,stop"     help:"kill: kill -9; the agent is started again. stop: SIGSTOP; SIGCONT once others have taken over."`
	Every      time.Duration `default:"200ms"                     help:"Time between two probes of a partition. Only partitions of the next victim are probed."`
	AgentGroup string        `default:"default"                   help:"Agent group whose agents are hit."                                                              placeholder:"NAME"`
}

// Help explains what is measured.
func (benchFailoverCommand) Help() string {
	return `Needs a running dev in this folder (or --data-dir) with two agents or more.
Each hit chooses the agent that leads most partitions, writes small durable records to all of them with the SDK's idempotent producer, and
kills or stops the agent. Measured for each of its partitions:
  no leader     from the hit until another agent leads the partition and accepts (each is asked every 20 ms)
  first ack     from the hit until a record is durably acknowledged by the new leader
  longest wait  the longest that a record waited for its durable acknowledgement around the hit: what a client saw
  longest gap   the longest time between two durable acknowledgements; it has the time between two probes in it
Printed as p50, p90, p99, greatest, and a histogram; -o json has the same and every hit. The agent is restored after each hit, and the
topic deleted at the end, also when interrupted. A record that is not stored makes the command fail.`
}

// Run measures, and prints what it has measured whatever happened.
func (c benchFailoverCommand) Run(ctx context.Context, e *env) error {
	config := failover.Config{
		Partitions: c.Partitions, Kills: c.Kills, Signal: failover.Signal(c.Signal), Every: c.Every, AgentGroup: c.AgentGroup,
		Progress: func(done int, r failover.Round) {
			fmt.Fprintf(e.Stderr, "%d/%d %s led %d: no leader p99 %.0f ms, first ack p50 %.0f p99 %.0f max %.0f ms, longest wait p99 %.0f ms\n", done, c.Kills, r.Agent,
				r.Partitions, r.NoLeader.P99, r.FirstAck.P50, r.FirstAck.P99, r.FirstAck.Max, r.LongestWait.P99)
		},
	}
	if err := config.Validate(); err != nil {
		return usageError{err}
	}
	dir, err := e.Dir()
	if err != nil {
		return err
	}
	caller, err := supervisor.Running(dir)
	if err != nil {
		return err
	}
	sdk, key, err := e.both(c.AgentGroup)
	if err != nil {
		return err
	}
	defer func() { _ = sdk.Close() }()
	report, err := failover.Run(ctx, sdk, key, devAgents{caller, c.AgentGroup}, config)
	if len(report.Rounds) == 0 {
		return err
	}
	return errors.Join(err, printReport(e, report))
}

func printReport(e *env, report failover.Report) error {
	if e.Output != output.Table {
		return e.print(report, output.Rows{})
	}
	_, err := fmt.Fprint(e.Stdout, report.Text())
	return err
}

// both is the SDK for an agent group's records and for administration, with the API key that it uses.
func (e *env) both(agentGroup string) (sdk *client.Client, apiKey string, err error) {
	c, err := e.Connection()
	if err != nil {
		return nil, "", err
	}
	dev, found, err := e.Dev()
	if err != nil {
		return nil, "", err
	}
	if found && len(e.Agent) == 0 {
		c.Agent = urlsOf(slices.DeleteFunc(dev.Agents, func(a datadir.Agent) bool { return a.AgentGroup != agentGroup }))
	}
	sdk, err = client.New(client.WithControlPlane(c.Server...), client.WithAgents(c.Agent...), client.WithAPIKey(c.APIKey))
	if err != nil {
		return nil, "", usageError{err}
	}
	return sdk, c.APIKey, nil
}

// devAgents are the agents of a running dev.
type devAgents struct {
	dev        control.Caller
	agentGroup string
}

var _ failover.Cluster = devAgents{}

// Agents lists those that run.
func (d devAgents) Agents(ctx context.Context) ([]failover.Agent, error) {
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	parts, err := d.dev.Status(ctx)
	if err != nil {
		return nil, err
	}
	var agents []failover.Agent
	for _, p := range parts {
		if p.Kind == "agent" && p.AgentGroup == d.agentGroup && p.State == "running" {
			agents = append(agents, failover.Agent{ID: p.Name, URL: p.URL, PID: p.PID})
		}
	}
	return agents, nil
}

// Hit kills or stops the process.
func (d devAgents) Hit(agent failover.Agent, signal failover.Signal) error {
	sent := syscall.SIGKILL
	if signal == failover.Stop {
		sent = syscall.SIGSTOP
	}
	return signalTo(agent.PID, sent)
}

// Restore starts the agent again, unless the dev has, or lets it go on.
func (d devAgents) Restore(ctx context.Context, agent failover.Agent, signal failover.Signal) error {
	if signal == failover.Stop {
		return signalTo(agent.PID, syscall.SIGCONT)
	}
	for {
		_, err := d.dev.StartAgent(ctx, control.NewAgent{ID: agent.ID})
		if err == nil {
			return nil
		}
		restarted, ended, listErr := d.look(ctx, agent)
		if restarted || listErr != nil {
			return listErr
		}
		if ended {
			return err
		}
		select { // dev has not noticed yet that the process is gone
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// look says whether the agent runs as another process (dev --restart was faster), or not at all.
func (d devAgents) look(ctx context.Context, agent failover.Agent) (restarted, ended bool, err error) {
	agents, err := d.Agents(ctx)
	for _, a := range agents {
		if a.ID == agent.ID {
			return a.PID != agent.PID, false, err
		}
	}
	return false, true, err
}

func signalTo(pid int, signal syscall.Signal) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return fmt.Errorf("find process %d: %w", pid, err)
	}
	if err := process.Signal(signal); err != nil {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	return nil
}
