package command

import (
	"context"
	"fmt"
	"time"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/consume"
	"github.com/streamhouse/streamhouse/cli/internal/output"
)

type consumeCommand struct {
	Topic         string  `arg:""   help:"Topic."`
	FromBeginning bool    `help:"Start with the first record that can be read. Default: at the end."                                  xor:"from"`
	Offset        *int64  `help:"Start at this offset of each partition."                                                             placeholder:"N"    xor:"from"`
	At            string  `help:"Start with the first record of this time or later: 2026-01-31T12:00:00Z, '2026-01-31 12:00' (local), -10m." placeholder:"TIME" xor:"from"`
	Partition     []int32 `help:"Only these partitions. Default: all."                                                                placeholder:"N"`
	Reset         string  `help:"What to do at an offset that is not there any more, or not yet: go on at the beginning or at the end (end) of what there is, or fail. Default: beginning; with --offset fail." enum:"beginning,end,fail," default:"" placeholder:"WHERE"`
	Max           *int64  `help:"Stop after this many records."                                                                       placeholder:"N"`
	Follow        bool    `help:"Wait for new records until Ctrl-C. Default: end where the partitions ended at the start."`
	Zone          string  `env:"STREAMHOUSE_ZONE" help:"Zone of this process: records are fetched from agents there. Default: none." placeholder:"ZONE"`
	Format        string  `help:"value (the default): the value and a line feed. json: an object a line with topic, partition, offset, timestamp, key, value, headers; key_base64 and value_base64 for bytes that are not text. Or a template, with .Topic .Partition .Offset .Timestamp .Key .Value .Header, such as '{{.Offset}} {{.Value}}'." placeholder:"FORMAT"`
}

// Help tells about the order of records.
func (*consumeCommand) Help() string {
	return "Records of one partition are printed in order, those of different partitions as they come."
}

func (c *consumeCommand) config(e *env) (consume.Config, error) {
	config := consume.Config{Topic: c.Topic, Output: e.Stdout}
	if e.Output == output.YAML && c.Format == "" {
		return config, usage("records are not printed as YAML: use --format value, json or a template")
	}
	var err error
	if config.Write, err = consume.ParseFormat(c.format(e)); err != nil {
		return config, usageError{err}
	}
	if c.Max != nil {
		if config.Max = *c.Max; config.Max < 1 {
			return config, usage("--max: %d is below 1", config.Max)
		}
	}
	from, err := c.from()
	if err != nil {
		return config, err
	}
	config.Options = []client.ConsumerOption{client.From(from), client.WithReset(c.reset())}
	if len(c.Partition) > 0 {
		config.Options = append(config.Options, client.Partitions(c.Partition...))
	}
	if !c.Follow {
		config.Options = append(config.Options, client.UntilEnd())
	}
	return config, nil
}

// format is the one given, else that of -o.
func (c *consumeCommand) format(e *env) string {
	switch {
	case c.Format != "":
		return c.Format
	case e.Output == output.JSON:
		return "json"
	}
	return "value"
}

// reset: who names an offset wants that one; everyone else wants what there is.
func (c *consumeCommand) reset() client.Reset {
	switch {
	case c.Reset == "end":
		return client.ResetToEnd
	case c.Reset == "fail", c.Reset == "" && c.Offset != nil:
		return client.ResetNever
	}
	return client.ResetToBeginning
}

func (c *consumeCommand) from() (client.Position, error) {
	switch {
	case c.FromBeginning:
		return client.Beginning(), nil
	case c.Offset != nil:
		if *c.Offset < 0 {
			return client.Position{}, usage("--offset: %d is below 0", *c.Offset)
		}
		return client.At(*c.Offset), nil
	case c.At != "":
		at, err := consume.ParseTime(c.At, time.Now())
		if err != nil {
			return client.Position{}, usageError{err}
		}
		return client.AtTime(at), nil
	}
	return client.End(), nil
}

// Run consumes. Ctrl-C is no error: it is how a follower ends.
func (c *consumeCommand) Run(ctx context.Context, e *env) error {
	config, err := c.config(e)
	if err != nil {
		return err
	}
	sdk, closing, err := e.client(ctx, c.Topic, c.Zone)
	if err != nil {
		return err
	}
	defer closing()
	printed, err := consume.Run(ctx, sdk, config)
	if err == nil && printed == 0 && !c.FromBeginning && c.Offset == nil && c.At == "" && !c.Follow {
		fmt.Fprintln(e.Stderr, "streamhouse: nothing was read, since reading starts at the end: "+
			"pass --from-beginning, --offset or --at, or --follow to wait for new records")
	}
	return err
}
