package agent_test

import (
	"testing"
	"time"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// TestP1_NothingIsAcquiredBeforeTheEvidenceIsTaken: an agent that knows better than a catalog which went back says so first, in every session.
func TestP1_NothingIsAcquiredBeforeTheEvidenceIsTaken(t *testing.T) {
	tell(t, 1, func(s *story) {
		s.Control.Restart("1")
		a := s.Start("a")
		epoch := s.leads(a, 0)
		s.store(a, 0, s.batch("x", 0, -1), 0)
		time.Sleep(2 * time.Second)
		life, last, _ := s.Control.Shown("a")
		if life != "1" || last.GetObjectKey() == "" {
			t.Fatalf("shown for %q: %v", life, last)
		}
		s.Control.Expire("a")
		if again := s.leads(a, 0); again <= epoch {
			t.Fatalf("epoch %d after %d", again, epoch)
		}
		if _, _, unshown := s.Control.Shown("a"); unshown > 0 {
			t.Fatalf("%d leases were asked for before all was shown", unshown)
		}
		s.Control.Restart("2")
		time.Sleep(2500 * time.Millisecond)
		if life, _, _ := s.Control.Shown("a"); life != "2" {
			t.Fatalf("shown for %q, two heartbeats after a restart", life)
		}
	})
}

// TestP6_AHaltedCatalogsAgentTakesNoRecords: the refusal says surely not, at once, and ends with the halt.
func TestP6_AHaltedCatalogsAgentTakesNoRecords(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		s.store(a, 0, s.batch("x", 0, -1), 0)
		s.Control.Halt(true)
		time.Sleep(1500 * time.Millisecond)
		_, refused := s.produce(s.ctx(time.Second), a, 0, s.batch("y", 0, -1))
		if refused.GetReason() != refusalv1.Reason_REASON_CATALOG_HALTED || refused.GetWritten() != refusalv1.Written_WRITTEN_SURELY_NOT {
			t.Fatalf("refused with %v", refused)
		}
		s.Control.Halt(false)
		time.Sleep(1500 * time.Millisecond)
		s.store(a, 0, s.batch("z", 0, -1), 1)
	})
}
