package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/streamhouse/streamhouse/client/internal/fakecluster"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

func TestP2_RecordsKeepTheirOrder(t *testing.T) {
	bubble(t, []string{"a1", "a2", "a3"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 4)
		p := producer(t, c, WithBatchBytes(1<<10))
		const n = 2000
		got := newAnswers(n)
		for _, r := range numbered("orders", n) {
			p.Produce(t.Context(), r, got.done)
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var logs [4][]string
		for partition := range logs {
			logs[partition] = values(f.Log("orders", partition))
		}
		next := map[int32]int64{}
		for range n {
			a := got.next(t)
			if a.err != nil {
				t.Fatal(a.err)
			}
			if want := partitionOf(a.record.Key, 4); a.record.Partition != want {
				t.Fatalf("key %s in partition %d, want %d", a.record.Key, a.record.Partition, want)
			}
			if a.record.Offset != next[a.record.Partition] {
				t.Fatalf("callback for offset %d of partition %d, want %d", a.record.Offset, a.record.Partition, next[a.record.Partition])
			}
			next[a.record.Partition]++
			if v := logs[a.record.Partition][a.record.Offset]; v != string(a.record.Value) {
				t.Fatalf("offset %d holds %s, want %s", a.record.Offset, v, a.record.Value)
			}
		}
	})
}

func TestSeveralPartitionsShareARequest(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 50)
		p := producer(t, c, WithLinger(time.Second))
		for i := range int32(50) {
			p.Produce(t.Context(), &Record{Topic: "orders", Partition: i, UsePartition: true, Value: []byte("v")}, nil)
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := f.Requests("a1", "Produce"); n > 2 {
			t.Errorf("%d requests for 50 partitions of one leader", n)
		}
	})
}

func TestRecordsComeBackAsTheyWentIn(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		p := producer(t, c)
		at := time.UnixMilli(1_700_000_000_123)
		sent := []*Record{
			{Topic: "orders", Key: nil, Value: []byte{}},
			{Topic: "orders", Key: []byte{}, Value: nil},
			{Topic: "orders", Key: []byte("k\x00\xff"), Value: []byte("line\r\n"), Timestamp: at, Headers: []Header{
				{Key: "h", Value: nil}, {Key: "h", Value: []byte{}}, {Key: "é", Value: []byte("v")},
			}},
			{Topic: "orders", Value: []byte(strings.Repeat("x", 1<<20))},
		}
		if err := p.ProduceSync(t.Context(), sent...); err != nil {
			t.Fatal(err)
		}
		k, err := c.NewConsumer(t.Context(), "orders", From(Beginning()), UntilEnd())
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		i := 0
		for r, err := range k.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			equalRecord(t, r, sent[i])
			i++
		}
		if i != len(sent) {
			t.Errorf("read %d of %d records", i, len(sent))
		}
	})
}

func equalRecord(t *testing.T, got, want *Record) {
	t.Helper()
	same := string(got.Key) == string(want.Key) && (got.Key == nil) == (want.Key == nil) &&
		string(got.Value) == string(want.Value) && (got.Value == nil) == (want.Value == nil) &&
		got.Offset == want.Offset && got.Partition == want.Partition && got.Topic == want.Topic &&
		got.Timestamp.Equal(want.Timestamp) && len(got.Headers) == len(want.Headers)
	for i := range got.Headers {
		same = same && got.Headers[i].Key == want.Headers[i].Key && string(got.Headers[i].Value) == string(want.Headers[i].Value) &&
			(got.Headers[i].Value == nil) == (want.Headers[i].Value == nil)
	}
	if !same {
		t.Errorf("read %+.200v, want %+.200v", got, want)
	}
}

func TestCompactedTopicsTakeNoRecordWithoutAKey(t *testing.T) {
	bubble(t, []string{"a1", "a2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		p := producer(t, c)
		if err := p.ProduceSync(t.Context(), &Record{Topic: "orders", Value: []byte("before")}); err != nil {
			t.Fatal(err)
		}
		f.CompactByKey("orders")
		// The first is refused by the agents, and makes the producer look the topic up again; others cost no round trip.
		for range 2 {
			err := p.ProduceSync(t.Context(), &Record{Topic: "orders", Value: []byte("v")})
			if e, ok := errors.AsType[*Error](err); !ok || e.Reason != ReasonInvalid || e.Written != SurelyNotWritten {
				t.Errorf("got %v, want invalid and surely not written", err)
			}
		}
		if _, err := c.Append(t.Context(), "orders", 0, AnyOffset, &Record{Value: []byte("v")}); !errors.Is(err, ReasonInvalid) {
			t.Errorf("append: %v", err)
		}
		if err := p.ProduceSync(t.Context(), &Record{Topic: "orders", Key: []byte("k")}); err != nil {
			t.Error(err)
		}
	})
}

