package workload

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
)

// NumberedOptions of a Numbered. The zero value is four producers of small records.
type NumberedOptions struct {
	Topic      string
	Partitions int32
	// Producers share the partitions; 4.
	Producers int32
	// Bytes bounds what a record has besides its number, which does not compress; 1000.
	Bytes int
	// Pause bounds the time between two records of a producer for each of its partitions; 10 ms.
	Pause time.Duration
}

// Numbered keeps a topic busy with records of which the n-th of a partition says that it is the n-th, so that it must be at offset n, and whoever reads
// from anywhere knows what must come. So it can be judged though retention has removed the beginning.
type Numbered struct {
	cluster   *cluster.Cluster
	options   NumberedOptions
	written   []atomic.Int64 // by partition
	stop      chan struct{}
	stopping  sync.Once
	producing sync.WaitGroup
}

// StartNumbered begins producing, until Stop. A record that is not stored fails the test: producers are idempotent and patient.
func StartNumbered(ctx context.Context, t testing.TB, c *cluster.Cluster, options NumberedOptions) *Numbered {
	t.Helper()
	options.Producers = min(cmp.Or(options.Producers, 4), options.Partitions)
	options.Bytes = cmp.Or(options.Bytes, 1000)
	options.Pause = cmp.Or(options.Pause, 10*time.Millisecond)
	n := &Numbered{cluster: c, options: options, written: make([]atomic.Int64, options.Partitions), stop: make(chan struct{})}
	n.Resume(ctx, t)
	return n
}

// Resume goes on after Stop, behind what is there.
func (n *Numbered) Resume(ctx context.Context, t testing.TB) {
	t.Helper()
	n.stop, n.stopping = make(chan struct{}), sync.Once{}
	for i := range n.options.Producers {
		n.producing.Go(func() { n.produce(ctx, t, i, n.stop) })
	}
	t.Cleanup(n.Stop)
}

// Stop ends the producers and waits for their last answers.
func (n *Numbered) Stop() {
	n.stopping.Do(func() { close(n.stop) })
	n.producing.Wait()
}

// WrittenTo is the offset behind the last record of a partition that is stored.
func (n *Numbered) WrittenTo(partition int32) int64 { return n.written[partition].Load() }

// Written is how many records are stored.
func (n *Numbered) Written() (total int64) {
	for p := range n.written {
		total += n.written[p].Load()
	}
	return total
}

func (n *Numbered) produce(ctx context.Context, t testing.TB, number int32, stop <-chan struct{}) {
	producer, err := n.cluster.Client(t).NewProducer() //nolint:contextcheck // it outlives any context
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = producer.Close(ctx) }()
	random := rand.New(rand.NewPCG(uint64(number), 1))
	for {
		select {
		case <-stop:
			return
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(random.Int64N(int64(n.options.Pause)))):
		}
		var sent sync.WaitGroup
		for p := number; p < n.options.Partitions; p += n.options.Producers {
			next := n.written[p].Load()
			sent.Add(1)
			record := &client.Record{Topic: n.options.Topic, Partition: p, UsePartition: true, Value: numberedValue(p, next, noise(random, n.options.Bytes))}
			producer.Produce(ctx, record, func(r *client.Record, err error) {
				defer sent.Done()
				switch {
				case err != nil && ctx.Err() == nil:
					t.Errorf("record %d of %s/%d: %v", next, n.options.Topic, p, err)
				case err == nil && r.Offset != next:
					t.Errorf("record %d of %s/%d is at offset %d", next, n.options.Topic, p, r.Offset)
				case err == nil:
					n.written[p].Add(1)
				}
			})
		}
		sent.Wait()
	}
}

func numberedValue(partition int32, number int64, padding string) []byte {
	return fmt.Appendf(nil, "%d %d %s", partition, number, padding)
}

// noise is up to so many characters that compress badly.
func noise(random *rand.Rand, bytes int) string {
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-"
	text := make([]byte, random.IntN(bytes+1))
	for i := 0; i < len(text); {
		for bits, k := random.Uint64(), 0; k < 10 && i < len(text); k, i, bits = k+1, i+1, bits>>6 {
			text[i] = alphabet[bits&63]
		}
	}
	return string(text)
}

// Seen is what one reader saw of a Numbered.
type Seen struct {
	Records int64
	// First and Next are, by partition, the first offset and the one after the last; both 0: none.
	First, Next []int64
	// Jumps are gaps that the reader met because the log start had passed it.
	Jumps int
}

// Read reads from a position to where the topic ends now, or, with follow, until ctx ends. Every record must be the one of its offset, and offsets may leave
// something out only where retention has removed it.
func (n *Numbered) Read(ctx context.Context, t testing.TB, from client.Position, follow bool, options ...client.Option) Seen {
	t.Helper()
	seen := Seen{First: make([]int64, n.options.Partitions), Next: make([]int64, n.options.Partitions)}
	settings := []client.ConsumerOption{client.From(from), client.WithReset(client.ResetToBeginning)}
	if !follow {
		settings = append(settings, client.UntilEnd())
	}
	consumer, err := n.cluster.Client(t, options...).NewConsumer(ctx, n.options.Topic, settings...)
	if err != nil {
		if ctx.Err() == nil {
			t.Errorf("consume %s: %v", n.options.Topic, err)
		}
		return seen
	}
	defer func() { _ = consumer.Close() }()
	begun := make([]bool, n.options.Partitions)
	for r, err := range consumer.Records(ctx) {
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("consume %s: %v", n.options.Topic, err)
			}
			return seen
		}
		p := r.Partition
		if !bytes.HasPrefix(r.Value, numberedValue(p, r.Offset, "")) || (begun[p] && r.Offset < seen.Next[p]) {
			t.Errorf("%s/%d has %.30q at offset %d; %d was next", n.options.Topic, p, r.Value, r.Offset, seen.Next[p])
			return seen
		}
		if !begun[p] {
			begun[p], seen.First[p] = true, r.Offset
		} else if r.Offset > seen.Next[p] {
			seen.Jumps++
		}
		seen.Next[p] = r.Offset + 1
		seen.Records++
	}
	return seen
}

// Check reads everything above the log starts, which must be there, all of it and nothing else. Nobody may write or remove meanwhile.
func (n *Numbered) Check(ctx context.Context, t testing.TB) Seen {
	t.Helper()
	seen := n.Read(ctx, t, client.Beginning(), false)
	_, partitions, err := n.cluster.Admin(t).DescribeTopic(ctx, n.options.Topic)
	if err != nil {
		t.Fatal(err)
	}
	var want int64
	for _, p := range partitions {
		written := n.written[p.Partition].Load()
		want += written - p.LogStartOffset
		if p.HighWatermark != written {
			t.Errorf("%s/%d ends at %d, %d records were acknowledged", n.options.Topic, p.Partition, p.HighWatermark, written)
		}
		if written > p.LogStartOffset && (seen.First[p.Partition] != p.LogStartOffset || seen.Next[p.Partition] != written) {
			t.Errorf("%s/%d was read from %d to %d, it has records from %d to %d", n.options.Topic, p.Partition,
				seen.First[p.Partition], seen.Next[p.Partition], p.LogStartOffset, written)
		}
	}
	if seen.Records != want || seen.Jumps != 0 {
		t.Errorf("%s: %d records were read with %d gaps, %d are above the log starts", n.options.Topic, seen.Records, seen.Jumps, want)
	}
	return seen
}
