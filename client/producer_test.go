package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamhouse/streamhouse/client/internal/fakecluster"
	"github.com/streamhouse/streamhouse/client/recordbatch"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
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
			if v := f.Log("orders", int(a.record.Partition))[a.record.Offset].Value; string(v) != string(a.record.Value) {
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

// loseAnswers loses the answers to the first n requests with records.
func loseAnswers(n int32) fakecluster.Hook {
	var seen atomic.Int32
	return func(string, *dataplanev1.ProduceRequest) fakecluster.Fault {
		return fakecluster.Fault{Lose: seen.Add(1) <= n}
	}
}

func TestP5_LostAnswersStoreOnce(t *testing.T) {
	bubble(t, []string{"a1", "a2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		f.OnProduce(loseAnswers(3))
		p := producer(t, c)
		for _, v := range []string{"0", "1", "2"} {
			if err := p.ProduceSync(t.Context(), plain("orders", v)); err != nil {
				t.Fatal(err)
			}
		}
		if got := values(f.Log("orders", 0)); !slices.Equal(got, []string{"0", "1", "2"}) {
			t.Errorf("stored %v", got)
		}
	})
}

func TestP6_LostAnswerWithoutIdempotenceIsPossiblyWritten(t *testing.T) {
	bubble(t, []string{"a1", "a2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		f.OnProduce(loseAnswers(1))
		p := producer(t, c, WithoutIdempotence())
		err := p.ProduceSync(t.Context(), plain("orders", "0"))
		if !errors.Is(err, ReasonNoAnswer) || WrittenBy(err) != PossiblyWritten {
			t.Fatalf("got %v, want no answer, possibly written", err)
		}
		if err := p.ProduceSync(t.Context(), plain("orders", "1")); err != nil {
			t.Fatal(err)
		}
		if got := values(f.Log("orders", 0)); !slices.Equal(got, []string{"0", "1"}) {
			t.Errorf("stored %v: was it sent again?", got)
		}
	})
}

// refuse answers the first n requests with a refusal.
func refuse(n int32, r *refusalv1.Refusal) fakecluster.Hook {
	var seen atomic.Int32
	return func(string, *dataplanev1.ProduceRequest) fakecluster.Fault {
		if seen.Add(1) <= n {
			return fakecluster.Fault{Refuse: fakecluster.Error(r)}
		}
		return fakecluster.Fault{}
	}
}

func TestP6_SurelyNotIsRetriedByAnyone(t *testing.T) {
	for _, reason := range []refusalv1.Reason{
		refusalv1.Reason_REASON_CATALOG_UNAVAILABLE, refusalv1.Reason_REASON_NO_LEADER, refusalv1.Reason_REASON_BUCKET_UNAVAILABLE,
		refusalv1.Reason_REASON_OVERLOADED, refusalv1.Reason_REASON_NOT_LEADER,
	} {
		t.Run(reason.String(), func(t *testing.T) {
			bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
				f.CreateTopic("orders", 1)
				f.OnProduce(refuse(3, fakecluster.Refusal(reason, refusalv1.Written_WRITTEN_SURELY_NOT, "not now")))
				p := producer(t, c, WithoutIdempotence())
				if err := p.ProduceSync(t.Context(), plain("orders", "0")); err != nil {
					t.Fatal(err)
				}
				if got := values(f.Log("orders", 0)); !slices.Equal(got, []string{"0"}) {
					t.Errorf("stored %v", got)
				}
			})
		})
	}
}

func TestP6_UnansweredIsRetriedOnlyWithASequence(t *testing.T) {
	unanswered := fakecluster.Refusal(refusalv1.Reason_REASON_UNANSWERED, refusalv1.Written_WRITTEN_POSSIBLY, "commit not answered")
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		f.OnProduce(refuse(1, unanswered))
		if err := producer(t, c).ProduceSync(t.Context(), plain("orders", "0")); err != nil {
			t.Error(err)
		}
		f.OnProduce(refuse(1, unanswered))
		err := producer(t, c, WithoutIdempotence()).ProduceSync(t.Context(), plain("orders", "1"))
		if !errors.Is(err, ReasonUnanswered) || WrittenBy(err) != PossiblyWritten {
			t.Errorf("got %v, want unanswered, possibly written", err)
		}
	})
}

func TestOverloadedWaitsAsAdvised(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		r := fakecluster.Refusal(refusalv1.Reason_REASON_OVERLOADED, refusalv1.Written_WRITTEN_SURELY_NOT, "later")
		r.RetryAfterMs = 7000
		f.OnProduce(refuse(1, r))
		p := producer(t, c)
		began := time.Now()
		if err := p.ProduceSync(t.Context(), plain("orders", "0")); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d < 7*time.Second || d > 8*time.Second {
			t.Errorf("stored after %v, want 7s", d)
		}
	})
}

