// Package workload keeps a topic busy while a test breaks things, and writes down what producers were told and readers saw, as a history.
// It uses the Go SDK as any user would, and raw RPCs where a test must know which agent answered. It judges nothing: package history does.
// Read: workload.go, caller.go, numbered.go, agent.go.
package workload

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/history"
)

// Options of a workload. The zero value is two idempotent producers of 200 keyed records a second each, one reader, and probes.
type Options struct {
	Topic string
	// Producers of records with keys, each with its own SDK client: 2; negative: none.
	Producers int
	// Unkeyed is how many producers of records without keys there are besides: 0.
	Unkeyed int
	// Callers send one plain record a call by raw RPCs, Rate a second and caller at most; see startCaller. 0.
	Callers int
	// Client adds to the options of the SDK client of the i-th producer or reader; nil: nothing.
	Client func(i int) []client.Option
	// Rate in records a second and producer: 200.
	Rate int
	// Readers that follow the topic from its beginning: 1.
	Readers int
	// Probes asks every agent where each partition ends, ten times a second.
	Probes bool
	// ProducerOptions are added to each producer's.
	ProducerOptions []client.ProducerOption
	// PlainProducers are not idempotent.
	PlainProducers bool
}

// Workload runs until Stop.
type Workload struct {
	cluster *cluster.Cluster
	options Options
	record  *history.Recorder
	acked   atomic.Int64
	failed  atomic.Int64

	mu      sync.Mutex // guards the rest
	pauses  map[int32]*pause
	failure error // the first that a producer was told
	took    []time.Duration

	stopProducing context.CancelFunc
	stopReading   context.CancelFunc
	producing     sync.WaitGroup
	reading       sync.WaitGroup
}

// Start begins producing and reading.
func Start(t testing.TB, c *cluster.Cluster, options Options) *Workload {
	t.Helper()
	options.Producers = max(0, cmp.Or(options.Producers, 2))
	options.Rate = cmp.Or(options.Rate, 200)
	options.Readers = cmp.Or(options.Readers, 1)
	w := &Workload{cluster: c, options: options, record: history.NewRecorder(), pauses: map[int32]*pause{}}
	producing, stopProducing := context.WithCancel(context.Background())
	reading, stopReading := context.WithCancel(context.Background())
	w.stopProducing, w.stopReading = stopProducing, stopReading
	t.Cleanup(func() { stopProducing(); stopReading(); w.producing.Wait(); w.reading.Wait() })
	for i := range options.Readers {
		w.startReader(reading, t, fmt.Sprintf("reader-%d", i+1), i)
	}
	if options.Probes {
		w.startProbes(reading, t)
	}
	for i := range options.Producers {
		w.startProducer(producing, t, fmt.Sprintf("producer-%d", i+1), i, true)
	}
	for i := range options.Unkeyed {
		w.startProducer(producing, t, fmt.Sprintf("unkeyed-%d", i+1), i, false)
	}
	for i := range options.Callers {
		w.startCaller(producing, t, fmt.Sprintf("caller-%d", i+1), i)
	}
	return w
}

// client is the SDK client of the i-th producer or reader.
func (w *Workload) client(t testing.TB, i int) *client.Client {
	t.Helper()
	if w.options.Client == nil {
		return w.cluster.Client(t)
	}
	return w.cluster.Client(t, w.options.Client(i)...)
}

// Acknowledged is the number of records acknowledged so far.
func (w *Workload) Acknowledged() int64 { return w.acked.Load() }

// Wrote adds a write of the test's own to the history.
func (w *Workload) Wrote(write history.Write) { w.record.Wrote(write) }

// Failed is the number of records whose producer was told an error so far.
func (w *Workload) Failed() int64 { return w.failed.Load() }

// mostLatencies bounds what is remembered between two calls of TakeLatencies.
const mostLatencies = 1 << 16

func (w *Workload) noteLatency(took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.took) < mostLatencies {
		w.took = append(w.took, took)
	}
}

// TakeLatencies returns how long each record took from Produce to its answer, of those answered since the last call (the first 65,536).
func (w *Workload) TakeLatencies() []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	took := w.took
	w.took = nil
	return took
}

// FirstFailure is the first error that a producer was told; nil: none.
func (w *Workload) FirstFailure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure
}

