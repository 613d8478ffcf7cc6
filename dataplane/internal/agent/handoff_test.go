package agent_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/controltest"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

// What things take in these tests: about what they take on a good day.
const (
	putTakes    = 20 * time.Millisecond
	commitTakes = 3 * time.Millisecond
	leaseTakes  = 2 * time.Millisecond // an acquire, a release
	watchTakes  = 60 * time.Millisecond
)

// pair is two agents at work that take time.
func (s *story) pair() (a, b *controltest.Node) {
	a, b = s.Start("a"), s.Start("b")
	s.Bucket.Delay(putTakes)
	for _, n := range []*controltest.Node{a, b} {
		n.Link.Slow("Commit", commitTakes)
		n.Link.Slow("Acquire", leaseTakes)
		n.Link.Slow("Release", leaseTakes)
		n.Link.Slow("Watch", watchTakes)
	}
	return a, b
}

// move hands a partition over and waits until its new leader leads.
func (s *story) move(p int32, to *controltest.Node) {
	s.t.Helper()
	s.Control.Assign(s.part(p), to.ID)
	s.leads(to, p)
}

// writers write until stopped, each its own sequence of values, and fail the test at the first refusal.
type writers struct {
	all  sync.WaitGroup
	stop chan struct{}

	mu    sync.Mutex
	worst time.Duration
}

func (w *writers) took(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.worst = max(w.worst, d)
}

// since returns the longest that a write has taken since the last call.
func (w *writers) since() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	worst := w.worst
	w.worst = 0
	return worst
}

func (w *writers) end() {
	close(w.stop)
	w.all.Wait()
}

func (w *writers) stopped() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

// write begins a writer of a partition that awaits each answer; change adjusts its requests.
func (s *story) write(w *writers, n *controltest.Node, p int32, name string, change func(i int, req *dataplanev1.ProduceRequest)) {
	w.all.Go(func() {
		for i := 0; !w.stopped(); i++ {
			req := request(p, s.batch(fmt.Sprintf("%s%d", name, i), 0, -1))
			change(i, req)
			began := time.Now()
			if _, r := s.outcome(n.Client.Produce(s.ctx(30*time.Second), req)); r != nil {
				s.t.Errorf("%s%d: %v", name, i, r)
				return
			}
			w.took(time.Since(began))
			if req.GetAcks() == dataplanev1.Acks_ACKS_BUFFERED {
				time.Sleep(5 * time.Millisecond)
			}
		}
	})
}

// pipeline begins an idempotent producer with several batches in flight.
func (s *story) pipeline(w *writers, n *controltest.Node, p int32, id int64) {
	slots := make(chan struct{}, 4)
	w.all.Go(func() {
		var inFlight sync.WaitGroup
		defer inFlight.Wait()
		for seq := int32(0); !w.stopped(); seq++ {
			slots <- struct{}{}
			req := request(p, s.batch(fmt.Sprintf("%d-%d", id, seq), id, seq))
			inFlight.Go(func() {
				defer func() { <-slots }()
				if _, r := s.outcome(n.Client.Produce(s.ctx(30*time.Second), req)); r != nil {
					s.t.Errorf("%d-%d: %v", id, seq, r)
				}
			})
			time.Sleep(4 * time.Millisecond)
		}
	})
}

func TestNothingIsRefusedWhileAPartitionMoves(t *testing.T) {
	tell(t, 3, func(s *story) {
		a, b := s.pair()
		c := s.Start("c")
		w := &writers{stop: make(chan struct{})}
		plain := func(int, *dataplanev1.ProduceRequest) {}
		direct := func(_ int, req *dataplanev1.ProduceRequest) { req.NoForward = true }
		for p := range int32(3) {
			s.move(p, a)
		}
		for i, n := range []*controltest.Node{a, b, c} {
			s.write(w, n, 0, n.ID+":", plain)
			s.pipeline(w, n, 0, int64(10+i))
		}
		s.write(w, a, 1, "offset:", func(i int, req *dataplanev1.ProduceRequest) { req.Entries[0].ExpectedOffset = new(int64(i)) })
		s.write(w, a, 2, "direct:", direct)
		s.write(w, a, 2, "buffered:", func(_ int, req *dataplanev1.ProduceRequest) { req.Acks = dataplanev1.Acks_ACKS_BUFFERED })
		for i := range 20 {
			time.Sleep(time.Duration(150+7*i) * time.Millisecond)
			to := []*controltest.Node{b, a}[i%2]
			for p := range int32(3) {
				s.Control.Assign(s.part(p), to.ID)
			}
			for p := range int32(3) {
				s.leads(to, p)
			}
		}
		w.end()
		time.Sleep(time.Second) // what was only buffered is flushed
		for p := range int32(3) {
			inOrder(t, s.read(c, p))
		}
	})
}

// inOrder checks that the values of each writer are there in order, each once: they are the writer's name and a number.
func inOrder(t *testing.T, values []string) {
	t.Helper()
	next := map[string]int{}
	for _, value := range values {
		at := len(value)
		for at > 0 && value[at-1] >= '0' && value[at-1] <= '9' {
			at--
		}
		name := value[:at]
		if want := fmt.Sprintf("%s%d", name, next[name]); value != want {
			t.Fatalf("read %q, want %q", value, want)
		}
		next[name]++
	}
	for name, n := range next {
		if n < 20 {
			t.Errorf("writer %q wrote %d times", name, n)
		}
	}
}

// Producers of a partition that moves wait, at the median, less than one PUT and one commit more than others: the batches on their way are uploaded
// and committed at once, the release grants the partition to the successor, which is told so and asks for its lease while the waiting batches reach
// it. The worst is a batch that comes right after the last object was sealed: it waits for that, the release and the acquire. The feed, which is
// slow here, is waited for by nobody.
func TestAHandOffCostsAboutOnePutAndOneCommit(t *testing.T) {
	tell(t, 1, func(s *story) {
		a, b := s.pair()
		s.move(0, a)
		w := &writers{stop: make(chan struct{})}
		for i := range 8 {
			s.write(w, a, 0, fmt.Sprintf("w%d:", i), func(int, *dataplanev1.ProduceRequest) {})
		}
		var extra []time.Duration
		for i := range 100 {
			time.Sleep(time.Duration(100+i%23) * time.Millisecond)
			usual := w.since()
			s.move(0, []*controltest.Node{b, a}[i%2])
			time.Sleep(200 * time.Millisecond)
			extra = append(extra, w.since()-usual)
		}
		w.end()
		slices.Sort(extra)
		median, p95 := extra[len(extra)/2], extra[len(extra)*95/100]
		t.Logf("extra latency over %d hand-offs: median %v, 95th percentile %v, most %v", len(extra), median, p95, extra[len(extra)-1])
		if object, leases := putTakes+commitTakes, 2*leaseTakes; median >= object || p95 > object+leases {
			t.Errorf("an object takes %v, release and acquire %v", object, leases)
		}
	})
}
