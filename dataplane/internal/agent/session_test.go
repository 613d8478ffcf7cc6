package agent_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/agent"
	"github.com/streamhouse/streamhouse/dataplane/internal/session"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// small leaves room for few batches in flight.
func small(c *agent.Config) { c.MaxBufferedBytes = 4 << 10 }

func TestLostSessionCommitsWhatItHoldsThenRegistersAnew(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		epoch := s.leads(a, 0)
		s.Bucket.Delay(500 * time.Millisecond)
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.store(a, 0, s.batch("x", 0, -1), 0) // in the old epoch: nobody has taken over
		}()
		time.Sleep(100 * time.Millisecond)
		s.Control.Expire("a")
		<-done
		if wrote := s.Control.Segments(s.part(0))[0].GetEpoch(); wrote != epoch {
			t.Fatalf("stored in epoch %d, was held in %d", wrote, epoch)
		}
		if next := s.leads(a, 0); next <= epoch {
			t.Fatalf("epoch %d after %d", next, epoch)
		}
		s.store(a, 0, s.batch("y", 0, -1), 1)
		if got := s.read(a, 0); !slices.Equal(got, []string{"x", "y"}) {
			t.Fatalf("read %q", got)
		}
	})
}

func TestARepeatedRegistrationGetsTheSessionOfTheFirst(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		a.Link.LoseAnswers("Register", 3)
		s.Control.Expire("a")
		time.Sleep(10 * time.Second)
		s.store(a, 0, s.batch("x", 0, -1), 0)
		if n := s.Control.Registered(); n != 2 || !a.Running() {
			t.Fatalf("%d sessions, running %v", n, a.Running())
		}
	})
}

func TestP6_AnAgentWhoseKeyWasRevokedAnswersAndExits(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		s.Bucket.Delay(100 * time.Millisecond)
		got := make(chan *refusalv1.Refusal, 1)
		go func() {
			_, r := s.produce(s.ctx(time.Hour), a, 0, s.batch("x", 0, -1))
			got <- r
		}()
		time.Sleep(50 * time.Millisecond)
		s.Control.Revoke("a") // before the commit is sent: it will never be answered
		if r := <-got; r.GetWritten() != refusalv1.Written_WRITTEN_POSSIBLY {
			t.Errorf("refusal %v", r)
		}
		began := time.Now()
		if err := a.Wait(); !errors.Is(err, session.ErrRevoked) || time.Since(began) > time.Minute {
			t.Fatalf("ended after %v with %v", time.Since(began), err)
		}
	})
}

func TestSupersededAgentExits(t *testing.T) {
	tell(t, 1, func(s *story) {
		old := s.Start("a")
		s.leads(old, 0)
		young := s.Start("a")
		if err := old.Wait(); !errors.Is(err, session.ErrSuperseded) {
			t.Fatalf("the first process ended with %v", err)
		}
		s.leads(young, 0)
		s.store(young, 0, s.batch("x", 0, -1), 0)
	})
}

func TestP10_PastItsDeadlineAnAgentAcknowledgesNothingBufferedAndClaimsNothing(t *testing.T) {
	tell(t, 1, func(s *story) {
		s.Control.SuspectAfter = time.Hour
		a := s.Start("a")
		s.leads(a, 0)
		buffered := request(0, s.batch("x", 0, -1))
		buffered.Acks = dataplanev1.Acks_ACKS_BUFFERED
		res, err := a.Client.Produce(s.ctx(time.Second), buffered)
		if err != nil || res.GetOutcomes()[0].GetBuffered() == nil {
			t.Fatalf("%v, %v", res, err)
		}
		time.Sleep(time.Second)
		a.Link.Cut(true)
		time.Sleep(28 * time.Second)
		if _, err := a.Client.Produce(s.ctx(time.Second), clone(buffered)); err != nil {
			t.Fatalf("before the deadline: %v", err)
		}
		time.Sleep(3 * time.Second)
		_, r := s.outcome(a.Client.Produce(s.ctx(time.Second), clone(buffered)))
		if r.GetReason() != refusalv1.Reason_REASON_NO_LEADER {
			t.Fatalf("past the deadline: %v", r)
		}
		meta, err := a.Client.GetMetadata(s.ctx(time.Second), &dataplanev1.GetMetadataRequest{Topics: []string{"orders"}})
		if err != nil || meta.GetTopics()[0].GetPartitions()[0].GetLeader().GetAgentId() != "" {
			t.Fatalf("it claims to lead: %v, %v", meta, err)
		}
	})
}

