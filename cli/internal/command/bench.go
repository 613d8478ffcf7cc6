package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/bench"
	"github.com/streamhouse/streamhouse/cli/internal/datadir"
	"github.com/streamhouse/streamhouse/cli/internal/histogram"
	"github.com/streamhouse/streamhouse/cli/internal/output"
)

type benchCommand struct {
	Produce      benchProduceCommand      `cmd:"" help:"Measure how many records are stored, how long acknowledgements take, and what that costs."`
	Consume      benchConsumeCommand      `cmd:"" help:"Measure how many records are read, and what that costs."`
	Latency      benchLatencyCommand      `cmd:"" help:"Measure how long a record takes to its acknowledgement and to a consumer, at a fixed rate."`
	Controlplane benchControlplaneCommand `cmd:"" help:"Measure commits and acquires through the control plane."`
	Failover     benchFailoverCommand     `cmd:"" help:"Kill agents of a running dev and measure how long their partitions are gone."`
}

// benchFlags are those of every measurement of records.
type benchFlags struct {
	benchLimits

	AgentGroup string `default:"default" help:"Agent group of the topics that are made for this. Default: ${default}." placeholder:"NAME"`
	Keep       bool   `help:"Keep the topics that were made."`
}

// benchLimits are about what the parts can do alone.
type benchLimits struct {
	NoLimits  bool          `help:"Do not measure what the parts can do alone."`
	LimitTime time.Duration `default:"3s" help:"Time to measure each of them. Default: ${default}."`
}

// Validate says what is wrong.
func (l benchLimits) Validate() error {
	if l.LimitTime < 100*time.Millisecond || l.LimitTime > time.Minute {
		return fmt.Errorf("--limit-time: %v is not between 100ms and 1m", l.LimitTime)
	}
	return nil
}

// benchHelp is what all have in common.
const benchHelp = `

With a rate the load is open-loop: each record is meant to be sent at a time, and the time it waits because the cluster or this program was
slow counts (no coordinated omission). Without a rate records are sent as fast as they are taken.
What is made for the measurement is removed at the end, also after Ctrl-C.
With a dev on this machine (in this folder, or --data-dir) the CPU time of each process is told, on Linux, and what the parts can do alone is
measured in the same run by the servers' own programs, which lie beside this one or in PATH; a number is worth little without that limit.
-o json prints all of it as one object.`

// target finds the cluster, and the dev that it is.
func (f benchFlags) target(e *env) (bench.Target, error) {
	c, err := e.Connection()
	if err != nil {
		return bench.Target{}, err
	}
	if len(c.Server) == 0 || len(c.Agent) == 0 {
		return bench.Target{}, usage("a control plane and an agent must be known: pass --server and --agent")
	}
	target := bench.Target{
		ControlPlanes: c.Server, Agents: c.Agent, APIKey: c.APIKey, AgentGroup: f.AgentGroup, LimitTime: f.LimitTime,
		Say: func(format string, args ...any) { fmt.Fprintf(e.Stderr, format+"\n", args...) },
	}
	if target.Bin, err = binFolder(); err != nil {
		return bench.Target{}, err
	}
	dev, found, err := e.Dev()
	if err != nil {
		return bench.Target{}, err
	}
	if found {
		target.Dev = f.ofGroup(dev)
		if len(e.Agent) == 0 { // those of other agent groups know nothing of the topics
			target.Agents = urlsOf(target.Dev.Agents)
		}
		if dir, err := e.Dir(); err == nil && dev.S3.PID != 0 {
			target.Objects = dir.Join(filepath.Join("s3", "objects", dev.S3.Bucket, f.AgentGroup))
		}
	}
	return target, nil
}

func urlsOf(agents []datadir.Agent) []string {
	var urls []string
	for _, a := range agents {
		urls = append(urls, a.URL)
	}
	return urls
}

// ofGroup leaves out the agents that have nothing to do with it.
func (f benchFlags) ofGroup(dev datadir.Cluster) *datadir.Cluster {
	var agents []datadir.Agent
	for _, a := range dev.Agents {
		if a.AgentGroup == f.AgentGroup {
			agents = append(agents, a)
		}
	}
	dev.Agents = agents
	return &dev
}

