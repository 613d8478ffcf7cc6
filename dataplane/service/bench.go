package service

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/streamhouse/streamhouse/serve/config"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/yardstick"
)

// Bench are the commands that measure the parts of the data path alone.
type Bench struct {
	BenchStore BenchStore `cmd:"" help:"Measure the bucket alone: PUTs and GETs of whole objects. Prints JSON." hidden:""`
	BenchCPU   BenchCPU   `cmd:"" help:"Measure the work on batches alone, on one core. Prints JSON."           hidden:"" name:"bench-cpu"`
}

// Run runs one of them by its name.
func (b Bench) Run(ctx context.Context, command string, c Config, stdout io.Writer) error {
	if command == "bench-store" {
		return b.BenchStore.Run(ctx, c, stdout)
	}
	return b.BenchCPU.Run(stdout)
}

// BenchStore measures the bucket of a Config alone; package yardstick describes what is printed.
type BenchStore struct {
	Bytes         int           `default:"8388608"    help:"Bytes of an object."                                                    placeholder:"N"`
	Concurrency   int           `default:"4"          help:"Calls at the same time."                                                placeholder:"N"`
	Duration      time.Duration `default:"5s"         help:"How long to PUT, and then to GET."`
	Every         time.Duration `default:"0s"         help:"Least time from one call to the next. 0s: back to back."`
	MaxTotalBytes int64         `default:"4294967296" help:"Most bytes to put; they are deleted afterwards."                        placeholder:"N"`
	Output        string        `default:"json"       enum:"json"                                          help:"Form of the result." placeholder:"json" short:"o"`
}

// Run prints one JSON object.
func (b BenchStore) Run(ctx context.Context, c Config, stdout io.Writer) error {
	if err := c.validateBucket(); err != nil {
		return config.Reject(err)
	}
	ask := yardstick.StoreConfig{
		AgentGroup: c.AgentGroup, Bytes: b.Bytes, Concurrency: b.Concurrency, Duration: b.Duration, Every: b.Every, MaxTotalBytes: b.MaxTotalBytes,
	}
	if err := ask.Validate(); err != nil {
		return config.Reject(err)
	}
	store, err := objectstore.NewS3(ctx, c.store())
	if err != nil {
		return err
	}
	defer store.Close()
	result, err := yardstick.Store(ctx, store, ask)
	if err != nil {
		return err
	}
	return printJSON(stdout, result)
}

// BenchCPU measures the work on batches alone; package yardstick describes what is printed.
type BenchCPU struct {
	RecordBytes int           `default:"1024"    help:"Bytes of a record's value."          placeholder:"N"`
	BatchBytes  int           `default:"1048576" help:"Bytes of the values of a batch."     placeholder:"N"`
	Duration    time.Duration `default:"500ms"   help:"How long to do each kind of work."`
	Output      string        `default:"json"    enum:"json"                                help:"Form of the result." placeholder:"json" short:"o"`
}

// Run prints one JSON object.
func (b BenchCPU) Run(stdout io.Writer) error {
	ask := yardstick.CPUConfig{RecordBytes: b.RecordBytes, BatchBytes: b.BatchBytes, Duration: b.Duration}
	if err := ask.Validate(); err != nil {
		return config.Reject(err)
	}
	result, err := yardstick.CPU(ask)
	if err != nil {
		return err
	}
	return printJSON(stdout, result)
}

func printJSON(w io.Writer, result any) error {
	if err := json.NewEncoder(w).Encode(result); err != nil {
		return fmt.Errorf("print the result: %w", err)
	}
	return nil
}