func TestBufferedAcks(t *testing.T) {
	bubble(t, []string{"a1", "a2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("durable", 1)
		f.CreateTopic("orders", 1, true)
		p := producer(t, c, WithAcks(AcksBuffered))
		if err := p.ProduceSync(t.Context(), plain("durable", "0")); !errors.Is(err, ReasonBufferedAcksNotAllowed) {
			t.Errorf("got %v, want buffered acks not allowed", err)
		}
		r := plain("orders", "0")
		if err := p.ProduceSync(t.Context(), r); err != nil || r.Offset != UnknownOffset {
			t.Fatalf("got %v at offset %d", err, r.Offset)
		}
		f.FlushBuffered()
		if err := p.ProduceSync(t.Context(), plain("orders", "lost")); err != nil {
			t.Fatal(err)
		}
		f.Kill("a1") // before it flushed: the next batch meets a gap
		f.TakeOver("a2")
		if err := p.ProduceSync(t.Context(), plain("orders", "1")); err != nil {
			t.Fatal(err)
		}
		f.FlushBuffered()
		if got := values(f.Log("orders", 0)); !slices.Equal(got, []string{"0", "1"}) {
			t.Errorf("stored %v", got)
		}
	})
}

func TestRecordTooLarge(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		p := producer(t, c)
		large := &Record{Topic: "orders", Value: make([]byte, 1<<20+1)}
		if err := p.ProduceSync(t.Context(), plain("orders", "0"), large, plain("orders", "1")); !errors.Is(err, ReasonRecordTooLarge) {
			t.Fatalf("got %v, want record too large", err)
		}
		if got := values(f.Log("orders", 0)); !slices.Equal(got, []string{"0", "1"}) {
			t.Errorf("stored %v", got)
		}
		small := int32(3)
		if _, err := c.Admin().UpdateTopic(t.Context(), "orders", TopicConfig{MaxRecordBytes: &small}); err != nil {
			t.Fatal(err)
		}
		if err := p.ProduceSync(t.Context(), plain("orders", "long")); !errors.Is(err, ReasonRecordTooLarge) ||
			WrittenBy(err) != SurelyNotWritten {
			t.Errorf("got %v, want the agent's refusal", err)
		}
	})
}

func TestOneBadBatchDoesNotSpoilTheRequest(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 4)
		f.CreateTopic("gone", 1)
		p := producer(t, c, WithLinger(time.Second))
		got := newAnswers(5)
		p.Produce(t.Context(), plain("gone", "x"), got.done)
		for i := range int32(4) {
			p.Produce(t.Context(), &Record{Topic: "orders", Partition: i, UsePartition: true, Value: []byte("v")}, got.done)
		}
		f.DeleteTopic("gone")
		_ = p.Flush(t.Context())
		for range 5 {
			a := got.next(t)
			if bad := a.record.Topic == "gone"; bad != errors.Is(a.err, ReasonUnknownTopic) || (!bad && a.err != nil) {
				t.Errorf("%s/%d: %v", a.record.Topic, a.record.Partition, a.err)
			}
		}
	})
}

func TestTopicMadeAnewStartsAtZero(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		p := producer(t, c)
		if err := p.ProduceSync(t.Context(), plain("orders", "0"), plain("orders", "1")); err != nil {
			t.Fatal(err)
		}
		f.DeleteTopic("orders")
		f.CreateTopic("orders", 2)
		if err := p.ProduceSync(t.Context(), plain("orders", "x")); !errors.Is(err, ReasonUnknownTopic) {
			t.Fatalf("got %v: nobody told the producer yet", err)
		}
		r := &Record{Topic: "orders", Value: []byte("2"), Partition: 1, UsePartition: true}
		if err := p.ProduceSync(t.Context(), r); err != nil || r.Offset != 0 {
			t.Errorf("got %v at offset %d", err, r.Offset)
		}
	})
}

