package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/cputime"
	"github.com/streamhouse/streamhouse/cli/internal/histogram"
)

// ProduceConfig says what is sent. Every field counts.
type ProduceConfig struct {
	// Records to be sent after the warm-up, or, if 0, Duration of the measurement.
	Records  int64         `json:"records,omitempty"`
	Duration time.Duration `json:"-"`
	WarmUp   time.Duration `json:"-"`
	// Rate is records per second, of all producers together; 0: as fast as they are taken.
	Rate        float64 `json:"rate,omitempty"`
	RecordBytes int     `json:"record_bytes"` // of the value
	Topics      int     `json:"topics"`
	Partitions  int     `json:"partitions"` // of each topic
	Producers   int     `json:"producers"`
	Keyed       bool    `json:"keyed"`
	Acks        string  `json:"acks"`    // durable, buffered
	Payload     string  `json:"payload"` // json, random
	// Batch is sdk: records go through the SDK; or prebuilt: the same batches again and again go to the agents, InFlight requests of each
	// producer at a time.
	Batch      string `json:"batch"`
	InFlight   int    `json:"in_flight,omitempty"`
	BatchBytes int    `json:"batch_bytes"` // uncompressed
	// BufferBytes is what each of the SDK's producers holds, uncompressed; 0: the SDK's default.
	BufferBytes int           `json:"buffer_bytes,omitempty"`
	Linger      time.Duration `json:"-"`
	// Verify reads everything back and compares.
	Verify bool `json:"verify"`
	// Keep the topics.
	Keep bool `json:"-"`
	// Limits are measured, too.
	Limits bool `json:"-"`
}

// Ways to send.
const (
	BatchSDK      = "sdk"
	BatchPrebuilt = "prebuilt"

	AcksDurable  = "durable"
	AcksBuffered = "buffered"
)

// Validate says what is wrong, all of it.
func (c ProduceConfig) Validate() error {
	faults := []error{
		within("records", c.Records, 0, 1e12), within("duration", c.Duration, 0, time.Hour), within("warm-up", c.WarmUp, 0, time.Hour),
		within("rate", c.Rate, 0, 1e9), within("record-bytes", c.RecordBytes, minRecordBytes, maxRecordBytes),
		within("topics", c.Topics, 1, 1000), within("partitions", c.Partitions, 1, 100_000), within("producers", c.Producers, 1, 1000),
		within("in-flight", c.InFlight, 1, 100), within("batch-bytes", c.BatchBytes, 1<<10, 1<<20), within("linger", c.Linger, 0, time.Minute),
	}
	if c.Records == 0 && c.Duration == 0 {
		faults = append(faults, errors.New("--records or --duration: one of them must say how much"))
	}
	if c.Batch == BatchPrebuilt && c.Verify {
		faults = append(faults, errors.New("--verify: prebuilt batches are all alike, what became of one cannot be told"))
	}
	return errors.Join(faults...)
}

func within[T int | int64 | float64 | time.Duration](flag string, value, least, most T) error {
	if value < least || value > most {
		return fmt.Errorf("--%s: %v is not between %v and %v", flag, value, least, most)
	}
	return nil
}

// options of the SDK's producers.
func (c ProduceConfig) options() []client.ProducerOption {
	options := []client.ProducerOption{client.WithLinger(c.Linger), client.WithBatchBytes(c.BatchBytes)}
	if c.BufferBytes > 0 {
		options = append(options, client.WithBufferBytes(c.BufferBytes))
	}
	if c.Acks == AcksBuffered {
		options = append(options, client.WithAcks(client.AcksBuffered))
	}
	return options
}

// traffic is what runs while it is measured: the SDK's producers, or senders of prebuilt batches.
type traffic interface {
	// run sends what the schedule says, all senders together, and returns when all is handed over.
	run(ctx context.Context, s schedule) error
	// flush waits for all answers.
	flush(ctx context.Context) error
	close(ctx context.Context) error
	// retries so far.
	retries() int64
}

// produced is what a measurement of producing found.
type produced struct {
	seconds float64
	records int64
	usage   []cputime.Usage
	objects *Objects
	note    string
	err     error
}

