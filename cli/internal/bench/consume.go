package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/streamhouse/streamhouse/client"
)

// ConsumeConfig says what is read. A topic is filled first, by ready batches.
type ConsumeConfig struct {
	Records     int64  `json:"records"`
	RecordBytes int    `json:"record_bytes"`
	Partitions  int    `json:"partitions"`
	Payload     string `json:"payload"`
	Keyed       bool   `json:"keyed"`
	BatchBytes  int    `json:"batch_bytes"`
	// Consumers, each of which reads everything.
	Consumers int `json:"consumers"`
	// As structs: every record as the SDK's Poll returns it; as views: batches of PollBatch, and a view of each record in them.
	As         string `json:"as"`
	FetchBytes int    `json:"fetch_bytes"`
	// Cold is called between filling and reading, so that agents have nothing in memory; nil: they have what they have.
	Cold func(ctx context.Context) error `json:"-"`
	// IsCold says that Cold was called.
	IsCold bool `json:"cold"`
	// Passes is how often each consumer reads everything; the first is not counted where there are several: then it warms up.
	Passes int  `json:"passes"`
	Keep   bool `json:"-"`
	Limits bool `json:"-"`
}

// Ways to look at records.
const (
	AsStructs = "structs"
	AsViews   = "views"
)

// Validate says what is wrong, all of it.
func (c ConsumeConfig) Validate() error {
	return errors.Join(
		within("records", c.Records, 1, 1e10), within("record-bytes", c.RecordBytes, minRecordBytes, maxRecordBytes),
		within("partitions", c.Partitions, 1, 100_000), within("batch-bytes", c.BatchBytes, 1<<10, 1<<20),
		within("consumers", c.Consumers, 1, 1000), within("fetch-bytes", c.FetchBytes, 1<<16, 1<<30), within("passes", c.Passes, 1, 1000),
	)
}

// Consume measures reading.
func Consume(ctx context.Context, target Target, config ConsumeConfig) (report Report, err error) {
	sdk, err := target.connect()
	if err != nil {
		return Report{}, err
	}
	defer func() { err = errors.Join(err, sdk.Close()) }()
	topics, err := makeTopics(ctx, target, sdk, "consume", 1, config.Partitions, client.TopicConfig{})
	topics.keep = config.Keep
	defer func() { err = errors.Join(err, topics.remove(ctx)) }()
	if err != nil {
		return Report{}, err
	}
	values := newPayload(config.Payload, config.RecordBytes)
	filled, ratio, err := config.fill(ctx, target, values, topics)
	if err != nil {
		return Report{}, fmt.Errorf("fill: %w", err)
	}
	if config.IsCold {
		target.Say("starting the agents anew, so that they have nothing in memory")
		if err := config.Cold(ctx); err != nil {
			return Report{}, fmt.Errorf("start the agents anew: %w", err)
		}
		if err := topics.await(ctx, topics.names[0]); err != nil {
			return Report{}, err
		}
	}
	readers, err := config.readers(target)
	defer func() {
		for _, r := range readers {
			err = errors.Join(err, r.sdk.Close())
		}
	}()
	if err != nil {
		return Report{}, err
	}
	report, err = config.read(ctx, target, topics.names[0], readers, filled)
	report.StoredRatio = ratio
	report.StoredMiBPerSec = report.ValueMiBPerSec / ratio
	if err == nil && config.Limits {
		report.addConsumeLimits(ctx, target)
	}
	return report, err
}

// fill stores the records, and returns how many there are: whole requests.
func (c ConsumeConfig) fill(ctx context.Context, target Target, values *payload, topics *topics) (records int64, ratio float64, err error) {
	target.Say("filling a topic with %d records", c.Records)
	batch, inBatch, err := values.batch(c.BatchBytes, c.Keyed)
	if err != nil {
		return 0, 0, err
	}
	tally := &tally{}
	sending, err := newPrebuilt(ctx, target, ProduceConfig{
		Batch: BatchPrebuilt, BatchBytes: c.BatchBytes, Keyed: c.Keyed, Producers: 1, InFlight: max(8, c.Partitions), Acks: AcksDurable,
	}, tally, values, topics)
	if err != nil {
		return 0, 0, err
	}
	err = sending.run(ctx, schedule{first: time.Now(), limit: c.Records})
	err = errors.Join(err, tally.failure(), sending.close(ctx))
	return tally.acked.Load(), float64(inBatch*c.RecordBytes) / float64(len(batch)), err
}