func TestP10_TheDeadlineCountsFromBeforeTheRequest(t *testing.T) {
	tell(t, 1, func(s *story) {
		s.Control.SuspectAfter, s.Control.SessionDuration = time.Hour, 10*time.Second
		a := s.Start("a")
		began := time.Now()
		s.leads(a, 0)
		a.Link.Slow("Heartbeat", 500*time.Millisecond)
		claims := func() bool {
			meta, err := a.Client.GetMetadata(s.ctx(time.Second), &dataplanev1.GetMetadataRequest{Topics: []string{"orders"}})
			if err != nil {
				t.Fatal(err)
			}
			return meta.GetTopics()[0].GetPartitions()[0].GetLeader().GetAgentId() == "a"
		}
		time.Sleep(time.Until(began.Add(5600 * time.Millisecond))) // the heartbeat of second 5 was answered at 5.5
		a.Link.Cut(true)
		time.Sleep(time.Until(began.Add(14800 * time.Millisecond)))
		if !claims() {
			t.Fatal("it has given up before its deadline")
		}
		time.Sleep(time.Until(began.Add(15200 * time.Millisecond)))
		if claims() {
			t.Fatal("it claims to lead past its deadline")
		}
	})
}

func TestSelfFencedAgentCarriesOnWhenTheControlPlaneIsBack(t *testing.T) {
	tell(t, 1, func(s *story) {
		s.Control.SuspectAfter, s.Control.SessionDuration = time.Hour, 10*time.Second
		a := s.Start("a")
		s.leads(a, 0)
		a.Link.Cut(true)
		time.Sleep(11 * time.Second)
		a.Link.Cut(false)
		s.store(a, 0, s.batch("x", 0, -1), 0)
	})
}

func TestTakeoverOfASilentAgent(t *testing.T) {
	tell(t, 4, func(s *story) {
		a, b := s.Start("a"), s.Start("b")
		s.leads(a, 0)
		s.store(a, 0, s.batch("x", 2, 0), 0)
		a.Link.Cut(true)
		began := time.Now()
		if _, r := s.produce(s.ctx(3*time.Second), b, 0, s.batch("y", 2, 1)); r.GetWritten() != refusalv1.Written_WRITTEN_POSSIBLY {
			t.Fatalf("forwarded to a silent leader: %v", r)
		}
		s.store(b, 0, s.batch("y", 2, 1), 1) // b leads by now
		if took := time.Since(began); took > 4*time.Second {
			t.Fatalf("took %v", took)
		}
		a.Link.Cut(false)
		s.store(a, 0, s.batch("z", 2, 2), 2) // a finds out and forwards
		if got := s.read(a, 0); !slices.Equal(got, []string{"x", "y", "z"}) {
			t.Fatalf("read %q", got)
		}
	})
}

func TestKilledAgentIsReplaced(t *testing.T) {
	tell(t, 4, func(s *story) {
		a, b := s.Start("a"), s.Start("b")
		s.leads(a, 0)
		s.store(b, 0, s.batch("x", 0, -1), 0)
		a.Kill()
		s.store(b, 0, s.batch("y", 0, -1), 1)
		if got := s.read(b, 0); !slices.Equal(got, []string{"x", "y"}) {
			t.Fatalf("read %q", got)
		}
	})
}

func TestUnfitAgentResignsAndComesBack(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		s.Bucket.Down(true)
		_, r := s.produce(s.ctx(15*time.Second), a, 0, s.batch("x", 0, -1))
		if r.GetWritten() != refusalv1.Written_WRITTEN_SURELY_NOT {
			t.Fatalf("refusal %v", r)
		}
		if id, _ := s.Control.Leader(s.part(0)); id != "" {
			t.Fatalf("%q still leads", id)
		}
		s.Bucket.Down(false)
		s.store(a, 0, s.batch("y", 0, -1), 0)
		if got := s.read(a, 0); !slices.Equal(got, []string{"y"}) {
			t.Fatalf("read %q", got)
		}
	})
}
