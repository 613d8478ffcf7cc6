package command

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/control"
	"github.com/streamhouse/streamhouse/cli/internal/datadir"
	"github.com/streamhouse/streamhouse/cli/internal/output"
	"github.com/streamhouse/streamhouse/cli/internal/supervisor"
	"github.com/streamhouse/streamhouse/cli/internal/traces"
)

type devCommand struct {
	Up     devUpCommand     `cmd:"" default:"withargs" hidden:"" help:"Run the cluster until Ctrl-C."`
	Status devStatusCommand `cmd:"" help:"Show the state of each process."`
	Down   devDownCommand   `cmd:"" help:"Stop everything that was started for this data dir."`
	Agent  struct {
		Start devAgentStartCommand `cmd:"" help:"Start one more agent, or one that was killed, by its id."`
	} `cmd:"" help:"Agents of a running dev."`
}

// Help says what dev does.
func (devCommand) Help() string {
	return `PostgreSQL, an S3 server on a local folder, control planes and agents, each a process of its own that listens on 127.0.0.1 alone. ` +
		`Topics, records, keys and addresses are kept in the data dir and found again by the next run. ` +
		`A part that dies is reported, and started again only with --restart. When all is ready, DATA-DIR/dev.json says where everything is; ` +
		`other commands find it by themselves. Ctrl-C stops everything.`
}

type devUpCommand struct {
	Zones           []string      `default:"az-a,az-b,az-c" help:"Zones. Default: ${default}."                                                                                placeholder:"ZONE"`
	AgentsPerZone   int           `default:"1"              help:"Agents in each zone. Default: ${default}."                                                                  placeholder:"N"`
	AgentGroup      string        `default:"default"        help:"Agent group of the agents; it is made if need be. Default: ${default}."                                             placeholder:"NAME"`
	Controlplanes   int           `default:"1"              help:"Replicas of the control plane. Default: ${default}."                                                        placeholder:"N"`
	SessionDuration time.Duration `default:"30s"            help:"Silence that ends an agent's session. Default: ${default}."`
	SuspectAfter    time.Duration `default:"2s"             help:"Silence after which an agent's partitions may be led by others. Default: ${default}."`
	Restart         bool          `help:"Start parts that die again."`
	Detach          bool          `help:"Go on in the background; return when all is ready. Stop it with streamhouse dev down."`
	PortsFrom       int           `help:"First port. Default: free ones, which are remembered."                                                          placeholder:"N"`
	AgentFlag       []string      `help:"Flag for every agent, such as linger=50ms; can be given several times. streamhouse-agent serve --help lists them." placeholder:"NAME=VALUE" sep:"none"`
	S3PutDelay      time.Duration `name:"s3-put-delay" help:"Have the S3 server that is started here hold every PUT back for so long, as a bucket far away would."`
	S3MD5           bool          `name:"s3-md5"       help:"Have it compute MD5 ETags as S3 does (a third of the speed)."`
	Otel            bool          `name:"otel"         help:"Trace every call, and keep the newest traces here: streamhouse trace list, streamhouse trace show." xor:"otel"`
	OTLPEndpoint    string        `name:"otlp-endpoint" help:"Send traces and metrics to this OpenTelemetry collector, e.g. http://localhost:4318." placeholder:"URL" xor:"otel"`
	DatabaseURL     string        `env:"STREAMHOUSE_DATABASE_URL" help:"PostgreSQL to use instead of starting one. Prefer the environment if it has a password." placeholder:"URL"`
	S3Endpoint      string        `env:"STREAMHOUSE_S3_ENDPOINT"   name:"s3-endpoint"   help:"S3 to use instead of starting one."                        placeholder:"URL"`
	S3Bucket        string        `default:"streamhouse" env:"STREAMHOUSE_S3_BUCKET"     name:"s3-bucket"     help:"Its bucket, which must exist. Default: ${default}."         placeholder:"NAME"`
	S3Region        string        `default:"us-east-1"   env:"STREAMHOUSE_S3_REGION"     name:"s3-region"     help:"Its region. Default: ${default}."                           placeholder:"NAME"`
	S3AccessKey     string        `env:"STREAMHOUSE_S3_ACCESS_KEY" name:"s3-access-key" help:"Its access key. Default: the AWS chain."                   placeholder:"ID"`
	S3SecretKey     string        `env:"STREAMHOUSE_S3_SECRET_KEY" name:"s3-secret-key" help:"Its secret key. Prefer the environment: other users see arguments." placeholder:"KEY"`
}

