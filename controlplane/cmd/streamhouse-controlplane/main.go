// Command streamhouse-controlplane is the control plane: sessions, leases, the catalog, on PostgreSQL. It parses, wires and runs; what it
// does lives in package service.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/streamhouse/streamhouse/serve/config"
	"github.com/streamhouse/streamhouse/serve/crashpoint"
	"github.com/streamhouse/streamhouse/serve/listen"
	"github.com/streamhouse/streamhouse/serve/logs"

	"github.com/streamhouse/streamhouse/controlplane/internal/bench"
	"github.com/streamhouse/streamhouse/controlplane/service"
)

// version is set by the linker.
var version = "unversioned"

// settings is service.Config without its methods: kong would call Validate for every command, version included.
type settings service.Config

type commands struct {
	Config   config.File `help:"YAML file: flag names and their values. Flags and environment go first." placeholder:"FILE"`
	Settings settings    `embed:""`

	Serve       struct{} `cmd:"" default:"1" help:"Serve until SIGTERM or SIGINT; a second one cuts the calls in flight. The default."`
	Migrate     struct{} `cmd:"" help:"Bring the database's schema up to date."`
	Healthcheck struct{} `cmd:"" help:"Exit with 0 if the control plane that listens here is ready."`
	Version     struct{} `cmd:"" help:"Print the version."`
	CrashPoints struct{} `cmd:"" hidden:"" help:"List the places at which STREAMHOUSE_CRASH_AT ends the process."`

	BenchCommit bench.Config `cmd:"" hidden:"" help:"Measure commits in a scratch database on the server of --database-url."`
}

func main() {
	err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, config.ErrHelp) {
		fmt.Fprintf(os.Stderr, "streamhouse-controlplane: %v\n", err)
	}
	os.Exit(config.ExitStatus(err))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var cli commands
	parsed, err := config.Parse(config.Program{
		Name:        "streamhouse-controlplane",
		Description: "The control plane of StreamHouse: sessions, leases and the catalog, on PostgreSQL.",
		Stdout:      stdout,
	}, &cli, args)
	if err != nil {
		return err
	}
	settings := service.Config(cli.Settings)
	switch parsed.Command {
	case "version":
		fmt.Fprintln(stdout, version)
		return nil
	case "crash-points":
		return crashpoint.List(stdout)
	case "healthcheck":
		return listen.Healthcheck(ctx, settings.Listener)
	}
	log, err := logs.New(stderr, settings.Log)
	if err != nil {
		return config.Reject(err)
	}
	log.InfoContext(ctx, "configuration", slog.String("command", parsed.Command), slog.String("version", version), slog.Any("settings", parsed))
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // the next signal has its default effect: it ends the process
	switch parsed.Command {
	case "migrate":
		return migrate(ctx, settings, log)
	case "bench-commit":
		return measure(ctx, settings, cli.BenchCommit, stdout)
	}
	return serve(ctx, settings, log)
}

func migrate(ctx context.Context, settings service.Config, log *logs.Log) error {
	if err := settings.ValidateDatabase(); err != nil {
		return config.Reject(err)
	}
	return service.Migrate(ctx, settings, log.Logger)
}

func measure(ctx context.Context, settings service.Config, run bench.Config, stdout io.Writer) error {
	if err := errors.Join(settings.ValidateDatabase(), run.Validate()); err != nil {
		return config.Reject(err)
	}
	report, err := bench.Run(ctx, settings.DatabaseURL.Reveal(), run)
	if err != nil {
		return err
	}
	return report.Write(stdout, run.Output)
}

func serve(ctx context.Context, settings service.Config, log *logs.Log) error {
	if err := settings.Validate(); err != nil {
		return config.Reject(err)
	}
	controlplane, err := service.New(ctx, settings, service.Deps{Log: log, Version: version})
	if err != nil {
		return err
	}
	return controlplane.Run(ctx)
}
