package agent_test

import (
	"slices"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/controltest"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// polled is what a long poll got, and when.
type polled struct {
	values  []string
	refused *refusalv1.Refusal
	at      time.Time
}

// poll waits at an agent for records from an offset on.
func (s *story) poll(n *controltest.Node, p int32, offset int64) <-chan polled {
	got := make(chan polled, 1)
	go func() {
		res, err := n.Client.Fetch(s.ctx(30*time.Second), &dataplanev1.FetchRequest{
			Decode: true, MaxWaitMs: 20_000, Partitions: []*dataplanev1.FetchPartition{{
				Topic: &dataplanev1.FetchPartition_TopicId{TopicId: s.topic.String()}, Partition: p, Offset: offset,
			}},
		})
		result := polled{at: time.Now()}
		if err != nil {
			result.refused, _ = refusal.Of(err)
		} else {
			for _, r := range res.GetPartitions()[0].GetRecords() {
				result.values = append(result.values, string(r.GetValue()))
			}
		}
		got <- result
	}()
	return got
}

// TestWaitingConsumerWakesWithTheCommitOnAnotherAgent: no lookup is due, nor would one be answered.
func TestWaitingConsumerWakesWithTheCommitOnAnotherAgent(t *testing.T) {
	tell(t, 1, func(s *story) {
		a, b := s.Start("a"), s.Start("b")
		s.leads(a, 0)
		for i := range int64(10) {
			got := s.poll(b, 0, i)
			time.Sleep(1300 * time.Millisecond)
			release := b.Link.Hold("Lookup")
			s.store(a, 0, s.batch("x", 0, -1), i)
			acked := time.Now()
			woken := <-got
			release()
			if !slices.Equal(woken.values, []string{"x"}) || woken.at.Sub(acked) > 5*time.Millisecond {
				t.Fatalf("record %d: got %q, %v, %s after the ack", i, woken.values, woken.refused, woken.at.Sub(acked))
			}
		}
	})
}

// TestP4_NoticesNeverStandInForTheCatalog: who waits while the catalog is out of reach is not told that there is nothing.
func TestP4_NoticesNeverStandInForTheCatalog(t *testing.T) {
	tell(t, 1, func(s *story) {
		a, b := s.Start("a"), s.Start("b")
		s.leads(a, 0)
		s.store(a, 0, s.batch("x", 0, -1), 0)
		if got := <-s.poll(b, 0, 0); !slices.Equal(got.values, []string{"x"}) {
			t.Fatalf("got %q, %v", got.values, got.refused)
		}
		waiting := s.poll(b, 0, 1)
		time.Sleep(time.Second)
		b.Link.LoseRequests("Lookup", 1000)
		for _, got := range []polled{<-s.poll(b, 0, 1), <-waiting} {
			if got.refused.GetReason() != refusalv1.Reason_REASON_CATALOG_UNAVAILABLE {
				t.Fatalf("got %q, %v", got.values, got.refused)
			}
		}
		b.Link.LoseRequests("Lookup", 0)
		if got := s.read(b, 0); !slices.Equal(got, []string{"x"}) {
			t.Fatalf("read %q", got)
		}
	})
}

// TestConsumerFollowsTheLeader: after a takeover the new leader's commits wake it as quickly.
func TestConsumerFollowsTheLeader(t *testing.T) {
	tell(t, 1, func(s *story) {
		a, b, c := s.Start("a"), s.Start("b"), s.Start("c")
		s.leads(a, 0)
		s.store(a, 0, s.batch("x", 0, -1), 0)
		got := s.poll(c, 0, 1)
		time.Sleep(time.Second)
		s.Control.Assign(s.part(0), "b")
		s.leads(b, 0)
		time.Sleep(2 * time.Second)
		s.store(b, 0, s.batch("y", 0, -1), 1)
		acked := time.Now()
		if woken := <-got; !slices.Equal(woken.values, []string{"y"}) || woken.at.Sub(acked) > 5*time.Millisecond {
			t.Fatalf("got %q, %v, %s after the ack", woken.values, woken.refused, woken.at.Sub(acked))
		}
	})
}