// Produce measures producing.
func Produce(ctx context.Context, target Target, config ProduceConfig) (report Report, latency *histogram.Histogram, err error) {
	sdk, err := target.connect()
	if err != nil {
		return Report{}, nil, err
	}
	defer func() { err = errors.Join(err, sdk.Close()) }()
	buffered := config.Acks == AcksBuffered
	topics, err := makeTopics(ctx, target, sdk, "produce", config.Topics, config.Partitions, client.TopicConfig{AllowBufferedAcks: &buffered})
	topics.keep = config.Keep
	defer func() { err = errors.Join(err, topics.remove(ctx)) }()
	if err != nil {
		return Report{}, nil, err
	}
	tally, values := &tally{}, newPayload(config.Payload, config.RecordBytes)
	sending, err := newTraffic(ctx, target, config, tally, values, topics)
	if err != nil {
		return Report{}, nil, err
	}
	closed := false
	shut := func() error {
		if closed {
			return nil
		}
		closed = true
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
		defer cancel()
		return sending.close(flush)
	}
	defer func() { err = errors.Join(err, shut()) }()
	found := measure(ctx, target, config, sending, tally)
	report = produceReport(config, found, tally, values, sending)
	if err := errors.Join(found.err, tally.failure(), shut()); err != nil {
		return report, &tally.latency, err
	}
	if config.Limits {
		report.addLimits(ctx, target, config, values)
	}
	if config.Verify {
		target.Say("reading everything back")
		if loads, ok := sending.(*producers); ok {
			report.Verified, err = verify(ctx, sdk, topics.names, loads.loads)
		}
	}
	return report, &tally.latency, err
}

func newTraffic(ctx context.Context, target Target, c ProduceConfig, t *tally, values *payload, topics *topics) (traffic, error) {
	if c.Batch == BatchPrebuilt {
		return newPrebuilt(ctx, target, c, t, values, topics)
	}
	return newProducers(target, c, t, values, topics.names) //nolint:contextcheck // they live until they are closed
}

// measure warms up, counts while it runs, and waits for the answers.
func measure(ctx context.Context, target Target, c ProduceConfig, sending traffic, t *tally) produced {
	if c.WarmUp > 0 {
		target.Say("warming up for %v", c.WarmUp)
		if err := sending.run(ctx, schedule{first: time.Now(), rate: c.Rate, until: time.Now().Add(c.WarmUp), limit: noLimit}); err != nil {
			return produced{err: err}
		}
	}
	if c.Records > 0 { // what is counted is these records alone
		if err := sending.flush(ctx); err != nil {
			return produced{err: err}
		}
	}
	objects := target.bucket()
	meter, note := target.meter()
	began, before := time.Now(), t.acked.Load()
	counted := &span{from: began}
	plan := schedule{first: began, rate: c.Rate, limit: c.Records}
	if c.Records == 0 {
		plan.limit = noLimit
		plan.until = began.Add(c.Duration)
		counted.to = plan.until
	}
	t.counted.Store(counted)
	target.Say("measuring")
	err := sending.run(ctx, plan)
	if c.Records > 0 { // all of them count, so the last answer ends it
		err = errors.Join(err, sending.flush(ctx))
	}
	usage, elapsed := meter.Read("producer")
	found := produced{seconds: elapsed.Seconds(), records: t.acked.Load() - before, usage: usage, note: note, err: err}
	found.objects = target.bucket().since(objects, found.seconds)
	if c.Records == 0 { // latencies of what was due in time are wanted, too
		flush, cancel := context.WithTimeout(ctx, flushTime)
		defer cancel()
		found.err = errors.Join(found.err, sending.flush(flush))
	}
	return found
}

// producers are the SDK's, each with a client of its own.
type producers struct {
	clients   []*client.Client
	producers []*client.Producer
	loads     []*load
}

func newProducers(target Target, c ProduceConfig, t *tally, values *payload, topics []string) (*producers, error) {
	all := &producers{}
	for i := range c.Producers {
		sdk, err := target.connect()
		if err != nil {
			return nil, errors.Join(err, all.close(context.Background()))
		}
		all.clients = append(all.clients, sdk)
		p, err := sdk.NewProducer(c.options()...)
		if err != nil {
			return nil, errors.Join(err, all.close(context.Background()))
		}
		l := newLoad(p, t, values, topics, i)
		l.keyed, l.stamp = c.Keyed, c.Verify
		if c.Rate == 0 || c.Rate > timeAllBelow {
			l.every = sampleEvery
		}
		all.producers, all.loads = append(all.producers, p), append(all.loads, l)
	}
	return all, nil
}

func (p *producers) run(ctx context.Context, s schedule) error {
	var sending sync.WaitGroup
	for i, l := range p.loads {
		sending.Go(func() { l.run(ctx, s.part(i, len(p.loads))) })
	}
	sending.Wait()
	return ctx.Err()
}

func (p *producers) flush(ctx context.Context) error {
	var faults []error
	for _, producer := range p.producers {
		faults = append(faults, producer.Flush(ctx))
	}
	return errors.Join(faults...)
}

func (p *producers) retries() int64 {
	var n int64
	for _, producer := range p.producers {
		n += producer.Stats().Retries
	}
	return n
}

func (p *producers) close(ctx context.Context) error {
	var faults []error
	for _, producer := range p.producers {
		faults = append(faults, producer.Close(ctx))
	}
	for _, c := range p.clients {
		faults = append(faults, c.Close())
	}
	return errors.Join(faults...)
}
