package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client/internal/fakecluster"
)

// text is all of a record.
func text(partition int32, offset, ms int64, key, value []byte, headers []Header) string {
	return fmt.Sprintf("%d/%d %d %q %v %q %v %q", partition, offset, ms, key, key == nil, value, value == nil, headers)
}

func readStructs(t *testing.T, k *Consumer) []string {
	t.Helper()
	var all []string
	for r, err := range k.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text(r.Partition, r.Offset, r.Timestamp.UnixMilli(), r.Key, r.Value, r.Headers))
	}
	return all
}

func readViews(t *testing.T, k *Consumer) []string {
	t.Helper()
	var all []string
	for {
		b, err := k.PollBatch(t.Context())
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		var v View
		for b.Next(&v) {
			var headers []Header
			for key, value := range v.Headers() {
				headers = append(headers, Header{Key: string(key), Value: value})
			}
			all = append(all, text(b.Partition, v.Offset, v.Timestamp, v.Key, v.Value, headers))
		}
		if b.Err() != nil {
			t.Fatal(b.Err())
		}
	}
}

func TestP2_ViewsAndStructsAreTheSameRecords(t *testing.T) {
	for _, options := range [][]ProducerOption{nil, {WithoutCompression()}, {WithBatchBytes(1 << 10)}} {
		bubble(t, []string{"a1", "a2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
			f.CreateTopic("orders", 3)
			p := producer(t, c, options...)
			for i := range 1000 {
				r := &Record{Topic: "orders", Partition: int32(i % 3), UsePartition: true, Value: fmt.Appendf(nil, "value %d", i/3)}
				if i%2 == 0 {
					r.Key = []byte{}
					r.Headers = []Header{{Key: "a", Value: nil}, {Key: fmt.Sprint("k", i%5), Value: []byte("v")}}[:1+i%4/2]
				}
				p.Produce(t.Context(), r, nil)
			}
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			start := map[int32]int64{0: 0, 1: 7, 2: 100} // within batches
			structs := readStructs(t, consumer(t, c, FromOffsets(start), UntilEnd()))
			k := consumer(t, c, FromOffsets(start), UntilEnd())
			views := readViews(t, k)
			slices.Sort(structs)
			slices.Sort(views)
			if !slices.Equal(structs, views) || len(views) != 1000-107 {
				t.Errorf("%d structs, %d views", len(structs), len(views))
			}
			if got := fmt.Sprint(k.Offsets()); got != "map[0:334 1:333 2:333]" {
				t.Errorf("offsets %s", got)
			}
		})
	}
}

func TestPollBatchLeavesNothingBehind(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		if err := producer(t, c).ProduceSync(t.Context(), plain("orders", "0"), plain("orders", "1")); err != nil {
			t.Fatal(err)
		}
		k := consumer(t, c, From(Beginning()))
		for _, err := range k.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if _, err := k.PollBatch(t.Context()); !errors.Is(err, ReasonMisconfigured) {
			t.Errorf("got %v with a record left", err)
		}
		if rs, err := k.Poll(t.Context()); err != nil || len(rs) != 1 || rs[0].Offset != 1 {
			t.Errorf("got %v, %v", rs, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := k.PollBatch(ctx); !errors.Is(err, ReasonCanceled) {
			t.Errorf("got %v at the end", err)
		}
	})
}
