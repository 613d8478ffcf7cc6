// Command images builds the container images of the agent and of the control plane as folders in the OCI image layout, without a container engine,
// and prints what it built. The same source, version and Go give the same digests.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/streamhouse/streamhouse/images/internal/build"
	"github.com/streamhouse/streamhouse/images/internal/oci"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "images: %v\n", err)
		os.Exit(1) //nolint:gocritic // stop has nothing left to do
	}
}

func run(ctx context.Context, args []string) error {
	options, err := parse(args)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "IMAGE\tPLATFORM\tPULLED\tDIGEST")
	for _, program := range build.Programs {
		found, err := build.Build(ctx, program, options)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "%s:%s\tall\t\t%s\n", filepath.Join(options.Out, program.Name), found.Tag, found.Digest)
		for _, p := range found.Platforms {
			fmt.Fprintf(table, "\t%s\t%.1f MB\t%s\n", p.Platform, float64(p.LayerBytes)/1e6, p.Digest)
		}
	}
	return table.Flush()
}

func parse(args []string) (build.Options, error) {
	var o build.Options
	flags := flag.NewFlagSet("images", flag.ContinueOnError)
	flags.StringVar(&o.Source, "source", ".", "folder of go.work")
	flags.StringVar(&o.Out, "out", filepath.Join("bin", "images"), "folder that gets a folder for each image")
	flags.StringVar(&o.Version, "version", "unversioned", "version that the programs answer, and tag of the images")
	created := flags.Int64("created", 0, "time that everything in the images has, in seconds since 1970")
	platforms := flags.String("platforms", "linux/amd64,linux/arm64", "what to build for")
	roots := flags.String("ca", "", "file of certificates in PEM that are trusted besides the public ones")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.Created = time.Unix(*created, 0)
	for platform := range strings.SplitSeq(*platforms, ",") {
		system, architecture, ok := strings.Cut(platform, "/")
		if !ok {
			return o, fmt.Errorf("platform %q is not OS/ARCHITECTURE", platform)
		}
		o.Platforms = append(o.Platforms, oci.Platform{OS: system, Architecture: architecture})
	}
	if *roots == "" {
		return o, nil
	}
	extra, err := os.ReadFile(*roots)
	o.ExtraRoots = extra
	return o, err
}
