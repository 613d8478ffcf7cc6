// Command demo is `make demo`: a cluster, a real file through it, an agent killed on the way, and the proof that nothing was lost.
// It parses and runs; the demonstration itself is package demo.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/streamhouse/streamhouse/e2e/demo"
)

func main() {
	bin := flag.String("bin", "bin", "folder with the binaries")
	lines := flag.Int("lines", 250_000, "least number of lines to stream")
	rate := flag.Int("rate", 25_000, "lines a second")
	dev := flag.String("dev", "", "arguments to add to `streamhouse dev`, separated by spaces")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, demo.Config{Bin: *bin, Lines: *lines, Rate: *rate, DevArgs: strings.Fields(*dev), Out: os.Stdout}); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}

func run(ctx context.Context, cfg demo.Config) error {
	summary, err := demo.Run(ctx, cfg)
	if err != nil {
		return err
	}
	fmt.Println(summary)
	return summary.Err()
}
