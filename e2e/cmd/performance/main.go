// Command performance prints the table of docs/performance.md, measured on clusters of its own. It parses and runs; the rows are package
// performance.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/streamhouse/streamhouse/e2e/performance"
)

func main() {
	bin := flag.String("bin", "bin", "folder with the binaries")
	only := flag.String("only", "", "only rows whose text or command has this in it")
	more := flag.String("more", "", "arguments to add to every row's command, separated by spaces")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	folder, err := filepath.Abs(*bin)
	if err == nil {
		err = performance.Run(ctx, performance.Config{Bin: folder, Only: *only, More: strings.Fields(*more), Out: os.Stdout, Log: os.Stderr})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "performance:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has been called
	}
}
