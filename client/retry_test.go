package client

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamhouse/streamhouse/client/internal/fakecluster"
	"github.com/streamhouse/streamhouse/client/recordbatch"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

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

func TestP5_StuckLeaderIsLeftForANewerOne(t *testing.T) {
	bubble(t, []string{"a1", "a2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 1)
		never := make(chan struct{})
		f.OnProduce(func(agentID string, _ *dataplanev1.ProduceRequest) fakecluster.Fault {
			if agentID == "a1" {
				return fakecluster.Fault{Hold: never} // it answers everything else
			}
			return fakecluster.Fault{}
		})
		time.AfterFunc(time.Second, func() { f.Lead("orders", 0, "a2") })
		began := time.Now()
		if err := producer(t, c).ProduceSync(t.Context(), plain("orders", "0")); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > 2500*time.Millisecond {
			t.Errorf("stored after %v", d)
		}
		if got := values(f.Log("orders", 0)); !slices.Equal(got, []string{"0"}) {
			t.Errorf("stored %v", got)
		}
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
