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
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

func fill(t *testing.T, c *Client, n int) {
	t.Helper()
	p := producer(t, c, WithBatchBytes(1<<10))
	for _, r := range numbered("orders", n) {
		r.Timestamp = time.UnixMilli(1_700_000_000_000).Add(time.Duration(len(r.Value)) * time.Second)
		p.Produce(t.Context(), r, nil)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func consumer(t *testing.T, c *Client, options ...ConsumerOption) *Consumer {
	t.Helper()
	k, err := c.NewConsumer(t.Context(), "orders", options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// drain reads until EOF and checks that each partition's offsets are dense from where they start.
func drain(t *testing.T, k *Consumer) map[int32][]int64 {
	t.Helper()
	got := map[int32][]int64{}
	for r, err := range k.Records(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		noteOffset(t, got, r)
	}
	return got
}

func noteOffset(t *testing.T, got map[int32][]int64, r *Record) {
	t.Helper()
	if s := got[r.Partition]; len(s) > 0 && r.Offset != s[len(s)-1]+1 {
		t.Fatalf("partition %d: offset %d after %d", r.Partition, r.Offset, s[len(s)-1])
	}
	got[r.Partition] = append(got[r.Partition], r.Offset)
}

func TestP2_EveryOffsetOnceUntilTheEnd(t *testing.T) {
	bubble(t, []string{"a1", "a2", "a3"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 5)
		fill(t, c, 3000)
		k := consumer(t, c, From(Beginning()), UntilEnd())
		fill(t, c, 10) // after its end
		n := 0
		for p, offsets := range drain(t, k) {
			if offsets[0] != 0 {
				t.Errorf("partition %d starts at %d", p, offsets[0])
			}
			n += len(offsets)
		}
		if n != 3000 {
			t.Errorf("read %d records, want 3000", n)
		}
		if _, err := k.Poll(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestStartsWhereItIsTold(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		p := producer(t, c)
		at := time.UnixMilli(1_700_000_000_000)
		for i := range 10 {
			r := &Record{Topic: "orders", Value: []byte{byte(i)}, Timestamp: at.Add(time.Duration(i) * time.Second)}
			if err := p.ProduceSync(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		f.Trim("orders", 0, 2)
		for _, test := range []struct {
			name    string
			options []ConsumerOption
			first   int64 // -1: none
		}{
			{"beginning", []ConsumerOption{From(Beginning())}, 2},
			{"end", []ConsumerOption{From(End())}, -1},
			{"default", nil, -1},
			{"offset", []ConsumerOption{From(At(7))}, 7},
			{"offset at the end", []ConsumerOption{From(At(10))}, -1},
			{"offsets", []ConsumerOption{From(Beginning()), FromOffsets(map[int32]int64{0: 9})}, 9},
			{"time", []ConsumerOption{From(AtTime(at.Add(4 * time.Second)))}, 4},
			{"time between", []ConsumerOption{From(AtTime(at.Add(4*time.Second + time.Microsecond)))}, 5},
			{"time after all", []ConsumerOption{From(AtTime(at.Add(time.Hour)))}, -1},
			{"reset to beginning", []ConsumerOption{From(At(0)), WithReset(ResetToBeginning)}, 2},
			{"reset to end", []ConsumerOption{From(At(0)), WithReset(ResetToEnd)}, -1},
		} {
			k := consumer(t, c, append(test.options, UntilEnd())...)
			first := int64(-1)
			if offsets := drain(t, k)[0]; len(offsets) > 0 {
				first = offsets[0]
			}
			if first != test.first {
				t.Errorf("%s: first offset %d, want %d", test.name, first, test.first)
			}
		}
	})
}

func TestOffsetOutOfRangeIsAnError(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		fill(t, c, 10)
		f.Trim("orders", 0, 5)
		_, err := c.NewConsumer(t.Context(), "orders", From(At(11)), UntilEnd())
		if !errors.Is(err, ReasonOutOfRange) {
			t.Errorf("beyond the end: %v", err)
		}
		for _, offset := range []int64{4, 11} {
			_, err := consumer(t, c, From(At(offset))).Poll(t.Context())
			e, _ := errors.AsType[*Error](err)
			if !errors.Is(err, ReasonOutOfRange) || e.Offsets == nil || e.Offsets.LogStart != 5 ||
				e.Offsets.HighWatermark != 10 || e.Topic != "orders" {
				t.Errorf("offset %d: %v", offset, err)
			}
		}
	})
}

func TestP2_GoesOnAtAnotherAgent(t *testing.T) {
	bubble(t, []string{"a1/z1", "a2/z1", "a3/z2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 3)
		const n = 2000
		p := producer(t, c, WithBatchBytes(1<<10))
		go func() {
			for i, r := range numbered("orders", n) {
				switch i {
				case 500:
					f.Kill("a1")
					f.TakeOver("a2")
				case 1000:
					f.Freeze("a2")
					f.TakeOver("a3")
				}
				p.Produce(context.Background(), r, nil)
				time.Sleep(time.Millisecond)
			}
		}()
		k := consumer(t, c, From(Beginning()), WithFetchWait(time.Second))
		got, read := map[int32][]int64{}, 0
		for r, err := range k.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			noteOffset(t, got, r)
			if read++; read == n {
				break
			}
		}
		f.Thaw("a2")
	}, WithZone("z1"))
}

func TestFetchesFromItsZone(t *testing.T) {
	bubble(t, []string{"a1/z1", "a2/z2", "a3/z2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 8)
		fill(t, c, 1000)
		drain(t, consumer(t, c, From(Beginning()), UntilEnd()))
		if f.Requests("a1", "Fetch") > 0 || f.Requests("a2", "Fetch") == 0 || f.Requests("a3", "Fetch") == 0 {
			t.Errorf("fetches: a1 %d, a2 %d, a3 %d", f.Requests("a1", "Fetch"), f.Requests("a2", "Fetch"), f.Requests("a3", "Fetch"))
		}
	}, WithZone("z2"))
}

func TestOffsetsSayWhereToGoOn(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 4)
		fill(t, c, 1000)
		k := consumer(t, c, From(Beginning()), UntilEnd())
		got, read := map[int32][]int64{}, 0
		for r, err := range k.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			noteOffset(t, got, r)
			if read++; read == 333 {
				break
			}
		}
		next := consumer(t, c, FromOffsets(k.Offsets()), UntilEnd())
		for r, err := range next.Records(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			noteOffset(t, got, r)
			read++
		}
		if read != 1000 {
			t.Errorf("read %d records, want 1000", read)
		}
		polled, err := consumer(t, c, From(Beginning()), Partitions(2)).Poll(t.Context())
		if err != nil || polled[0].Partition != 2 {
			t.Errorf("partition 2 alone: %v %v", polled, err)
		}
	})
}