// printBench prints what was measured, whatever the error.
func printBench(e *env, report bench.Report, failed error) error {
	if report.Bench == "" {
		return failed
	}
	if e.Output != output.Table {
		return errors.Join(failed, e.print(report, output.Rows{}))
	}
	_, err := fmt.Fprint(e.Stdout, report.Text())
	return errors.Join(failed, err)
}

// writeSVG draws histograms into a file; an empty name: none.
func writeSVG(file, title string, series ...histogram.Series) error {
	if file == "" {
		return nil
	}
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("--svg: %w", err)
	}
	if err := errors.Join(histogram.WriteSVG(f, title, series), f.Close()); err != nil {
		return fmt.Errorf("--svg: %w", err)
	}
	return nil
}

type benchProduceCommand struct {
	benchFlags

	Records     int64         `help:"Records to send after the warm-up. Default: as many as --duration allows." placeholder:"N"`
	Duration    time.Duration `default:"10s" help:"Time to measure. Default: ${default}."`
	WarmUp      time.Duration `default:"3s"  help:"Time before, which does not count. Default: ${default}."`
	Rate        float64       `help:"Records a second, of all producers together. Default: as fast as they are taken." placeholder:"N"`
	RecordBytes int           `default:"1024" help:"Size of a value. Default: ${default}." placeholder:"N"`
	Topics      int           `default:"1"    help:"Topics. Default: ${default}." placeholder:"N"`
	Partitions  int           `default:"16"   help:"Partitions of each topic. Default: ${default}." placeholder:"N"`
	Producers   int           `default:"1"    help:"Producers, each with connections of its own. Default: ${default}." placeholder:"N"`
	Keyed       bool          `help:"Give every record a key, of 4,096."`
	Acks        string        `default:"durable" enum:"durable,buffered" help:"durable or buffered. Default: ${default}."`
	Payload     string        `default:"json" enum:"json,random" help:"json: values that shrink to less than half; random: that do not shrink. Default: ${default}."`
	Batch       string        `default:"sdk" enum:"sdk,prebuilt" help:"sdk: records go through the SDK. prebuilt: ready batches go to the leaders, for what the cluster can do where clients cost nothing. Default: ${default}."`
	BatchBytes  int           `default:"1048576" help:"Most bytes of a batch, before compression. Default: ${default}." placeholder:"N"`
	InFlight    int           `default:"64"  help:"With --batch prebuilt: requests of each producer at a time; what is in flight should fill several objects, else the PUT budget decides. Default: ${default}." placeholder:"N"`
	BufferBytes int           `default:"268435456" help:"Bytes of records, uncompressed, that each producer holds. Default: ${default}." placeholder:"N"`
	Linger      time.Duration `default:"5ms" help:"How long the SDK lets a record wait for company. Default: ${default}."`
	Verify      bool          `help:"Read everything back: nothing lost, nothing twice, order kept."`
	SVG         string        `name:"svg" help:"Draw the acknowledgements' times into this file." placeholder:"FILE"`
}

// Help explains what is measured.
func (benchProduceCommand) Help() string {
	return `Makes topics, sends records, and measures records and bytes per second, the time to the acknowledgement, and CPU seconds per GiB of values.` +
		benchHelp
}

func (c benchProduceCommand) config() (bench.ProduceConfig, error) {
	config := bench.ProduceConfig{
		Records: c.Records, Duration: c.Duration, WarmUp: c.WarmUp, Rate: c.Rate, RecordBytes: c.RecordBytes, Topics: c.Topics,
		Partitions: c.Partitions, Producers: c.Producers, Keyed: c.Keyed, Acks: c.Acks, Payload: c.Payload, Batch: c.Batch,
		BatchBytes: c.BatchBytes, InFlight: c.InFlight, BufferBytes: c.BufferBytes, Linger: c.Linger, Verify: c.Verify, Keep: c.Keep, Limits: !c.NoLimits,
	}
	if err := config.Validate(); err != nil {
		return config, usageError{err}
	}
	return config, nil
}

// Run measures.
func (c benchProduceCommand) Run(ctx context.Context, e *env) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	target, err := c.target(e)
	if err != nil {
		return err
	}
	report, latency, err := bench.Produce(ctx, target, config)
	err = printBench(e, report, err)
	if latency != nil {
		err = errors.Join(err, writeSVG(c.SVG, "streamhouse bench produce", histogram.Series{Name: "acknowledgement", Histogram: latency}))
	}
	return err
}
