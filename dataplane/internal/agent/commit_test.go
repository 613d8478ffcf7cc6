package agent_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/agent"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

func TestProduceIsDurableAndReadableOnEveryAgent(t *testing.T) {
	tell(t, 2, func(s *story) {
		a, b := s.Start("a"), s.Start("b")
		s.leads(a, 0)
		s.store(a, 0, s.batch("x", 0, -1), 0)
		s.store(b, 0, s.batch("y", 0, -1), 1) // forwarded
		for _, got := range [][]string{s.read(a, 0), s.read(b, 0)} {
			if !slices.Equal(got, []string{"x", "y"}) {
				t.Fatalf("read %q", got)
			}
		}
	})
}

func TestP1_LostCommitAnswerIsRepeatedNotRewritten(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		a.Link.LoseAnswers("Commit", 3)
		s.store(a, 0, s.batch("x", 0, -1), 0)
		if s.Control.Decided() != 1 {
			t.Fatalf("%d objects were decided, want the same one four times", s.Control.Decided())
		}
		s.store(a, 0, s.batch("y", 0, -1), 1)
		if got := s.read(a, 0); !slices.Equal(got, []string{"x", "y"}) {
			t.Fatalf("read %q", got)
		}
	})
}

func TestP3_DeposedLeaderStoresNothingAndIsNotBelieved(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		first := s.leads(a, 0)
		s.store(a, 0, s.batch("x", 0, -1), 0)
		release := a.Link.Hold("Heartbeat") // it shall not learn of it in any other way than by its commit
		s.Bucket.Delay(100 * time.Millisecond)
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.store(a, 0, s.batch("y", 0, -1), 1) // refused once, and surely not written: tried again in a new tenure
		}()
		time.Sleep(50 * time.Millisecond)
		s.Control.Depose(s.part(0))
		<-done
		release()
		if second := s.leads(a, 0); second < first+2 {
			t.Fatalf("epoch %d after %d: the deposed tenure went on", second, first)
		}
		if got := s.read(a, 0); !slices.Equal(got, []string{"x", "y"}) {
			t.Fatalf("read %q", got)
		}
	})
}

func TestP6_CommitSentAndUnansweredIsPossibly(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		a.Link.LoseAnswers("Commit", 1000)
		_, r := s.produce(s.ctx(2*time.Second), a, 0, s.batch("x", 0, -1))
		if r.GetWritten() != refusalv1.Written_WRITTEN_POSSIBLY || r.GetReason() != refusalv1.Reason_REASON_UNANSWERED {
			t.Fatalf("refusal %v", r)
		}
		a.Link.LoseAnswers("Commit", 0)
		if got := s.read(a, 0); !slices.Equal(got, []string{"x"}) {
			t.Fatalf("read %q", got)
		}
	})
}

func TestP6_NoLeaderIsSurelyNot(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		release := a.Link.Hold("Acquire") // after this one nobody leads
		s.Control.Depose(s.part(0))
		time.Sleep(2 * time.Second)
		_, r := s.produce(s.ctx(2*time.Second), a, 0, s.batch("x", 0, -1))
		if r.GetReason() != refusalv1.Reason_REASON_NO_LEADER || r.GetWritten() != refusalv1.Written_WRITTEN_SURELY_NOT {
			t.Fatalf("refusal %v", r)
		}
		release()
		s.store(a, 0, s.batch("y", 0, -1), 0)
		if got := s.read(a, 0); !slices.Equal(got, []string{"y"}) {
			t.Fatalf("read %q", got)
		}
	})
}

func TestPutsAreSharedByAllPartitionsUnderLoad(t *testing.T) {
	tell(t, 20, func(s *story) {
		a := s.Start("a", func(c *agent.Config) { c.Flush.PutsPerSecond, c.Flush.PutBurst = 4, 8 })
		s.leads(a, 19)
		s.Bucket.Delay(50 * time.Millisecond)
		before := s.Bucket.Puts()
		done := make(chan struct{})
		for p := range int32(20) {
			go func() {
				for i := range int64(10) {
					s.store(a, p, s.batch(fmt.Sprint(i), 0, -1), i)
				}
				done <- struct{}{}
			}()
		}
		for range 20 {
			<-done
		}
		if puts := s.Bucket.Puts() - before; puts > 40 {
			t.Fatalf("%d PUTs for 200 batches of 20 partitions", puts)
		}
	})
}

func TestBackPressureSaysWhenToComeBack(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a", small)
		s.leads(a, 0)
		s.Bucket.Delay(2 * time.Second)
		refused := make(chan *refusalv1.Refusal, 50)
		for range cap(refused) {
			go func() {
				_, r := s.produce(s.ctx(20*time.Second), a, 0, s.batch("x", 0, -1))
				refused <- r
			}()
		}
		overloaded, stored := 0, 0
		for range cap(refused) {
			switch r := <-refused; {
			case r == nil:
				stored++
			case r.GetReason() == refusalv1.Reason_REASON_OVERLOADED && r.GetRetryAfterMs() > 0 && r.GetWritten() == refusalv1.Written_WRITTEN_SURELY_NOT:
				overloaded++
			default:
				t.Errorf("refusal %v", r)
			}
		}
		if overloaded == 0 || stored == 0 {
			t.Fatalf("%d stored, %d refused", stored, overloaded)
		}
		if got := len(s.read(a, 0)); got != stored {
			t.Fatalf("%d acknowledged, %d read", stored, got)
		}
	})
}