func TestGoesWhereTheRefusalPoints(t *testing.T) {
	bubble(t, []string{"a1", "a2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		p := producer(t, c, WithLinger(0))
		if err := p.ProduceSync(t.Context(), plain("orders", "0")); err != nil {
			t.Fatal(err)
		}
		f.Lead("orders", 0, "a2")
		began := time.Now()
		if err := p.ProduceSync(t.Context(), plain("orders", "1")); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > 0 {
			t.Errorf("the change of leader cost %v; the refusal had named the new one", d)
		}
		if n := f.Requests("a2", "Produce"); n != 1 {
			t.Errorf("%d requests at the new leader", n)
		}
		if got := values(f.Log("orders", 0)); !slices.Equal(got, []string{"0", "1"}) {
			t.Errorf("stored %v", got)
		}
	})
}

func TestP5_LeaderDies(t *testing.T) {
	bubble(t, []string{"a1", "a2", "a3"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 6)
		p := producer(t, c)
		const n = 3000
		got := newAnswers(n)
		go func() {
			time.Sleep(300 * time.Millisecond)
			f.Kill("a1")
			time.Sleep(2 * time.Second)
			f.TakeOver("a3")
		}()
		for _, r := range numbered("orders", n) {
			p.Produce(t.Context(), r, got.done)
			time.Sleep(time.Millisecond)
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkOnce(t, f, got, n, 6)
	})
}

// checkOnce checks that every record was acknowledged and is stored once, where its answer says.
func checkOnce(t *testing.T, f *fakecluster.Cluster, got *answers, n, partitions int) {
	t.Helper()
	stored := 0
	logs := make([][]recordbatch.Record, partitions)
	for p := range partitions {
		logs[p] = f.Log("orders", p)
		stored += len(logs[p])
	}
	for range n {
		a := got.next(t)
		if a.err != nil {
			t.Fatalf("record %s: %v", a.record.Value, a.err)
		}
		if v := logs[a.record.Partition][a.record.Offset].Value; string(v) != string(a.record.Value) {
			t.Fatalf("offset %d holds %s, want %s", a.record.Offset, v, a.record.Value)
		}
	}
	if stored != n {
		t.Errorf("%d records stored, want %d", stored, n)
	}
}

func TestP5_SilentLeaderIsLeftForTheNewOne(t *testing.T) {
	bubble(t, []string{"a1", "a2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		p := producer(t, c)
		if err := p.ProduceSync(t.Context(), plain("orders", "0")); err != nil {
			t.Fatal(err)
		}
		f.Freeze("a1")
		time.AfterFunc(2*time.Second, func() { f.TakeOver("a2") })
		began := time.Now()
		if err := p.ProduceSync(t.Context(), plain("orders", "1")); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > 4500*time.Millisecond {
			t.Errorf("stored after %v", d)
		}
		f.Thaw("a1")
		synctest.Wait()
		if got := values(f.Log("orders", 0)); !slices.Equal(got, []string{"0", "1"}) {
			t.Errorf("stored %v", got)
		}
	})
}

func TestSilentLeaderWithoutSuccessorIsLeftForAnyAgent(t *testing.T) {
	bubble(t, []string{"a1", "a2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		p := producer(t, c)
		if err := p.ProduceSync(t.Context(), plain("orders", "0")); err != nil {
			t.Fatal(err)
		}
		f.Freeze("a1")
		time.AfterFunc(10*time.Second, func() { f.TakeOver("a2") })
		began := time.Now()
		if err := p.ProduceSync(t.Context(), plain("orders", "1")); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > 10100*time.Millisecond {
			t.Errorf("stored after %v: nobody waited for the new leader", d)
		}
		f.Thaw("a1")
	})
}

func TestP5_GapProvesAbsence(t *testing.T) {
	bubble(t, []string{"a1", "a2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1, true)
		p := producer(t, c, WithAcks(AcksBuffered))
		if err := p.ProduceSync(t.Context(), plain("orders", "0")); err != nil {
			t.Fatal(err)
		}
		f.FlushBuffered()
		if err := p.ProduceSync(t.Context(), plain("orders", "lost")); err != nil {
			t.Fatal(err)
		}
		f.OnProduce(loseAnswers(1))
		time.AfterFunc(6*time.Millisecond, func() { // its answer is lost by now
			f.Kill("a1")
			f.TakeOver("a2")
		})
		if err := p.ProduceSync(t.Context(), plain("orders", "1")); err != nil {
			t.Fatal(err)
		}
		f.FlushBuffered()
		if got := values(f.Log("orders", 0)); !slices.Equal(got, []string{"0", "1"}) {
			t.Errorf("stored %v", got)
		}
	})
}