func TestBufferIsBounded(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 3)
		const limit = 64 << 10
		p := producer(t, c, WithBatchBytes(8<<10), WithBufferBytes(limit), WithDeliveryTimeout(time.Hour))
		full := producer(t, c, WithBatchBytes(8<<10), WithBufferBytes(limit), WithDeliveryTimeout(time.Hour), WithoutWaiting())
		f.Freeze("a1")
		f.Thaw("a1") // topics are looked up while it answers
		_ = p.ProduceSync(t.Context(), plain("orders", "first"))
		f.Freeze("a1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		got := newAnswers(1000)
		sent := 0
		for range 1000 {
			p.Produce(ctx, &Record{Topic: "orders", Value: make([]byte, 1000)}, got.done)
			if n := p.budget.held.Load(); n > limit {
				t.Errorf("holds %d bytes, may hold %d", n, limit)
			}
			if ctx.Err() != nil {
				break
			}
			sent++
		}
		if a := got.next(t); !errors.Is(a.err, ReasonCanceled) || WrittenBy(a.err) != SurelyNotWritten {
			t.Errorf("got %v from a full buffer", a.err)
		}
		if sent < 50 || sent > 64 {
			t.Errorf("%d records of 1000 bytes fit into %d", sent, limit)
		}
		var err error
		for range 100 {
			full.Produce(t.Context(), &Record{Topic: "orders", Value: make([]byte, 1000)}, func(_ *Record, e error) { err = e })
			if err != nil {
				break
			}
		}
		if !errors.Is(err, ReasonBufferFull) {
			t.Errorf("got %v, want buffer full", err)
		}
		f.Thaw("a1")
		if err := p.Flush(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// What is in one object waits for its upload and its commit. Were no more sent meanwhile, uploads would follow each other instead of going side by side.
func TestOneLeaderGetsWhatFillsSeveralObjects(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		const partitions, objectBytes = 16, 8 << 20
		f.CreateTopic("orders", partitions)
		p := producer(t, c)
		send := func(value []byte) {
			for partition := range int32(partitions) {
				p.Produce(t.Context(), &Record{Topic: "orders", Partition: partition, UsePartition: true, Value: value}, nil)
			}
		}
		send([]byte("a partition's first batch goes alone"))
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var sent atomic.Int64
		hold := make(chan struct{})
		f.OnProduce(func(_ string, r *dataplanev1.ProduceRequest) fakecluster.Fault {
			sent.Add(int64(proto.Size(r)))
			return fakecluster.Fault{Hold: hold}
		})
		value := make([]byte, 900<<10)
		_, _ = rand.NewChaCha8([32]byte{}).Read(value) // does not shrink
		for range 3 {
			send(value)
		}
		time.Sleep(100 * time.Millisecond)
		if n := sent.Load(); n < 4*objectBytes {
			t.Errorf("%d bytes are sent before the first answer: less than four objects", n)
		}
		close(hold)
		if err := p.Flush(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestFlushTellsOfRecordsWithoutCallback(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		p := producer(t, c)
		p.Produce(t.Context(), plain("nowhere", "0"), nil)
		p.Produce(t.Context(), plain("nowhere", "1"), nil)
		p.Produce(t.Context(), plain("orders", "2"), nil)
		if err := p.Flush(t.Context()); !errors.Is(err, ReasonUnknownTopic) || !strings.HasPrefix(err.Error(), "2 records failed") {
			t.Errorf("got %v", err)
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Errorf("told again: %v", err)
		}
	})
}

func TestCloseEndsInTime(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		p := producer(t, c, WithBatchesInFlight(1))
		if err := p.ProduceSync(t.Context(), plain("orders", "0")); err != nil {
			t.Fatal(err)
		}
		f.Freeze("a1")
		got := newAnswers(3)
		p.Produce(t.Context(), plain("orders", "1"), got.done)
		time.Sleep(time.Second) // under way
		p.Produce(t.Context(), plain("orders", "2"), got.done)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := p.Close(ctx); !errors.Is(err, ReasonCanceled) {
			t.Errorf("Close: %v", err)
		}
		for _, want := range []Written{PossiblyWritten, SurelyNotWritten} {
			if a := got.next(t); !errors.Is(a.err, ReasonClosed) || WrittenBy(a.err) != want {
				t.Errorf("record %s: %v, want %v", a.record.Value, a.err, want)
			}
		}
		p.Produce(t.Context(), plain("orders", "3"), got.done)
		if a := got.next(t); !errors.Is(a.err, ReasonClosed) {
			t.Errorf("after Close: %v", a.err)
		}
		f.Thaw("a1")
	})
}

func TestCallbackMayProduce(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		p := producer(t, c)
		done := make(chan error, 1)
		p.Produce(t.Context(), plain("orders", "0"), func(*Record, error) {
			p.Produce(t.Context(), plain("orders", "1"), func(_ *Record, err error) { done <- err })
		})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got := values(f.Log("orders", 0)); !slices.Equal(got, []string{"0", "1"}) {
			t.Errorf("stored %v", got)
		}
	})
}

func TestPrefersLeadersOfTheZone(t *testing.T) {
	bubble(t, []string{"a1/z1", "a2/z2", "a3/z3"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 9)
		p := producer(t, c, WithBatchBytes(1<<10))
		for i := range 500 {
			p.Produce(t.Context(), plain("orders", fmt.Sprint("some value to fill batches with ", i)), nil)
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if f.Requests("a1", "Produce")+f.Requests("a3", "Produce") > 0 {
			t.Errorf("requests left the zone")
		}
		used := 0
		for i := range 9 {
			if len(f.Log("orders", i)) > 0 {
				used++
			}
		}
		if used != 3 {
			t.Errorf("%d partitions used, want the 3 of the zone", used)
		}
	}, WithZone("z2"))
}

func TestStartsBeforeTheClusterDoes(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		f.Freeze("a1")
		time.AfterFunc(time.Minute, func() { f.Thaw("a1") })
		if err := producer(t, c).ProduceSync(t.Context(), plain("orders", "0")); err != nil {
			t.Fatal(err)
		}
	})
}
