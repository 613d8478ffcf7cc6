// Command streamhouse is the command line: a whole cluster on this machine, topics, records, agents, leases and keys. It parses, wires and
// runs; what it does lives in package command.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/streamhouse/streamhouse/cli/internal/command"
)

// version is set by the linker.
var version = "unversioned"

func main() {
	ctx, kill := interrupts()
	os.Exit(command.Run(ctx, command.Program{
		Version: version, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Kill: kill,
	}, os.Args[1:]))
}

// interrupts returns a context that ends with the first signal to stop, and a channel that is closed with the second. The third has its
// default effect: it ends the process.
func interrupts() (context.Context, <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	kill := make(chan struct{})
	signals := make(chan os.Signal, 2) // both, should they come at once
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() { // ends with the process
		<-signals
		cancel()
		<-signals
		close(kill)
		signal.Stop(signals)
	}()
	return ctx, kill
}
