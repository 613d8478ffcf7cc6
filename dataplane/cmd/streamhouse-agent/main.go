// Command streamhouse-agent is an agent: it takes records in, writes them to the bucket, and serves them. It parses, wires and runs; what it
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

	"github.com/streamhouse/streamhouse/dataplane/service"
)

// version is set by the linker.
var version = "unversioned"

// settings is service.Config without its methods: kong would call Validate for every command, version included.
type settings service.Config

type commands struct {
	Config   config.File `help:"YAML file: flag names and their values. Flags and environment go first." placeholder:"FILE"`
	Settings settings    `embed:""`

	Serve       struct{} `cmd:"" default:"1" help:"Serve until SIGTERM or SIGINT, then hand everything over; a second one stops at once. The default."`
	Healthcheck struct{} `cmd:"" help:"Exit with 0 if the agent that listens here is ready."`
	Version     struct{} `cmd:"" help:"Print the version."`
	CrashPoints struct{} `cmd:"" hidden:"" help:"List the places at which STREAMHOUSE_CRASH_AT ends the process."`

	Bench service.Bench `embed:""`
}

func main() {
	err := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	if err != nil && !errors.Is(err, config.ErrHelp) {
		fmt.Fprintf(os.Stderr, "streamhouse-agent: %v\n", err)
	}
	os.Exit(config.ExitStatus(err))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var cli commands
	parsed, err := config.Parse(config.Program{
		Name:        "streamhouse-agent",
		Description: "An agent of StreamHouse: takes records in, writes them to the bucket, serves them.",
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
	case "bench-store", "bench-cpu":
		return cli.Bench.Run(ctx, parsed.Command, settings, stdout)
	}
	log, err := logs.New(stderr, settings.Log)
	if err != nil {
		return config.Reject(err)
	}
	if err := settings.Validate(); err != nil {
		return config.Reject(err)
	}
	log.InfoContext(ctx, "configuration", slog.String("version", version), slog.Any("settings", parsed))
	return serve(ctx, settings, log)
}

// serve runs until the first signal, and at the second one cuts the stop short.
func serve(ctx context.Context, settings service.Config, log *logs.Log) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	signals := make(chan os.Signal, 2) // one to stop, one to hurry
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	abort := make(chan struct{})
	agent, err := service.New(settings, service.Deps{Log: log, Version: version, Abort: abort}) //nolint:contextcheck // it only binds
	if err != nil {
		return err
	}
	go func() { // ends with the process
		<-signals
		stop()
		<-signals
		close(abort)
	}()
	return agent.Run(ctx)
}
