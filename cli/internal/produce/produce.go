// Package produce reads records from a stream of lines and stores them in a topic, in order, as fast as the cluster takes them or at a
// given rate. It counts what became of every record, also when it is interrupted: stored, surely not stored, possibly stored.
// Nothing here retries or routes: the SDK does.
// Promises: P6 (what is uncertain is said to be).
// Read: produce.go, lines.go, format.go, progress.go.
package produce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/client"
)

// Config says what to produce and where to.
type Config struct {
	Topic string
	// Input is read to its end.
	Input io.Reader
	Parse Parser
	// Partition for all records; -1: by key, or as the records say.
	Partition int32
	// Headers are added to each record.
	Headers []client.Header
	// Rate is the most records a second; 0: no limit.
	Rate float64
	// FlushTime is how long what was read may take to be stored once ctx has ended.
	FlushTime time.Duration
	// Options of the producer.
	Options []client.ProducerOption
	// Progress is called about ten times a second, and once at the end; nil: nobody looks.
	Progress func(Summary)
}

// Summary counts what became of the records. Its JSON form is stable.
type Summary struct {
	// Records that are stored (with buffered acks: that the leaders have), and their bytes of input.
	Records int64 `json:"records"`
	Bytes   int64 `json:"bytes"`
	// Seconds from the first read to the last answer.
	Seconds float64 `json:"seconds"`
	// Retries is how often batches were sent again.
	Retries int64 `json:"retries"`
	// Errors is how many records that were read are not known to be stored.
	Errors int64 `json:"errors"`
	// Uncertain is how many of these may be stored all the same.
	Uncertain int64 `json:"uncertain"`
}

// ErrInterrupted says that not all of the input was read.
var ErrInterrupted = errors.New("interrupted")

// run is one Run.
type run struct {
	config   Config
	producer *client.Producer
	began    time.Time

	mu      sync.Mutex // guards all below
	summary Summary
	failed  error         // of the first record that failed
	failure chan struct{} // closed when failed is set
}

// Run produces until the input ends, a record fails, or ctx ends; then it waits for the answers of what was read. When hard is closed it
// waits no more. The summary is right whatever the error.
func Run(ctx context.Context, hard <-chan struct{}, sdk *client.Client, config Config) (Summary, error) {
	producer, err := sdk.NewProducer(config.Options...) //nolint:contextcheck // it outlives ctx, to flush
	if err != nil {
		return Summary{}, err
	}
	r := &run{config: config, producer: producer, began: time.Now(), failure: make(chan struct{})}
	looking, unlook := context.WithCancel(context.WithoutCancel(ctx))
	var looker sync.WaitGroup
	looker.Go(func() { r.look(looking) })
	err = r.produce(ctx)
	flush, cancel := r.flushContext(ctx, hard)
	closeErr := producer.Close(flush)
	cancel()
	unlook()
	looker.Wait()
	summary, failed := r.result()
	if failed == nil && err == nil {
		failed = closeErr
	}
	return summary, errors.Join(failed, err)
}

// flushContext bounds the wait for answers, but only from the moment of an interruption on.
func (r *run) flushContext(ctx context.Context, hard <-chan struct{}) (context.Context, context.CancelFunc) {
	flush, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-ctx.Done():
		case <-hard:
			cancel()
			return
		case <-flush.Done():
			return
		}
		timer := time.NewTimer(r.config.FlushTime)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-hard:
		case <-flush.Done():
		}
		cancel()
	})
	return flush, func() {
		cancel()
		waiting.Wait()
	}
}

// input is a record as it was read, or why there are no more.
type input struct {
	record *client.Record
	line   int
	bytes  int
	err    error
}

// ahead is how many records are read before the producer takes them; each may be megabytes.
const ahead = 8

// produce hands records over until there are no more, or one has failed.
func (r *run) produce(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	inputs := make(chan input, ahead)
	// Ends with ctx, or, while it waits for input that does not come, with the process.
	go read(ctx, r.config, inputs)
	pace := newPace(r.config.Rate)
	for {
		select {
		case in := <-inputs:
			if errors.Is(in.err, io.EOF) {
				return nil
			}
			if in.err != nil {
				return in.err
			}
			if pace.wait(ctx) != nil {
				return ErrInterrupted
			}
			r.hand(ctx, in)
		case <-r.failure:
			return nil // said by its record
		case <-ctx.Done():
			return ErrInterrupted
		}
	}
}

func read(ctx context.Context, config Config, inputs chan<- input) {
	source := newLines(config.Input)
	for {
		in := readOne(source, config)
		select {
		case inputs <- in:
		case <-ctx.Done():
			return
		}
		if in.err != nil {
			return
		}
	}
}

func readOne(source *lines, config Config) input {
	line, taken, err := source.next()
	if err != nil {
		return input{err: err}
	}
	record, err := config.Parse(line)
	if err != nil {
		return input{err: fmt.Errorf("line %d: %w", source.number, err)}
	}
	record.Topic = config.Topic
	if config.Partition >= 0 {
		record.Partition, record.UsePartition = config.Partition, true
	}
	record.Headers = append(record.Headers, config.Headers...)
	return input{record: record, line: source.number, bytes: taken}
}

// hand gives a record to the producer, which answers it exactly once.
func (r *run) hand(ctx context.Context, in input) {
	r.producer.Produce(ctx, in.record, func(_ *client.Record, err error) { r.answered(in, err) })
}

func (r *run) answered(in input, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil || client.WrittenBy(err) == client.WrittenBefore {
		r.summary.Records++
		r.summary.Bytes += int64(in.bytes)
		return
	}
	if errors.Is(err, client.ReasonCanceled) {
		return // interrupted before the producer took it: as if it had not been read
	}
	r.summary.Errors++
	if client.WrittenBy(err) == client.PossiblyWritten {
		r.summary.Uncertain++
	}
	if r.failed == nil {
		r.failed = fmt.Errorf("line %d: %w", in.line, err)
		close(r.failure)
	}
}

func (r *run) result() (Summary, error) {
	retries := r.producer.Stats().Retries
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.summary
	s.Retries, s.Seconds = retries, time.Since(r.began).Seconds()
	return s, r.failed
}

const lookEvery = 100 * time.Millisecond

// look shows the progress until ctx ends.
func (r *run) look(ctx context.Context) {
	if r.config.Progress == nil {
		return
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		s, _ := r.result()
		r.config.Progress(s)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			s, _ := r.result()
			r.config.Progress(s)
			return
		}
	}
}

// pace keeps a rate: record n goes no earlier than n/rate seconds after the first.
type pace struct {
	rate  float64
	first time.Time
	n     int64
}

func newPace(rate float64) *pace { return &pace{rate: rate, first: time.Now()} }

func (p *pace) wait(ctx context.Context) error {
	if p.rate <= 0 {
		return nil
	}
	due := p.first.Add(time.Duration(float64(p.n) / p.rate * float64(time.Second)))
	p.n++
	wait := time.Until(due)
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
