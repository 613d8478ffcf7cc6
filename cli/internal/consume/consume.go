// Package consume prints the records of a topic in a format: values as they are, a line of JSON each, or by a template.
// Nothing here fetches: the SDK does. What consume prints as JSON, produce reads.
// Read: consume.go, format.go, position.go.
package consume

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/streamhouse/streamhouse/client"
)

// Config says what to read.
type Config struct {
	Topic string
	Write Writer
	// Output takes the records, flushed whenever the next one has to be waited for.
	Output io.Writer
	// Max is how many records are read at most; 0: no limit.
	Max int64
	// Options of the consumer: from where, which partitions, until when.
	Options []client.ConsumerOption
}

const outputBytes = 64 << 10

// Run reads until the end that Options ask for, until Max, or until ctx ends, which is no error. It returns how many records it printed.
func Run(ctx context.Context, sdk *client.Client, config Config) (printed int64, err error) {
	consumer, err := sdk.NewConsumer(ctx, config.Topic, config.Options...)
	if err != nil {
		return 0, unlessEnded(ctx, err)
	}
	defer consumer.Close()
	out := bufio.NewWriterSize(config.Output, outputBytes)
	for {
		records, err := consumer.Poll(ctx)
		if errors.Is(err, io.EOF) {
			return printed, nil
		}
		if err != nil {
			return printed, unlessEnded(ctx, err)
		}
		if config.Max > 0 {
			records = records[:min(int64(len(records)), config.Max-printed)]
		}
		if err := printAll(out, config.Write, records); err != nil {
			return printed, err
		}
		printed += int64(len(records))
		if config.Max > 0 && printed >= config.Max {
			return printed, nil
		}
	}
}

func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // that is how a follower ends
	}
	return err
}

func printAll(out *bufio.Writer, write Writer, records []*client.Record) error {
	for _, r := range records {
		if err := write(out, r); err != nil {
			return fmt.Errorf("print record %d of partition %d: %w", r.Offset, r.Partition, err)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
