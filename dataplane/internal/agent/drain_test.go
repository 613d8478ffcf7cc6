package agent_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

func clone[M proto.Message](m M) M { return proto.CloneOf(m) }

func TestDrainHandsOverWithoutAnError(t *testing.T) {
	tell(t, 4, func(s *story) {
		a, b := s.Start("a"), s.Start("b")
		s.leads(a, 0)
		s.Bucket.Delay(30 * time.Millisecond)
		var writers sync.WaitGroup
		stop := make(chan struct{})
		counts := make([]int64, 4)
		for p := range int32(4) {
			writers.Go(func() {
				for i := int64(0); ; i++ {
					select {
					case <-stop:
						counts[p] = i
						return
					default:
						s.store(a, p, s.batch(fmt.Sprint(i), 0, -1), i) // always the one that goes
					}
				}
			})
		}
		time.Sleep(time.Second)
		a.Stop()
		time.Sleep(2 * time.Second)
		close(stop)
		writers.Wait()
		if !a.Running() {
			t.Fatal("it does not linger")
		}
		for p := range int32(4) {
			s.leads(b, p)
		}
		if err := a.Wait(); err != nil {
			t.Fatal(err)
		}
		if s.Control.Sessions() != 1 {
			t.Fatalf("%d sessions", s.Control.Sessions())
		}
		for p, count := range counts {
			if got := int64(len(s.read(b, int32(p)))); got != count || count < 20 {
				t.Fatalf("partition %d: %d acknowledged, %d read", p, count, got)
			}
		}
	})
}

func TestAnOperatorDrainsAnAgent(t *testing.T) {
	tell(t, 4, func(s *story) {
		a, b := s.Start("a"), s.Start("b")
		s.leads(a, 0)
		w := &writers{stop: make(chan struct{})}
		for p := range int32(4) {
			s.write(w, a, p, fmt.Sprintf("%d:", p), func(int, *dataplanev1.ProduceRequest) {})
		}
		s.Bucket.Delay(putTakes)
		time.Sleep(2500 * time.Millisecond) // between two heartbeats
		began := time.Now()
		s.Control.Drain("a")
		for p := range int32(4) {
			s.leads(b, p)
		}
		if took := time.Since(began); took > 300*time.Millisecond {
			t.Errorf("handing over took %v", took)
		}
		time.Sleep(time.Second)
		w.end()
		if err := a.Wait(); err != nil {
			t.Fatal(err)
		}
		for p := range int32(4) {
			inOrder(t, s.read(b, p))
		}
		again := s.Start("a") // the order was for the session, not for the name
		s.Control.Assign(s.part(0), "a")
		s.leads(again, 0)
		time.Sleep(10 * time.Second)
		if !again.Running() {
			t.Error("it was drained again")
		}
	})
}

func TestLastAgentFlushesAndReleases(t *testing.T) {
	tell(t, 2, func(s *story) {
		a := s.Start("a")
		s.leads(a, 1)
		s.Bucket.Delay(300 * time.Millisecond)
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.store(a, 0, s.batch("x", 0, -1), 0)
		}()
		time.Sleep(50 * time.Millisecond)
		began := time.Now()
		a.Stop()
		<-done
		if err := a.Wait(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("took %v: nobody is left to linger for", took)
		}
		if s.Control.Sessions() != 0 {
			t.Fatal("its session lives on")
		}
		b := s.Start("b")
		s.store(b, 0, s.batch("y", 0, -1), 1)
		if got := s.read(b, 0); !slices.Equal(got, []string{"x", "y"}) {
			t.Fatalf("read %q", got)
		}
	})
}

func TestP6_HardStopSaysWhatWasNotWritten(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		s.Bucket.Down(true)
		got := make(chan *refusalv1.Refusal, 1)
		go func() {
			_, r := s.produce(s.ctx(30*time.Second), a, 0, s.batch("x", 0, -1))
			got <- r
		}()
		time.Sleep(time.Second)
		a.Kill()
		if r := <-got; r.GetWritten() != refusalv1.Written_WRITTEN_SURELY_NOT || r.GetReason() != refusalv1.Reason_REASON_NO_LEADER {
			t.Fatalf("refusal %v", r)
		}
	})
}

func TestNoForwardNamesTheLeaderAndPlacementMovesPartitions(t *testing.T) {
	tell(t, 2, func(s *story) {
		a, b := s.Start("a"), s.Start("b")
		s.leads(a, 0)
		direct := func(n int64) *refusalv1.Refusal {
			req := request(0, s.batch("x", 0, -1))
			req.NoForward = true
			off, r := s.outcome(b.Client.Produce(s.ctx(10*time.Second), req))
			if r == nil && off != n {
				t.Fatalf("offset %d", off)
			}
			return r
		}
		time.Sleep(time.Second)
		if r := direct(0); r.GetReason() != refusalv1.Reason_REASON_NOT_LEADER || r.GetLeader().GetAddress() != "http://a" {
			t.Fatalf("refusal %v", r)
		}
		s.Control.Assign(s.part(0), "b")
		s.leads(b, 0)
		if r := direct(0); r != nil {
			t.Fatalf("refusal %v", r)
		}
		req := request(0, s.batch("y", 0, -1))
		req.NoForward = true // a has just handed it over: it forwards all the same
		if off, r := s.outcome(a.Client.Produce(s.ctx(time.Second), req)); r != nil || off != 1 {
			t.Fatalf("offset %d, refusal %v", off, r)
		}
		time.Sleep(10 * time.Second)
		if _, r := s.outcome(a.Client.Produce(s.ctx(time.Second), clone(req))); r.GetReason() != refusalv1.Reason_REASON_NOT_LEADER {
			t.Fatalf("refusal %v", r)
		}
	})
}

// Placement moves partitions bit by bit: as long as it does, an agent that drains gives nothing to nobody.
func TestADrainWaitsWhilePlacementIsAtWork(t *testing.T) {
	tell(t, 8, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		b := s.Start("b")
		s.Control.Hold(true)
		w := &writers{stop: make(chan struct{})}
		s.write(w, a, 7, "7:", func(int, *dataplanev1.ProduceRequest) {})
		s.Control.Drain("a")
		for p := range int32(8) {
			time.Sleep(3 * time.Second)
			s.move(p, b)
		}
		time.Sleep(time.Second)
		w.end()
		if worst := w.since(); worst > time.Second {
			t.Errorf("a producer waited %v", worst)
		}
	})
}