func TestHoldsNoMoreThanItMay(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 2)
		p := producer(t, c, WithoutCompression())
		for range 64 {
			if err := p.ProduceSync(t.Context(), &Record{Topic: "orders", Value: make([]byte, 100_000)}); err != nil {
				t.Fatal(err)
			}
		}
		const limit = 1 << 20
		k := consumer(t, c, From(Beginning()), UntilEnd(), WithFetchBytes(limit))
		time.Sleep(time.Minute) // nobody polls
		k.mu.Lock()
		held := k.buffered
		k.mu.Unlock()
		if held == 0 || held > limit+2*fetchBytes {
			t.Errorf("holds %d bytes ahead of Poll, may hold %d and an answer", held, limit)
		}
		n := 0
		for _, offsets := range drain(t, k) {
			n += len(offsets)
		}
		if n != 64 {
			t.Errorf("read %d of 64", n)
		}
	})
}

func TestConsumerEndsWithItsTopic(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		fill(t, c, 1)
		k := consumer(t, c)
		time.AfterFunc(time.Minute, func() {
			f.DeleteTopic("orders")
			f.CreateTopic("orders", 1)
		})
		if _, err := k.Poll(t.Context()); !errors.Is(err, ReasonUnknownTopic) {
			t.Errorf("got %v, want unknown topic: the new one shares nothing with it", err)
		}
	})
}

func TestStallEnds(t *testing.T) {
	bubble(t, []string{"a1", "a2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		k := consumer(t, c, WithStallTimeout(30*time.Second))
		f.Kill("a1")
		f.Kill("a2")
		began := time.Now()
		_, err := k.Poll(t.Context())
		if d := time.Since(began); !errors.Is(err, ReasonUnreachable) || d < 25*time.Second || d > 40*time.Second {
			t.Errorf("got %v after %v", err, d)
		}
	})
}

