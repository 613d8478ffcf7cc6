package command

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/bench"
	"github.com/streamhouse/streamhouse/cli/internal/control"
	"github.com/streamhouse/streamhouse/cli/internal/supervisor"
)

type benchConsumeCommand struct {
	benchFlags

	Records     int64  `default:"2000000" help:"Records to read, at least; as many are stored before. Default: ${default}." placeholder:"N"`
	RecordBytes int    `default:"1024"    help:"Size of a value. Default: ${default}." placeholder:"N"`
	Partitions  int    `default:"16"      help:"Partitions. Default: ${default}." placeholder:"N"`
	Payload     string `default:"json" enum:"json,random" help:"json: values that shrink to less than half; random: that do not shrink. Default: ${default}."`
	Keyed       bool   `help:"Give every record a key, of 4,096."`
	BatchBytes  int    `default:"1048576"  help:"Most bytes of a batch, before compression. Default: ${default}." placeholder:"N"`
	Consumers   int    `default:"1"        help:"Consumers, each of which reads everything. Default: ${default}." placeholder:"N"`
	As          string `default:"structs" enum:"structs,views" help:"structs: each record as the SDK returns it. views: batches, and a view of each record in them, without an allocation. Default: ${default}."`
	FetchBytes  int    `default:"33554432" help:"Most bytes that a consumer holds ahead. Default: ${default}." placeholder:"N"`
	Cold        bool   `help:"Start all agents of the dev anew before reading, so that they have nothing in memory."`
	Passes      int    `default:"1" help:"How often everything is read; with several the first does not count. Default: ${default}." placeholder:"N"`
}

// Help explains what is measured.
func (benchConsumeCommand) Help() string {
	return `Makes a topic, fills it with ready batches, and measures records and bytes per second of reading it, and CPU seconds per GiB of values. ` +
		`What agents have in memory is read first; --passes 2 has them have what fits, --cold has them have nothing. ` +
		`A record that is missing, or there twice, makes the command fail.` + benchHelp
}

// Run measures.
func (c benchConsumeCommand) Run(ctx context.Context, e *env) error {
	config := bench.ConsumeConfig{
		Records: c.Records, RecordBytes: c.RecordBytes, Partitions: c.Partitions, Payload: c.Payload, Keyed: c.Keyed, BatchBytes: c.BatchBytes,
		Consumers: c.Consumers, FetchBytes: c.FetchBytes, As: c.As, IsCold: c.Cold, Passes: c.Passes, Keep: c.Keep, Limits: !c.NoLimits,
	}
	if err := config.Validate(); err != nil {
		return usageError{err}
	}
	target, err := c.target(e)
	if err != nil {
		return err
	}
	if c.Cold {
		if target.Dev == nil {
			return usage("--cold needs a running dev on this machine, whose agents can be started anew")
		}
		config.Cold = func(ctx context.Context) error { return c.restartAgents(ctx, e, &target) }
	}
	report, err := bench.Consume(ctx, target, config)
	return printBench(e, report, err)
}

// restartAgents stops each agent in an orderly way and starts it again, one after the other. The target then knows their new processes.
func (c benchConsumeCommand) restartAgents(ctx context.Context, e *env, target *bench.Target) error {
	dir, err := e.Dir()
	if err != nil {
		return err
	}
	caller, err := supervisor.Running(dir)
	if err != nil {
		return err
	}
	dev := devAgents{caller, c.AgentGroup}
	agents, err := dev.Agents(ctx)
	if err != nil {
		return err
	}
	for _, a := range agents {
		if err := signalTo(a.PID, syscall.SIGTERM); err != nil {
			return err
		}
		if err := dev.startAgain(ctx, a.ID, a.PID); err != nil {
			return err
		}
	}
	running, found, err := e.Dev()
	if err != nil || !found {
		return errors.Join(err, errors.New("the dev has gone away"))
	}
	*target.Dev = *c.ofGroup(running)
	return nil
}

