// Package command is the command line of streamhouse: which commands and flags there are, what each asks of whom, and what it prints.
// A command or flag appears with its feature; what is unknown is a usage error. Errors go to stderr as one line that says what to do.
// Nothing here keeps a process running or encodes records: supervisor, produce and consume do.
// Read: command.go, dev.go, topic.go, produce.go, consume.go, agent.go, drain.go, agentgroup.go, lease.go, placement.go, status.go, top.go,
// key.go, trace.go, catalog.go, recover.go, fsck.go, bench.go, benchrecords.go, benchfailover.go, cost.go.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/streamhouse/streamhouse/cli/internal/output"
	"github.com/streamhouse/streamhouse/cli/internal/setting"
)

// Program is this process as commands see it.
type Program struct {
	Version string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	// Kill is closed when the user does not want to wait for an orderly end any more.
	Kill <-chan struct{}
}

// Exit statuses.
const (
	statusDone   = 0
	statusFailed = 1
	statusUsage  = 2
)

// usageError says that the command line, the environment or the file is wrong.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

type commands struct {
	setting.Flags

	Dev        devCommand        `cmd:"" help:"Run a whole cluster on this machine."`
	Topic      topicCommand      `cmd:"" help:"Topics."`
	Produce    produceCommand    `cmd:"" help:"Store records, one from each line of a file or of the input."`
	Records    recordsCommand    `cmd:"" help:"Records that are stored."`
	Consume    consumeCommand    `cmd:"" help:"Print the records of a topic."`
	Agent      agentCommand      `cmd:"" help:"Agents."                                                        name:"agent"`
	AgentGroup agentGroupCommand `cmd:"" help:"Agent groups: topics, agents and keys that nothing else reaches." name:"agent-group"`
	Lease      leaseCommand      `cmd:"" help:"Leases: who leads which partition."`
	Placement  placementCommand  `cmd:"" help:"Placement: who should lead which partition, and why."`
	Cluster    clusterCommand    `cmd:"" help:"The cluster at a glance."`
	Top        topCommand        `cmd:"" help:"Show the cluster's status, live."`
	Trace      traceCommand      `cmd:"" help:"Traces that a dev with --otel has kept."`
	Key        keyCommand        `cmd:"" help:"API keys."`
	Catalog    catalogCommand    `cmd:"" help:"The catalog itself: whether it may be trusted."`
	Fsck       fsckCommand       `cmd:"" help:"Compare the catalog with the bucket, and change nothing."`
	Recover    recoverCommand    `cmd:"" help:"Make a lost catalog anew, from the objects in the bucket alone."`
	Bench      benchCommand      `cmd:"" help:"Measurements."`
	Cost       costCommand       `cmd:"" help:"Compute what a cluster in AWS costs a month, beside Kafka and WarpStream. Asks nobody."`
	Version    versionCommand    `cmd:"" help:"Print the version."`
}

// env is what every command gets.
type env struct {
	Program
	setting.Settings
}

func (e *env) print(value any, table output.Rows) error {
	return output.Print(e.Stdout, e.Output, value, table)
}

// tables prints some tables, for people.
func (e *env) tables(tables ...output.Rows) error { return output.Tables(e.Stdout, tables...) }

// Run runs the command that args, without the program's name, stand for, and returns the exit status. ctx ends when the user interrupts.
func Run(ctx context.Context, program Program, args []string) int {
	err := run(ctx, program, args)
	if err == nil {
		return statusDone
	}
	fmt.Fprintf(program.Stderr, "streamhouse: %s\n", oneLine(err.Error()))
	if errors.As(err, new(usageError)) {
		return statusUsage
	}
	return statusFailed
}

func oneLine(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

func run(ctx context.Context, program Program, args []string) error {
	var cli commands
	helped := false
	parser, err := kong.New(&cli,
		kong.Name("streamhouse"),
		kong.Description("Event streaming whose data lives in S3 and whose truth lives in PostgreSQL."),
		kong.Writers(program.Stdout, io.Discard),
		kong.Exit(func(int) { helped = true }),
		kong.Help(help),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		return fmt.Errorf("describe commands: %w", err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if helped {
		return nil
	}
	if err != nil {
		return usageError{fmt.Errorf("%w; see `streamhouse %s`", err, strings.Join(append(commandPath(parser, args), "--help"), " "))}
	}
	settings, err := cli.Resolve()
	if err != nil {
		return usageError{err}
	}
	return advise(parsed.Run(&env{Program: program, Settings: settings}))
}

// commandPath is the part of args that names a command.
func commandPath(parser *kong.Kong, args []string) []string {
	var path []string
	node := parser.Model.Node
	for _, arg := range args {
		var next *kong.Node
		for _, child := range node.Children {
			if child.Name == arg {
				next = child
			}
		}
		if next == nil {
			break
		}
		path, node = append(path, arg), next
	}
	return path
}

// help is kong's, but for a command that can be used by itself and has commands below it, too: that is shown as what it is.
func help(options kong.HelpOptions, ctx *kong.Context) error {
	selected := ctx.Selected()
	if selected == nil {
		listDefaults(ctx.Model.Node)
	}
	if selected == nil || selected.DefaultCmd == nil {
		return kong.DefaultHelpPrinter(options, ctx)
	}
	alone := *selected.DefaultCmd
	alone.Name, alone.Parent, alone.Help, alone.Detail = selected.Name, selected.Parent, selected.Help, selected.Detail
	shown := *ctx
	shown.Path = append([]*kong.Path{}, ctx.Path...)
	shown.Path[len(shown.Path)-1] = &kong.Path{Parent: selected.Parent, Command: &alone}
	if err := kong.DefaultHelpPrinter(options, &shown); err != nil {
		return err
	}
	fmt.Fprintln(ctx.Stdout, "\nCommands:")
	for _, leaf := range selected.Leaves(true) {
		if leaf != selected.DefaultCmd {
			fmt.Fprintf(ctx.Stdout, "  %s\n    %s\n", strings.TrimPrefix(leaf.Path(), ctx.Model.Name+" "), leaf.Help)
		}
	}
	return nil
}

// listDefaults has the list of commands show those that have no word of their own.
func listDefaults(node *kong.Node) {
	if node.DefaultCmd != nil {
		node.DefaultCmd.Hidden, node.DefaultCmd.Name, node.DefaultCmd.Help = false, "", node.Help
	}
	for _, child := range node.Children {
		listDefaults(child)
	}
}

type versionCommand struct{}

func (versionCommand) Run(e *env) error {
	if e.Output == output.Table {
		_, err := fmt.Fprintln(e.Stdout, e.Version)
		return err
	}
	return e.print(struct {
		Version string `json:"version"`
	}{e.Version}, output.Rows{})
}

// binFolder is where the other programs are: $STREAMHOUSE_BIN, else beside this one.
func binFolder() (string, error) {
	if dir := os.Getenv("STREAMHOUSE_BIN"); dir != "" {
		return dir, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the programs: %w", err)
	}
	return folderOf(self), nil
}