func TestPollEndsWithItsContext(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		k := consumer(t, c)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := k.Poll(ctx); !errors.Is(err, ReasonCanceled) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		fill(t, c, 1)
		if rs, err := k.Poll(t.Context()); err != nil || len(rs) != 1 {
			t.Errorf("afterwards: %v %v", rs, err)
		}
		time.AfterFunc(time.Second, func() { _ = k.Close() })
		if _, err := k.Poll(t.Context()); !errors.Is(err, ReasonClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

func TestConsumerOptionsAreChecked(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		for name, o := range map[string]ConsumerOption{
			"offset": From(At(-1)), "offsets": FromOffsets(map[int32]int64{0: -1}), "bytes": WithFetchBytes(1),
			"wait": WithFetchWait(time.Hour), "stall": WithStallTimeout(0),
		} {
			if _, err := c.NewConsumer(t.Context(), "orders", o); !errors.Is(err, ReasonMisconfigured) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := c.NewConsumer(t.Context(), "orders", Partitions(1)); !errors.Is(err, ReasonUnknownPartition) {
			t.Errorf("partition: %v", err)
		}
		if _, err := c.NewConsumer(t.Context(), "nowhere"); !errors.Is(err, ReasonUnknownTopic) {
			t.Errorf("topic: %v", err)
		}
	})
}

func TestP2_ChainRefusesWhatDoesNotFollow(t *testing.T) {
	batch := func(base int64, n int) []byte { return testBatch(t, base, n) }
	for _, test := range []struct {
		name              string
		batches           [][]byte
		asked             int64
		answered, skipped int64 // what the agent says
		next              int64 // -1: refused
	}{
		{"one", [][]byte{batch(0, 3)}, 0, 3, 0, 3},
		{"from the middle", [][]byte{batch(0, 3)}, 2, 3, 0, 3},
		{"two", [][]byte{batch(0, 3), batch(3, 2)}, 1, 5, 0, 5},
		{"hole before", [][]byte{batch(4, 3)}, 3, 7, 0, -1},
		{"hole between", [][]byte{batch(0, 3), batch(4, 1)}, 0, 5, 0, -1},
		{"hole after", [][]byte{batch(0, 3)}, 0, 5, 0, -1},
		{"nothing but a hole", nil, 2, 5, 0, -1},
		{"overlap", [][]byte{batch(0, 3), batch(2, 3)}, 0, 5, 0, -1},
		{"too old", [][]byte{batch(0, 3)}, 3, 3, 0, -1},
		{"old one first", [][]byte{batch(0, 3), batch(3, 1)}, 3, 4, 0, 4},
		{"cut", [][]byte{batch(0, 3)[:70]}, 0, 3, 0, -1},
		{"compacted before", [][]byte{batch(4, 3)}, 3, 7, 1, 7},
		{"compacted between", [][]byte{batch(0, 3), batch(14, 1)}, 2, 15, 11, 15},
		{"compacted after", [][]byte{batch(0, 3)}, 0, 5, 2, 5},
		{"compacted everywhere", [][]byte{batch(2, 3), batch(6, 1)}, 1, 10, 5, 10},
		{"nothing left", nil, 2, 5, 3, 5},
		{"a hole beside what was compacted", [][]byte{batch(2, 3), batch(6, 1)}, 1, 10, 4, -1},
		{"compacted, but nothing is missing", [][]byte{batch(0, 3)}, 0, 3, 1, -1},
	} {
		next, _, err := chain(&dataplanev1.FetchedPartition{
			Batches: slices.Concat(test.batches...), NextOffset: test.answered, SkippedOffsets: test.skipped,
		}, test.asked)
		if err != nil {
			next = -1
		}
		if next != test.next {
			t.Errorf("%s: next %d (%v), want %d", test.name, next, err, test.next)
		}
	}
}

// What key compaction leaves of a topic is read from any offset on, as structs and as views, and reading ends where the topic does.
func TestP2_CompactedTopicIsReadFromAnywhere(t *testing.T) {
	bubble(t, []string{"a1", "a2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		fill(t, c, 1000)
		var want []int64
		f.Compact("orders", 0, func(offset int64) bool {
			kept := offset >= 100 && offset < 900 && (offset < 300 || offset >= 500) && offset%3 == 0 // holes at the edges, in the middle, in batches
			if kept {
				want = append(want, offset)
			}
			return kept
		})
		for _, from := range []int64{0, 1, 99, 100, 101, 102, 299, 300, 400, 500, 501, 897, 898, 900, 999, 1000} {
			first, _ := slices.BinarySearch(want, from)
			var structs, views []int64
			k := consumer(t, c, From(At(from)), UntilEnd())
			for r, err := range k.Records(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				structs = append(structs, r.Offset)
			}
			k = consumer(t, c, From(At(from)), UntilEnd())
			for {
				b, err := k.PollBatch(t.Context())
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				var v View
				for b.Next(&v) {
					views = append(views, v.Offset)
				}
				if b.Err() != nil {
					t.Fatal(b.Err())
				}
			}
			if !slices.Equal(structs, want[first:]) || !slices.Equal(views, want[first:]) {
				t.Errorf("from %d: structs %v, views %v, want %v", from, structs, views, want[first:])
			}
		}
	})
}

func TestListOffsets(t *testing.T) {
	bubble(t, []string{"a1", "a2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1200)
		if err := producer(t, c).ProduceSync(t.Context(), &Record{Topic: "orders", Partition: 1100, UsePartition: true}); err != nil {
			t.Fatal(err)
		}
		all, err := c.ListOffsets(t.Context(), "orders", End())
		if err != nil || len(all) != 1200 {
			t.Fatalf("%d offsets, %v", len(all), err)
		}
		for i, o := range all {
			if want := int64(one(i == 1100)); o.Partition != int32(i) || o.Offset != want || o.HighWatermark != want {
				t.Errorf("partition %d: %+v", i, o)
			}
		}
		if _, err := c.ListOffsets(t.Context(), "orders", At(1), 3); !errors.Is(err, ReasonOutOfRange) {
			t.Errorf("offset 1 of an empty partition: %v", err)
		}
		f.Kill("a1")
		if _, err := c.ListOffsets(t.Context(), "orders", Beginning(), 0); err != nil {
			t.Errorf("with one agent dead: %v", err)
		}
	})
}

func TestMetadata(t *testing.T) {
	bubble(t, []string{"a1/z1", "a2/z2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 3)
		m, err := c.Metadata(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(m.Agents, m.Topics[0].Leaders[1], m.AgentGroup); got !=
			"[{a1 z1 http://a1.fake false false} {a2 z2 http://a2.fake false false}] {a2 http://a2.fake z2 1}default" {
			t.Error(got)
		}
		if _, err := c.Metadata(t.Context(), "nowhere"); !errors.Is(err, ReasonUnknownTopic) {
			t.Errorf("got %v", err)
		}
	})
}

// A topic gets more partitions under a consumer and a producer: both learn it when they look again, and no record of the new ones is missed. Who
// chose partitions, or reads to the end, keeps to what it has.
func TestP2_NewPartitionsAreReadFromTheirBeginning(t *testing.T) {
	bubble(t, []string{"a1", "a2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 2)
		all, chosen := consumer(t, c, From(End())), consumer(t, c, Partitions(0, 1))
		if topic, err := c.Admin().AddPartitions(t.Context(), "orders", 5); err != nil || topic.PartitionCount != 5 {
			t.Fatalf("%+v, %v", topic, err)
		}
		p := producer(t, c)
		const n = 600
		go func() {
			for i := range n { // a minute
				p.Produce(t.Context(), &Record{Topic: "orders", Key: fmt.Append(nil, i%97), Value: fmt.Append(nil, i)}, func(_ *Record, err error) {
					if err != nil {
						t.Error(err)
					}
				})
				time.Sleep(100 * time.Millisecond)
			}
		}()
		got := map[int32]int64{}
		deadline, cancel := context.WithTimeout(t.Context(), time.Minute+refreshAge)
		defer cancel()
		for read := 0; read < n; {
			rs, err := all.Poll(deadline)
			if err != nil {
				t.Fatalf("after %d records, %v: %v", read, got, err)
			}
			for _, r := range rs {
				if r.Offset != got[r.Partition] {
					t.Fatalf("partition %d: offset %d after %d", r.Partition, r.Offset, got[r.Partition])
				}
				got[r.Partition]++
				read++
			}
		}
		if len(got) != 5 {
			t.Errorf("records of %d partitions: %v", len(got), got)
		}
		time.Sleep(2 * refreshAge)
		if n := len(chosen.Offsets()); n != 2 {
			t.Errorf("who chose two partitions reads %d", n)
		}
		if n := f.Requests("a1", "GetMetadata") + f.Requests("a2", "GetMetadata"); n > 30 {
			t.Errorf("the topic was looked up %d times", n)
		}
	})
}

func TestDeleteRecords(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		fill(t, c, 10)
		if begins, err := c.Admin().DeleteRecords(t.Context(), "orders", map[int32]int64{0: 4}); err != nil || begins[0] != 4 {
			t.Fatalf("%v, %v", begins, err)
		}
		if _, err := c.Admin().DeleteRecords(t.Context(), "orders", map[int32]int64{0: 11}); !errors.Is(err, ReasonOutOfRange) {
			t.Errorf("beyond the end: %v", err)
		}
		rs, err := consumer(t, c, From(At(1)), WithReset(ResetToBeginning)).Poll(t.Context())
		if err != nil || rs[0].Offset != 4 {
			t.Errorf("%v, %v", rs, err)
		}
		if begins, err := c.Admin().DeleteRecords(t.Context(), "orders", map[int32]int64{0: -1}); err != nil || begins[0] != 10 {
			t.Errorf("%v, %v", begins, err)
		}
	})
}
