package agent_test

import (
	"testing"
	"time"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

// Ten thousand partitions are acquired in calls of a thousand, several at once, and handed over in waves, while a producer of one of them sees no error
// and no long wait.
func TestTenThousandPartitionsMoveInWaves(t *testing.T) {
	if testing.Short() {
		t.Skip("ten thousand partitions take seconds")
	}
	const partitions = 10_000
	tell(t, partitions, func(s *story) {
		a, b := s.pair()
		s.leadAll(a.ID, partitions)
		for _, n := range []string{a.ID, b.ID} {
			s.Control.Calls(n) // forget what came before
		}
		const callTakes = 50 * time.Millisecond // a thousand leases are no small transaction
		a.Link.Slow("Release", callTakes)
		b.Link.Slow("Acquire", callTakes)
		w := &writers{stop: make(chan struct{})}
		s.write(w, a, 17, "w:", func(int, *dataplanev1.ProduceRequest) {})
		time.Sleep(time.Second)
		usual := w.since()
		began := time.Now()
		s.Control.AssignAll(s.topic, b.ID)
		s.leadAll(b.ID, partitions)
		took := time.Since(began)
		time.Sleep(time.Second)
		w.end()
		extra := w.since() - usual
		t.Logf("moved in %v; the producer waited %v longer than usual; calls %v", took, extra, s.Control.Calls(a.ID))
		if took > 5*time.Second || extra > 500*time.Millisecond {
			t.Errorf("moved in %v, the producer waited %v longer than usual", took, extra)
		}
	})
}

// leadAll waits until an agent leads every partition.
func (s *story) leadAll(agent string, partitions int) {
	s.t.Helper()
	for range 3000 {
		if s.Control.Led(agent) == partitions {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatalf("%s leads %d partitions", agent, s.Control.Led(agent))
}