// AwaitAcknowledged waits until n more records have been acknowledged, and says how long that took.
func (w *Workload) AwaitAcknowledged(ctx context.Context, t testing.TB, n int64) time.Duration {
	t.Helper()
	began, goal := time.Now(), w.acked.Load()+n
	for w.acked.Load() < goal {
		select {
		case <-ctx.Done():
			t.Fatalf("%d records short of %d acknowledgements: %v", goal-w.acked.Load(), n, context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
	return time.Since(began)
}

const flushTimeout = 90 * time.Second

func (w *Workload) startProducer(ctx context.Context, t testing.TB, name string, i int, keyed bool) {
	t.Helper()
	options := append([]client.ProducerOption{client.WithLinger(2 * time.Millisecond)}, w.options.ProducerOptions...)
	if w.options.PlainProducers {
		options = append(options, client.WithoutIdempotence())
	}
	producer, err := w.client(t, i).NewProducer(options...) //nolint:contextcheck // it outlives any context
	if err != nil {
		t.Fatalf("producer: %v", err)
	}
	w.producing.Go(func() {
		w.produce(ctx, producer, name, keyed)
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		_ = producer.Close(flush) // what failed has been told record by record
	})
}

func (w *Workload) produce(ctx context.Context, producer *client.Producer, name string, keyed bool) {
	tick := time.NewTicker(time.Second / time.Duration(w.options.Rate))
	defer tick.Stop()
	for sequence := 0; ; sequence++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		id := fmt.Sprintf("%s/%d", name, sequence)
		record := &client.Record{Topic: w.options.Topic, Value: []byte(id)}
		if keyed {
			record.Key = []byte(fmt.Sprintf("key-%d", sequence%32))
		}
		write := history.Write{ID: id, Producer: name, Sequence: sequence, Idempotent: !w.options.PlainProducers}
		sent := time.Now()
		producer.Produce(context.WithoutCancel(ctx), record, func(r *client.Record, err error) {
			w.noteLatency(time.Since(sent))
			w.outcome(write, r, err)
		})
	}
}

func (w *Workload) outcome(write history.Write, r *client.Record, err error) {
	write.Outcome, write.Partition, write.Offset = Outcome(err), r.Partition, r.Offset
	w.noted(write, err)
}

// noted adds a write and what its producer was told.
func (w *Workload) noted(write history.Write, err error) {
	if err == nil {
		w.acked.Add(1)
		w.noteAck(write.Partition)
	} else {
		w.failed.Add(1)
		w.mu.Lock()
		w.failure = cmp.Or(w.failure, err)
		w.mu.Unlock()
	}
	w.record.Wrote(write)
}

// pause is the longest time between two acknowledgements on one partition.
type pause struct {
	last    time.Time
	longest time.Duration
}

func (w *Workload) noteAck(partition int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	p := w.pauses[partition]
	if p == nil {
		p = &pause{last: now}
		w.pauses[partition] = p
	}
	p.longest = max(p.longest, now.Sub(p.last))
	p.last = now
}

// ForgetPauses starts LongestPause anew.
func (w *Workload) ForgetPauses() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.pauses {
		p.longest = 0
	}
}

// LongestPause is the longest time that any partition went without an acknowledgement: what its producers felt.
func (w *Workload) LongestPause() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest := time.Duration(0)
	for _, p := range w.pauses {
		longest = max(longest, p.longest)
	}
	return longest
}

// Outcome says what an error of the SDK tells of its record.
func Outcome(err error) history.Outcome {
	if err == nil {
		return history.Acknowledged
	}
	switch client.WrittenBy(err) {
	case client.SurelyNotWritten, client.WrittenNothing:
		return history.SurelyNot
	default:
		return history.Possibly
	}
}

func (w *Workload) startReader(ctx context.Context, t testing.TB, name string, i int) {
	t.Helper()
	consumer, err := w.client(t, i).NewConsumer(ctx, w.options.Topic, client.From(client.Beginning()))
	if err != nil {
		t.Fatalf("consumer: %v", err)
	}
	w.reading.Go(func() {
		defer func() { _ = consumer.Close() }()
		for r, err := range consumer.Records(ctx) {
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("%s: %v", name, err)
				}
				return
			}
			w.record.Saw(name, history.Read{Partition: r.Partition, Offset: r.Offset, ID: string(r.Value)})
		}
	})
}

// Stop ends the producers, waits for their last answers, reads the topic from its beginning on every agent that runs, and judges the history.
func (w *Workload) Stop(ctx context.Context, t testing.TB) *history.Report {
	t.Helper()
	w.stopProducing()
	w.producing.Wait()
	w.awaitReaders(ctx, t)
	w.stopReading()
	w.reading.Wait()
	return history.Check(w.History(ctx, t))
}

// awaitReaders gives the readers time to see everything that was acknowledged: what they then lack, they have missed.
func (w *Workload) awaitReaders(ctx context.Context, t testing.TB) {
	t.Helper()
	for w.record.SlowestReader() < w.acked.Load() {
		select {
		case <-ctx.Done():
			t.Errorf("a reader saw %d of %d acknowledged records: %v", w.record.SlowestReader(), w.acked.Load(), context.Cause(ctx))
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// History reads the final log and returns all that is known. The log as every other running agent tells it counts as what a reader saw.
func (w *Workload) History(ctx context.Context, t testing.TB) *history.History {
	t.Helper()
	var log []history.Read
	for _, agent := range w.cluster.Agents {
		if !agent.Running() {
			continue
		}
		reads := newAgent(w.cluster.HTTP(), agent.URL, w.cluster.ClientKey).ReadLog(ctx, t, w.options.Topic)
		if log == nil {
			log = reads
			continue
		}
		for _, r := range reads {
			w.record.Saw("log at "+agent.ID, r)
		}
		if len(reads) != len(log) {
			t.Errorf("the log has %d records at %s, %d elsewhere", len(reads), agent.ID, len(log))
		}
	}
	return w.record.History(log)
}