func (c *devUpCommand) config(e *env) (supervisor.Config, error) {
	dir, err := e.NewDir()
	if err != nil {
		return supervisor.Config{}, err
	}
	bin, err := binFolder()
	if err != nil {
		return supervisor.Config{}, err
	}
	config := supervisor.Config{
		Dir: dir, Bin: bin, Zones: c.Zones, AgentsPerZone: c.AgentsPerZone, AgentGroup: c.AgentGroup, ControlPlanes: c.Controlplanes,
		SessionDuration: c.SessionDuration, SuspectAfter: c.SuspectAfter, Restart: c.Restart, PortsFrom: c.PortsFrom, DatabaseURL: c.DatabaseURL,
		AgentFlags: c.AgentFlag, S3PutDelay: c.S3PutDelay, S3MD5: c.S3MD5,
	}
	if c.S3Endpoint != "" {
		config.S3 = datadir.S3{
			Endpoint: c.S3Endpoint, Bucket: c.S3Bucket, Region: c.S3Region, AccessKey: c.S3AccessKey, SecretKey: c.S3SecretKey,
		}
	} else if c.S3AccessKey != "" || c.S3SecretKey != "" {
		return config, usage("--s3-access-key and --s3-secret-key need --s3-endpoint: the S3 server that is started here has keys of its own")
	}
	if err := config.Validate(); err != nil {
		return config, usageError{err}
	}
	return config, nil
}

// Run runs the cluster.
func (c *devUpCommand) Run(ctx context.Context, e *env) error {
	config, err := c.config(e)
	if err != nil {
		return err
	}
	if c.Detach && !isBackground() {
		return detach(ctx, e, config.Dir)
	}
	stop, err := c.observe(ctx, &config)
	if err != nil {
		return err
	}
	defer stop()
	notify := parent()
	err = supervisor.Run(ctx, e.Kill, config, supervisor.Listener{
		Ready: func(cluster datadir.Cluster) {
			if err := announce(e, config.Dir, cluster); err != nil {
				fmt.Fprintf(e.Stderr, "streamhouse dev: %s\n", oneLine(err.Error()))
			}
			notify(nil)
		},
		Report: func(text string) { fmt.Fprintf(e.Stderr, "streamhouse dev: %s\n", oneLine(text)) },
	})
	if errors.As(err, new(supervisor.UsageError)) {
		err = usageError{err}
	}
	notify(err)
	return err
}

// observe has the parts export to the collector that is given, or to one that runs until stop.
func (c *devUpCommand) observe(ctx context.Context, config *supervisor.Config) (stop func(), err error) {
	if c.OTLPEndpoint != "" {
		config.ServiceFlags = []string{"--otlp-endpoint", c.OTLPEndpoint}
	}
	if !c.Otel {
		return func() {}, nil
	}
	collector, err := traces.Listen() //nolint:contextcheck // binds a local address, at once
	if err != nil {
		return nil, err
	}
	config.TracesURL = collector.URL()
	config.ServiceFlags = []string{"--otlp-endpoint", collector.URL(), "--trace-sample", "1"}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the parts export to the end
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = collector.Run(running) // a collector that breaks costs traces alone; the parts log it
	}()
	return func() { cancel(); <-ended }, nil
}

// announce says that all is ready. In the background nobody looks: the process that started this one says it.
func announce(e *env, dir datadir.Dir, cluster datadir.Cluster) error {
	switch {
	case isBackground():
		return nil
	case e.Output != output.Table:
		return e.print(cluster, output.Rows{})
	}
	banner(e, dir, cluster)
	fmt.Fprint(e.Stdout, "\nCtrl-C stops everything.\n")
	return nil
}

