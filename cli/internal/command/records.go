package command

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/output"
)

type recordsCommand struct {
	Delete recordsDeleteCommand `cmd:"" help:"Delete the oldest records of a topic. They are gone for every reader at once, or within two seconds where an agent has them in memory."`
}

type recordsDeleteCommand struct {
	Topic     string  `arg:"" help:"Topic."`
	Before    string  `help:"Delete what lies below this offset; 'end': all that can be read now." placeholder:"OFFSET" required:""`
	Partition []int32 `help:"Only these partitions, which must reach as far. Default: all; one that ends before the offset is emptied." placeholder:"N"`
}

// beginning is where a partition begins now. Stable.
type beginning struct {
	Topic          string `json:"topic"`
	Partition      int32  `json:"partition"`
	LogStartOffset int64  `json:"log_start_offset"`
}

const (
	// theEnd is how all records are named, on the command line and in the call.
	theEnd    = "end"
	beforeEnd = -1
	// deleteTogether is how many partitions one call may name.
	deleteTogether = 1000
)

// Run deletes.
func (c recordsDeleteCommand) Run(ctx context.Context, e *env) error {
	offset := int64(beforeEnd)
	if c.Before != theEnd {
		var err error
		if offset, err = strconv.ParseInt(c.Before, 10, 64); err != nil || offset < 0 {
			return usage("--before %s: must be an offset, or '%s'", c.Before, theEnd)
		}
	}
	admin, closing, err := e.admin()
	if err != nil {
		return err
	}
	defer closing()
	before, err := c.before(ctx, admin, offset)
	if err != nil {
		return err
	}
	deleted := make([]beginning, 0, len(before))
	rows := output.Rows{Head: []string{"TOPIC", "PARTITION", "BEGINS AT"}}
	for page := range slices.Chunk(before, deleteTogether) {
		request := make(map[int32]int64, len(page))
		for _, one := range page {
			request[one.partition] = one.offset
		}
		begins, err := admin.DeleteRecords(ctx, c.Topic, request)
		if err != nil {
			return fmt.Errorf("delete records of topic %s: %w", c.Topic, err)
		}
		for _, one := range page {
			deleted = append(deleted, beginning{Topic: c.Topic, Partition: one.partition, LogStartOffset: begins[one.partition]})
			rows.Body = append(rows.Body, []string{c.Topic, fmt.Sprint(one.partition), fmt.Sprint(begins[one.partition])})
		}
	}
	return e.print(deleted, rows)
}

// place is an offset of a partition.
type place struct {
	partition int32
	offset    int64
}

// before is what to ask for, by partition. Of all partitions, those that end before the offset are emptied; what comes after this look stays.
func (c recordsDeleteCommand) before(ctx context.Context, admin *client.Admin, offset int64) ([]place, error) {
	var all []place
	if len(c.Partition) > 0 {
		for _, p := range slices.Compact(slices.Sorted(slices.Values(c.Partition))) {
			all = append(all, place{p, offset})
		}
		return all, nil
	}
	_, partitions, err := admin.DescribeTopic(ctx, c.Topic)
	if err != nil {
		return nil, fmt.Errorf("delete records of topic %s: %w", c.Topic, err)
	}
	for _, p := range partitions {
		all = append(all, place{p.Partition, min(offset, p.HighWatermark)})
	}
	return all, nil
}
