package life_test

import (
	"fmt"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/client"
)

// keyed fills a topic that is compacted by key. Its records never go by age.
type keyed struct {
	*rig
	newest  map[string]*client.Record // by key, of what was acknowledged; after stopped
	writing sync.WaitGroup
}

const (
	keyedTopic = "keyed"
	// enoughToCompact is how many records are surely worth it; on a slow machine there may be fewer.
	enoughToCompact = 300
)

func (r *rig) startKeyed(stop <-chan struct{}) *keyed {
	r.Helper()
	r.cluster.CreateTopic(r.ctx, r, keyedTopic, 1, client.TopicConfig{CleanupPolicy: new(client.CleanupCompact)})
	k := &keyed{rig: r, newest: map[string]*client.Record{}}
	sdk := r.cluster.Client(r)
	k.writing.Go(func() { k.write(sdk, stop) })
	return k
}

func (k *keyed) write(sdk *client.Client, stop <-chan struct{}) {
	producer, err := sdk.NewProducer()
	if err != nil {
		k.Error(err)
		return
	}
	defer func() { _ = producer.Close(k.ctx) }()
	for n := 0; ; n++ {
		record := &client.Record{Topic: keyedTopic, Key: fmt.Appendf(nil, "key-%d", n%7), Value: fmt.Append(nil, n)}
		if err := producer.ProduceSync(k.ctx, record); err != nil {
			k.Errorf("produce to %s: %v", keyedTopic, err)
			return
		}
		k.newest[string(record.Key)] = record
		select {
		case <-stop:
			return
		case <-k.ctx.Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// check reads all that is left: of each key the newest record, where it was acknowledged. The writer must have been stopped.
func (k *keyed) check() {
	k.Helper()
	k.writing.Wait()
	consumer, err := k.cluster.Client(k).NewConsumer(k.ctx, keyedTopic, client.From(client.Beginning()), client.UntilEnd())
	if err != nil {
		k.Fatal(err)
	}
	defer func() { _ = consumer.Close() }()
	found, records, last := map[string]int64{}, 0, int64(-1)
	for r, err := range consumer.Records(k.ctx) {
		if err != nil {
			k.Fatal(err)
		}
		if r.Offset <= last {
			k.Errorf("%s: offset %d after %d", keyedTopic, r.Offset, last)
		}
		last = r.Offset
		found[string(r.Key)] = r.Offset
		records++
	}
	var end int64
	for key, want := range k.newest {
		end = max(end, want.Offset+1)
		if at, ok := found[key]; !ok || at != want.Offset {
			k.Errorf("%s: %s is at %d (%v), acknowledged was %d", keyedTopic, key, at, ok, want.Offset)
		}
	}
	k.Logf("%s: %d of %d records are left", keyedTopic, records, end)
	if end > enoughToCompact && int64(records) > end/2 {
		k.Errorf("%s has %d of %d records: it was not compacted", keyedTopic, records, end)
	}
}