func banner(e *env, dir datadir.Dir, cluster datadir.Cluster) {
	w := e.Stdout
	planes, agents := count(len(cluster.ControlPlanes), "control plane"), count(len(cluster.Agents), "agent")
	fmt.Fprintf(w, "StreamHouse is ready: %s, %s, data in %s\n\n", planes, agents, shortPath(dir.Path()))
	for _, p := range cluster.ControlPlanes {
		fmt.Fprintf(w, "  %-16s %s\n", p.ID, p.URL)
	}
	for _, a := range cluster.Agents {
		fmt.Fprintf(w, "  %-16s %s   zone %s\n", a.ID, a.URL, a.Zone)
	}
	flag := ""
	if e.DataDir != "" {
		flag = " --data-dir " + e.DataDir
	}
	fmt.Fprintf(w, `
  web console      %[5]s
  addresses, keys  %[1]s
  logs             %[2]s

In another shell, in this folder:

  %[3]s topic create orders --partitions 6%[4]s
  printf 'alice,one\nbob,two\n' | %[3]s produce orders --key-separator ,%[4]s
  %[3]s consume orders --from-beginning%[4]s
  %[3]s dev status%[4]s
`, shortPath(dir.Join("dev.json")), shortPath(dir.Join("logs")), commandName(), flag, cluster.ConsoleURL)
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

type devStatusCommand struct{}

// Run fails when no dev is running, so that scripts can ask.
func (devStatusCommand) Run(ctx context.Context, e *env) error {
	parts, err := status(ctx, e)
	if err != nil {
		return err
	}
	for i := range parts {
		parts[i].URL = withoutPassword(parts[i].URL)
	}
	rows := output.Rows{Head: []string{"PART", "STATE", "PID", "ZONE", "URL", "SINCE", "REASON"}}
	for _, p := range parts {
		pid := ""
		if p.PID != 0 {
			pid = fmt.Sprint(p.PID)
		}
		rows.Body = append(rows.Body, []string{p.Name, p.State, pid, p.Zone, p.URL, output.Time(p.Since), p.Reason})
	}
	return e.print(parts, rows)
}

func status(ctx context.Context, e *env) ([]control.Part, error) {
	dir, err := e.Dir()
	if err != nil {
		return nil, err
	}
	caller, err := supervisor.Running(dir)
	if errors.Is(err, supervisor.ErrNotRunning) {
		left, lookErr := dir.Leftovers()
		if lookErr == nil && len(left) > 0 {
			return nil, fmt.Errorf("the dev of %s was killed and left %s behind: `%s dev down` ends them", dir.Path(), partNames(left), commandName())
		}
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, orderTime)
	defer cancel()
	return caller.Status(ctx)
}

// orderTime bounds an order that is answered at once, agentTime one that waits for an agent.
const (
	orderTime = 10 * time.Second
	agentTime = 90 * time.Second
)

func partNames(list []datadir.Started) string {
	names := make([]string, 0, len(list))
	for _, s := range list {
		names = append(names, fmt.Sprintf("%s (process %d)", s.Part, s.PID))
	}
	return strings.Join(names, ", ")
}

type devDownCommand struct{}

// Run stops the cluster; that nothing runs is no error.
func (devDownCommand) Run(ctx context.Context, e *env) error {
	dir, err := e.Dir()
	if err != nil {
		return err
	}
	ended, err := supervisor.Down(ctx, dir)
	if len(ended) > 0 {
		fmt.Fprintf(e.Stderr, "streamhouse dev: ended %s, left behind by a dev that was killed\n", partNames(ended))
	}
	return err
}

type devAgentStartCommand struct {
	ID         string   `help:"Id of the agent; one that has died is started again under its address. Default: the next of its zone."`
	Zone       string   `help:"Zone. Default: that of the dead agent, else the first zone of the dev."`
	AgentGroup string   `help:"Agent group; it is made if need be. Default: that of the dead agent, else that of the dev." placeholder:"NAME"`
	AgentFlag  []string `help:"Flag for this agent, such as linger=50ms; can be given several times." placeholder:"NAME=VALUE" sep:"none"`
}

// Run returns when the agent is ready.
func (c devAgentStartCommand) Run(ctx context.Context, e *env) error {
	dir, err := e.Dir()
	if err != nil {
		return err
	}
	caller, err := supervisor.Running(dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, agentTime)
	defer cancel()
	part, err := caller.StartAgent(ctx, control.NewAgent{ID: c.ID, Zone: c.Zone, AgentGroup: c.AgentGroup, Flags: c.AgentFlag})
	if err != nil {
		return err
	}
	agent := datadir.Agent{ID: part.Name, Zone: part.Zone, AgentGroup: part.AgentGroup, URL: part.URL, PID: part.PID}
	return e.print(agent, output.Rows{
		Head: []string{"AGENT", "ZONE", "GROUP", "URL", "PID"},
		Body: [][]string{{agent.ID, agent.Zone, agent.AgentGroup, agent.URL, fmt.Sprint(agent.PID)}},
	})
}

func folderOf(path string) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	}
	return filepath.Dir(path)
}
