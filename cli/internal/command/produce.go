package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/output"
	"github.com/streamhouse/streamhouse/cli/internal/produce"
)

type produceCommand struct {
	Topic         string   `arg:""            help:"Topic."`
	File          string   `arg:""            help:"File to read. Default: standard input." optional:""`
	KeySeparator  string   `help:"What stands between key and value; a line without it has a null key. Default: lines have no key."        placeholder:"TEXT"`
	Partition     *int32   `help:"Partition for all records. Default: by the key; without a key any."                                      placeholder:"N"`
	Acks          string   `default:"durable" enum:"durable,buffered" help:"When a record counts as stored: durable, in the bucket and committed; buffered, in the leader's memory, from which it is lost if that agent dies."`
	NoIdempotence bool     `help:"Send without producer id: what was possibly stored is then reported, not sent again."`
	Header        []string `help:"Header of every record; can be given several times."                                                    placeholder:"KEY=VALUE" sep:"none"`
	Format        string   `default:"lines"   enum:"lines,json"       help:"What a line is: lines, a value, or key and value; json, an object with partition, timestamp, key, value, headers, or key_base64, value_base64 for bytes that are not text. Null is not empty."`
	Zone          string   `env:"STREAMHOUSE_ZONE" help:"Zone of this process: records without a key go to partitions led there. Default: none." placeholder:"ZONE"`
	Rate          float64  `help:"Most records a second. Default: no limit."                                                              placeholder:"N"`
}

// flushTime is how long an interrupted produce waits for what it has sent.
const flushTime = 10 * time.Second

func (c *produceCommand) config() (produce.Config, error) {
	config := produce.Config{Topic: c.Topic, Parse: produce.Lines(c.KeySeparator), Partition: -1, Rate: c.Rate, FlushTime: flushTime}
	if c.Format == "json" {
		if c.KeySeparator != "" {
			return config, usage("--key-separator is for --format lines: in JSON the key has a name")
		}
		config.Parse = produce.JSON
	}
	if c.Partition != nil {
		if *c.Partition < 0 {
			return config, usage("--partition: %d is below 0", *c.Partition)
		}
		config.Partition = *c.Partition
	}
	if c.Rate < 0 {
		return config, usage("--rate: %v is below 0", c.Rate)
	}
	for _, h := range c.Header {
		key, value, found := strings.Cut(h, "=")
		if !found || key == "" {
			return config, usage("--header %q: must be KEY=VALUE", h)
		}
		config.Headers = append(config.Headers, client.Header{Key: key, Value: []byte(value)})
	}
	if c.Acks == "buffered" {
		config.Options = append(config.Options, client.WithAcks(client.AcksBuffered))
	}
	if c.NoIdempotence {
		config.Options = append(config.Options, client.WithoutIdempotence())
	}
	return config, nil
}

// Run produces. The summary is printed whatever happened.
func (c *produceCommand) Run(ctx context.Context, e *env) error {
	config, err := c.config()
	if err != nil {
		return err
	}
	input, total, err := c.open(e)
	if err != nil {
		return err
	}
	defer input.Close()
	config.Input = input
	sdk, closing, err := e.client(ctx, c.Topic, c.Zone)
	if err != nil {
		return err
	}
	defer closing()
	if _, err := sdk.Metadata(ctx, c.Topic); err != nil { // before anything is read
		return err
	}
	clearing := func() {}
	if isTerminal(e.Stderr) {
		bar := produce.NewBar(e.Stderr, total)
		config.Progress, clearing = bar.Show, bar.Clear
	}
	summary, err := produce.Run(ctx, e.Kill, sdk, config)
	clearing()
	return errors.Join(explain(summary, err), printSummary(e, summary))
}

// explain makes an interruption say what became of the records.
func explain(s produce.Summary, err error) error {
	if !errors.Is(err, produce.ErrInterrupted) {
		return err
	}
	text := fmt.Sprintf("interrupted: %d records are stored", s.Records)
	if s.Errors > s.Uncertain {
		text += fmt.Sprintf(", %d that were read surely not", s.Errors-s.Uncertain)
	}
	if s.Uncertain > 0 {
		text += fmt.Sprintf(", %d possibly", s.Uncertain)
	}
	return errors.New(text + "; the rest of the input was not sent")
}

func printSummary(e *env, s produce.Summary) error {
	switch e.Output {
	case output.JSON:
		return output.Line(e.Stdout, s)
	case output.YAML:
		return e.print(s, output.Rows{})
	case output.Table:
	}
	fmt.Fprintln(e.Stderr, s.Text())
	return nil
}

// open returns the input and its size; 0: not known.
func (c *produceCommand) open(e *env) (io.ReadCloser, int64, error) {
	if c.File == "" || c.File == "-" {
		file, ok := e.Stdin.(*os.File)
		if !ok {
			return io.NopCloser(e.Stdin), 0, nil
		}
		return file, sizeOf(file), nil
	}
	file, err := os.Open(c.File)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder: name a file", c.File)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, sizeOf(file), nil
}

func sizeOf(file *os.File) int64 {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0
	}
	return info.Size()
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && file.Name() != os.DevNull
}
