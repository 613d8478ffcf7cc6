package agent_test

import (
	"slices"
	"testing"
	"time"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

func TestP5_RetryAfterTakeoverIsStoredOnce(t *testing.T) {
	for name, producer := range map[string]int64{"in the grant": 2, "looked up": 3} {
		t.Run(name, func(t *testing.T) {
			tell(t, 2, func(s *story) {
				a, b := s.Start("a"), s.Start("b")
				s.leads(a, 0)
				s.store(a, 0, s.batch("x", producer, 0), 0)
				a.Link.LoseAnswers("Commit", 1000)
				_, r := s.produce(s.ctx(time.Second), a, 0, s.batch("y", producer, 1))
				if r.GetWritten() != refusalv1.Written_WRITTEN_POSSIBLY {
					t.Fatalf("refusal %v", r)
				}
				a.Kill()
				s.store(b, 0, s.batch("y", producer, 1), 1) // the first copy was committed: its offset
				s.store(b, 0, s.batch("z", producer, 2), 2)
				if got := s.read(b, 0); !slices.Equal(got, []string{"x", "y", "z"}) {
					t.Fatalf("read %q", got)
				}
			})
		})
	}
}

func TestP5_RetryOfABatchInFlightWaitsForIt(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		s.Bucket.Delay(time.Second)
		began := time.Now()
		offsets := make(chan int64, 3)
		for range cap(offsets) {
			go func() {
				off, r := s.produce(s.ctx(10*time.Second), a, 0, s.batch("x", 2, 0))
				if r != nil {
					t.Errorf("refusal %v", r)
				}
				offsets <- off
			}()
		}
		for range cap(offsets) {
			if off := <-offsets; off != 0 || time.Since(began) < time.Second {
				t.Fatalf("offset %d after %v", off, time.Since(began))
			}
		}
		if got := s.read(a, 0); !slices.Equal(got, []string{"x"}) {
			t.Fatalf("read %q", got)
		}
	})
}

func TestP5_GapIsRefusedAndOvertakingIsNot(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		s.store(a, 0, s.batch("x", 2, 0), 0)
		_, r := s.produce(s.ctx(10*time.Second), a, 0, s.batch("z", 2, 2))
		if r.GetReason() != refusalv1.Reason_REASON_SEQUENCE_GAP || r.GetSequence().GetExpectedSequence() != 1 {
			t.Fatalf("refusal %v", r)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.store(a, 0, s.batch("z", 2, 2), 2) // arrives first, and waits a moment
		}()
		time.Sleep(20 * time.Millisecond)
		s.store(a, 0, s.batch("y", 2, 1), 1)
		<-done
	})
}

func TestRefusalFromMemoryIsNotSaidByADeposedLeader(t *testing.T) {
	tell(t, 2, func(s *story) {
		a, b := s.Start("a"), s.Start("b")
		s.leads(a, 0)
		s.store(a, 0, s.batch("w", 2, 0), 0)
		a.Link.LoseAnswers("Watch", 1)
		a.Link.LoseRequests("Watch", 1000)
		release := a.Link.Hold("Heartbeat") // a is alone with its memory
		time.Sleep(4 * time.Second)         // suspect: b leads
		s.leads(b, 0)
		s.store(b, 0, s.batch("x", 2, 1), 1)
		_, r := s.produce(s.ctx(2*time.Second), a, 0, s.batch("y", 2, 2)) // a gap for a, none for b
		if r.GetReason() == refusalv1.Reason_REASON_SEQUENCE_GAP {
			t.Fatalf("a deposed leader says %v", r)
		}
		release()
		a.Link.LoseRequests("Watch", 0)
		s.store(a, 0, s.batch("y", 2, 2), 2)
	})
}

func TestExpectedOffset(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		at := func(offset int64) (int64, *refusalv1.Refusal) {
			req := request(0, s.batch("x", 0, -1))
			req.Entries[0].ExpectedOffset = new(offset)
			return s.outcome(a.Client.Produce(s.ctx(10*time.Second), req))
		}
		if off, r := at(0); r != nil || off != 0 {
			t.Fatalf("offset %d, refusal %v", off, r)
		}
		for _, wrong := range []int64{0, 2} {
			if _, r := at(wrong); r.GetReason() != refusalv1.Reason_REASON_EXPECTED_OFFSET || r.GetOffsets().GetNextOffset() != 1 {
				t.Fatalf("at %d: refusal %v", wrong, r)
			}
		}
		s.Bucket.Delay(time.Second)
		results := make(chan *refusalv1.Refusal, 5)
		for range cap(results) {
			go func() {
				_, r := at(1)
				results <- r
			}()
		}
		won := 0
		for range cap(results) {
			switch r := <-results; {
			case r == nil:
				won++
			case r.GetReason() != refusalv1.Reason_REASON_EXPECTED_OFFSET || r.GetOffsets().GetNextOffset() != 2:
				t.Errorf("refusal %v", r)
			}
		}
		if won != 1 {
			t.Fatalf("%d of 5 got offset 1", won)
		}
	})
}