// reader is one consumer.
type reader struct {
	sdk     *client.Client
	records atomic.Int64
	bytes   atomic.Int64 // of values
}

func (c ConsumeConfig) readers(target Target) ([]*reader, error) {
	var all []*reader
	for range c.Consumers {
		sdk, err := target.connect()
		if err != nil {
			return all, err
		}
		all = append(all, &reader{sdk: sdk})
	}
	return all, nil
}

// read lets all readers read everything, as often as is wanted.
func (c ConsumeConfig) read(ctx context.Context, target Target, topic string, readers []*reader, want int64) (Report, error) {
	counted := c.Passes
	if counted > 1 {
		target.Say("reading once, which does not count")
		if err := c.pass(ctx, topic, readers, want); err != nil {
			return Report{}, err
		}
		counted--
	}
	target.Say("reading")
	meter, note := target.meter()
	before := sum(readers)
	var err error
	for range counted {
		if err = c.pass(ctx, topic, readers, want); err != nil {
			break
		}
	}
	usage, elapsed := meter.Read("consumers")
	after := sum(readers)
	report := newReport("consume", c, elapsed.Seconds(), after.records-before.records, after.bytes-before.bytes)
	report.cpu(usage)
	report.note(note)
	return report, err
}

type amount struct{ records, bytes int64 }

func sum(readers []*reader) (a amount) {
	for _, r := range readers {
		a.records += r.records.Load()
		a.bytes += r.bytes.Load()
	}
	return a
}

// pass lets each reader read everything once.
func (c ConsumeConfig) pass(ctx context.Context, topic string, readers []*reader, want int64) error {
	faults := make([]error, len(readers))
	var reading sync.WaitGroup
	for i, r := range readers {
		reading.Go(func() { faults[i] = c.all(ctx, topic, r, want) })
	}
	reading.Wait()
	return errors.Join(faults...)
}

func (c ConsumeConfig) all(ctx context.Context, topic string, r *reader, want int64) error {
	consumer, err := r.sdk.NewConsumer(ctx, topic, client.From(client.Beginning()), client.UntilEnd(), client.WithFetchBytes(c.FetchBytes))
	if err != nil {
		return err
	}
	defer consumer.Close()
	before := r.records.Load()
	poll := r.poll
	if c.As == AsViews {
		poll = r.pollViews
	}
	for err == nil {
		err = poll(ctx, consumer)
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	if got := r.records.Load() - before; got != want {
		return fmt.Errorf("%d records were read, %d were stored", got, want)
	}
	return nil
}

// poll counts what comes next, as structs.
func (r *reader) poll(ctx context.Context, consumer *client.Consumer) error {
	records, err := consumer.Poll(ctx)
	if err != nil {
		return err
	}
	var bytes int64
	for _, record := range records {
		bytes += int64(len(record.Value))
	}
	r.records.Add(int64(len(records)))
	r.bytes.Add(bytes)
	return nil
}

// pollViews counts the records of the next batch.
func (r *reader) pollViews(ctx context.Context, consumer *client.Consumer) error {
	batch, err := consumer.PollBatch(ctx)
	if err != nil {
		return err
	}
	var v client.View
	var records, bytes int64
	for batch.Next(&v) {
		records++
		bytes += int64(len(v.Value))
	}
	r.records.Add(records)
	r.bytes.Add(bytes)
	return batch.Err()
}

func (r *Report) addConsumeLimits(ctx context.Context, target Target) {
	r.Limits = &Limits{}
	var err error
	r.Limits.Put, r.Limits.Get, err = target.storeLimit(ctx, objectBytes, objectUploads)
	r.fault(err)
	if get := r.Limits.Get; get != nil && get.MiBPerSec > 0 {
		r.ratio("values/s ÷ GetObject alone", r.ValueMiBPerSec/get.MiBPerSec, "", ">= 0.6 cold")
	}
	if agents, known := r.perGiB("agents"); known {
		r.ratio("agents' CPU seconds per GiB stored", agents*r.StoredRatio, "s/GiB", "<= 0.70 cold")
	}
}