// startAgain waits until the process has ended, and starts the agent, unless the dev has.
func (d devAgents) startAgain(ctx context.Context, id string, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, agentTime)
	defer cancel()
	for {
		agents, err := d.Agents(ctx)
		if err != nil {
			return err
		}
		old, again := false, false
		for _, a := range agents {
			old = old || a.PID == pid
			again = again || (a.ID == id && a.PID != pid)
		}
		if again {
			return nil
		}
		if !old {
			_, err := d.dev.StartAgent(ctx, control.NewAgent{ID: id})
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

type benchLatencyCommand struct {
	benchFlags

	Duration    time.Duration `default:"20s" help:"Time to measure. Default: ${default}."`
	WarmUp      time.Duration `default:"2s"  help:"Time before, which does not count. Default: ${default}."`
	Rate        float64       `default:"100" help:"Records a second. Default: ${default}." placeholder:"N"`
	RecordBytes int           `default:"1024" help:"Size of a value. Default: ${default}." placeholder:"N"`
	Partitions  int           `default:"1"    help:"Partitions. Default: ${default}." placeholder:"N"`
	Acks        string        `default:"durable" enum:"durable,buffered" help:"durable or buffered. Default: ${default}."`
	Payload     string        `default:"json" enum:"json,random" help:"json: values that shrink to less than half; random: that do not shrink. Default: ${default}."`
	Linger      time.Duration `default:"0s"  help:"How long the SDK lets a record wait for company. Default: not at all."`
	NoDelivery  bool          `help:"Do not consume from an agent that does not lead meanwhile."`
	SVG         string        `name:"svg" help:"Draw the times into this file." placeholder:"FILE"`
}

// Help explains what is measured.
func (benchLatencyCommand) Help() string {
	return `Makes a topic, sends records at a fixed rate, and measures the time to each acknowledgement, and the time until a consumer has it that asks an ` +
		`agent which does not lead the partition. Beside it one PUT and one commit are measured: an acknowledgement needs both. ` +
		`Agents have a budget of PUTs, 4 a second by default: at higher rates records wait for the next object. To see the time without that wait start ` +
		`the agents with a generous budget: streamhouse dev --agent-flag puts-per-second=1000.` + benchHelp
}

// Run measures.
func (c benchLatencyCommand) Run(ctx context.Context, e *env) error {
	config := bench.LatencyConfig{
		Duration: c.Duration, WarmUp: c.WarmUp, Rate: c.Rate, RecordBytes: c.RecordBytes, Partitions: c.Partitions, Acks: c.Acks, Payload: c.Payload,
		Linger: c.Linger, Delivery: !c.NoDelivery, Keep: c.Keep, Limits: !c.NoLimits,
	}
	if err := config.Validate(); err != nil {
		return usageError{err}
	}
	target, err := c.target(e)
	if err != nil {
		return err
	}
	report, drawn, err := bench.Latency(ctx, target, config)
	err = printBench(e, report, err)
	if len(drawn) > 0 {
		err = errors.Join(err, writeSVG(c.SVG, "streamhouse bench latency", drawn...))
	}
	return err
}

type benchControlplaneCommand struct {
	benchLimits

	Entries  []int         `default:"1,100,1000" help:"Entries of a commit, a partition each; several are measured one after the other. Default: ${default}." placeholder:"N"`
	Duration time.Duration `default:"5s" help:"Time to measure each. Default: ${default}."`
	WarmUp   time.Duration `default:"1s" help:"Time before each, which does not count. Default: ${default}."`
	SVG      string        `name:"svg" help:"Draw the times into this file." placeholder:"FILE"`
}

// Help explains what is measured.
func (benchControlplaneCommand) Help() string {
	return `Registers as an agent of an agent group of its own, acquires the partitions of a topic, and commits objects that nobody uploaded, one after the ` +
		`other as an agent does: commits of each size, without and with an idempotent producer an entry. Nothing that anybody uses is touched.` + benchHelp
}

// Run measures.
func (c benchControlplaneCommand) Run(ctx context.Context, e *env) error {
	config := bench.ControlPlaneConfig{Entries: c.Entries, Duration: c.Duration, WarmUp: c.WarmUp, Limits: !c.NoLimits}
	if err := config.Validate(); err != nil {
		return usageError{err}
	}
	target, err := benchFlags{benchLimits: c.benchLimits, AgentGroup: "default"}.target(e)
	if err != nil {
		return err
	}
	report, drawn, err := bench.ControlPlane(ctx, target, config)
	err = printBench(e, report, err)
	if len(drawn) > 0 {
		err = errors.Join(err, writeSVG(c.SVG, "streamhouse bench controlplane", drawn...))
	}
	return err
}