func TestSlowLeaderThatAnswersIsWaitedFor(t *testing.T) {
	bubble(t, []string{"a1", "a2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		slow := make(chan struct{})
		f.OnProduce(func(string, *dataplanev1.ProduceRequest) fakecluster.Fault { return fakecluster.Fault{Hold: slow} })
		time.AfterFunc(20*time.Second, func() { close(slow) })
		if err := producer(t, c).ProduceSync(t.Context(), plain("orders", "0")); err != nil {
			t.Fatal(err)
		}
		if n := f.Requests("a1", "Produce"); n != 1 {
			t.Errorf("%d requests to a leader that was slow but alive", n)
		}
	})
}

func TestP5_UnresolvedBatchNeverLendsItsSequence(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		p := producer(t, c, WithDeliveryTimeout(5*time.Second))
		f.OnProduce(func(string, *dataplanev1.ProduceRequest) fakecluster.Fault { return fakecluster.Fault{Lose: true} })
		err := p.ProduceSync(t.Context(), plain("orders", "0"))
		if !errors.Is(err, ReasonDeliveryTimeout) || !errors.Is(err, ReasonNoAnswer) || WrittenBy(err) != PossiblyWritten {
			t.Fatalf("got %v, want a delivery timeout after no answer, possibly written", err)
		}
		f.OnProduce(nil)
		r := plain("orders", "1")
		if err := p.ProduceSync(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if got := values(f.Log("orders", 0)); !slices.Equal(got, []string{"0", "1"}) || r.Offset != 1 {
			t.Errorf("stored %v, the second record at offset %d: it was taken for a repeat of the first", got, r.Offset)
		}
	})
}

func TestP5_RefusedBatchLeavesNoHole(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		p := producer(t, c)
		if err := p.ProduceSync(t.Context(), plain("orders", "0")); err != nil {
			t.Fatal(err)
		}
		f.OnProduce(refuse(1, fakecluster.Refusal(refusalv1.Reason_REASON_CORRUPT_BATCH, refusalv1.Written_WRITTEN_SURELY_NOT, "no")))
		if err := p.ProduceSync(t.Context(), plain("orders", "x")); !errors.Is(err, ReasonCorruptBatch) || WrittenBy(err) != SurelyNotWritten {
			t.Fatalf("got %v, want a corrupt batch, surely not written", err)
		}
		for _, v := range []string{"1", "2"} {
			if err := p.ProduceSync(t.Context(), plain("orders", v)); err != nil {
				t.Fatal(err)
			}
		}
		if got := values(f.Log("orders", 0)); !slices.Equal(got, []string{"0", "1", "2"}) {
			t.Errorf("stored %v", got)
		}
	})
}

func TestP5_ForgottenProducerStartsAnew(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		p := producer(t, c)
		for _, v := range []string{"0", "1"} {
			if err := p.ProduceSync(t.Context(), plain("orders", v)); err != nil {
				t.Fatal(err)
			}
			f.ForgetProducers("orders")
		}
		if got := values(f.Log("orders", 0)); !slices.Equal(got, []string{"0", "1"}) {
			t.Errorf("stored %v", got)
		}
	})
}

func TestP5_ForgottenProducerWithAnUnresolvedBatchGivesUp(t *testing.T) {
	bubble(t, []string{"a1"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		p := producer(t, c)
		if err := p.ProduceSync(t.Context(), plain("orders", "0")); err != nil {
			t.Fatal(err)
		}
		f.OnProduce(func(string, *dataplanev1.ProduceRequest) fakecluster.Fault {
			f.OnProduce(func(string, *dataplanev1.ProduceRequest) fakecluster.Fault {
				f.ForgetProducers("orders")
				f.OnProduce(nil)
				return fakecluster.Fault{}
			})
			return fakecluster.Fault{Lose: true}
		})
		err := p.ProduceSync(t.Context(), plain("orders", "1"))
		if !errors.Is(err, ReasonProducerUnknown) || WrittenBy(err) != PossiblyWritten {
			t.Fatalf("got %v, want an unknown producer, possibly written", err)
		}
		if err := p.ProduceSync(t.Context(), plain("orders", "2")); err != nil {
			t.Fatal(err)
		}
		if got := values(f.Log("orders", 0)); !slices.Equal(got, []string{"0", "1", "2"}) {
			t.Errorf("stored %v", got)
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
		if err := p.ProduceSync(t.Context(), plain("orders", "long")); !errors.Is(err, ReasonRecordTooLarge) || WrittenBy(err) != SurelyNotWritten {
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
			p.mu.Lock()
			if p.buffered > limit {
				t.Errorf("holds %d bytes, may hold %d", p.buffered, limit)
			}
			p.mu.Unlock()
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
		p := producer(t, c)
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
