package notice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"
	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func id(n int32) partition.ID { return partition.ID{Topic: object.UUID{1, 2, 3}, Number: n} }

// leader is another agent: a board, and how it answers.
type leader struct {
	dataplanev1connect.UnimplementedPeerServiceHandler
	*Board
	server *connect.Server

	mu       sync.Mutex
	stopping chan struct{}
	down     bool
	opened   int
	mute     bool // says nothing, as a stopped process
}

func newLeader() *leader {
	l := &leader{Board: NewBoard(), server: connect.NewServer(), stopping: make(chan struct{})}
	dataplanev1connect.RegisterPeerServiceHandler(l.server, l)
	return l
}

func (l *leader) Notices(ctx context.Context, stream dataplanev1connect.PeerServiceNoticesServerStream) error {
	l.mu.Lock()
	l.opened++
	stopping, mute := l.stopping, l.mute
	l.mu.Unlock()
	if mute {
		<-ctx.Done()
		return nil
	}
	return l.Serve(ctx, stopping, stream.Receive, stream.Send)
}

// cut ends all streams.
func (l *leader) cut(down, mute bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.stopping)
	l.stopping, l.down, l.mute = make(chan struct{}), down, mute
}

func (l *leader) streams() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.opened
}

// commits is what the leader writes to a partition: n segments of one record each, from base on.
func (l *leader) commits(p partition.ID, base int64, n int) {
	for i := range int64(n) {
		l.Committed(partition.Committed{
			Partition: p, Epoch: 1, BaseOffset: base + i, NextOffset: base + i + 1, ObjectKey: fmt.Sprint(base + i), SizeBytes: 10, ObjectBytes: 100,
		})
	}
}

// routes says who leads.
type routes struct {
	mu      sync.Mutex
	leaders map[partition.ID]string
	changed chan struct{}
}

func (r *routes) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

func (r *routes) Leader(p partition.ID) route.Leader {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := r.leaders[p]
	if name == "" {
		return route.Leader{}
	}
	return route.Leader{Agent: route.Agent{ID: name, Address: "http://" + name}}
}

func (r *routes) lead(name string, partitions ...partition.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range partitions {
		r.leaders[p] = name
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// rig is a listener "me" and two leaders, "a" and "b".
type rig struct {
	*Listener
	t       *testing.T
	index   *lookup.Index
	routes  *routes
	leaders map[string]*leader

	mu    sync.Mutex
	asked map[partition.ID]int // catalog lookups
}

func inBubble(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		index, err := lookup.NewIndex(lookup.IndexConfig{})
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{
			t: t, index: index, routes: &routes{leaders: map[partition.ID]string{}, changed: make(chan struct{})},
			leaders: map[string]*leader{"http://a": newLeader(), "http://b": newLeader()}, asked: map[partition.ID]int{},
		}
		r.Listener = NewListener("me", r.routes, index, r.ask, r.openLeader, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = r.Run(ctx) })
		defer running.Wait()
		defer cancel()
		test(t, r)
	})
}

func (r *rig) openLeader(ctx context.Context, address string) (Stream, error) {
	l := r.leaders[address]
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return nil, errors.New("refused")
	}
	return dataplanev1connect.NewPeerServiceClient(connect.NewClient(connectinprocess.New(l.server))).Notices(ctx)
}

func (r *rig) ask(p partition.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[p]++
}

func (r *rig) asks(p partition.ID) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[p]
}

// woken expects the reader to wake within d, and to find a partition's end.
func (r *rig) woken(s *lookup.Subscription, p partition.ID, end int64) {
	r.t.Helper()
	synctest.Wait()
	select {
	case <-s.Changed():
	default:
		r.t.Fatalf("nobody woke the reader of %s", p)
	}
	s.Take()
	if state, _ := r.index.State(p); state.HighWatermark != end {
		r.t.Fatalf("%s ends at %d, want %d", p, state.HighWatermark, end)
	}
}

func TestReaderWakesAtTheCommitAndKnowsWhereItIs(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		a := r.leaders["http://a"]
		a.Led(id(0), 1, 0, 5)
		r.routes.lead("a", id(0))
		s := r.index.Subscribe(id(0))
		defer s.Close()
		r.woken(s, id(0), 5) // what was committed before it listened
		a.commits(id(0), 5, 1)
		r.woken(s, id(0), 6)
		if _, found := r.index.Find(id(0), 5, 10); len(found) != 1 || found[0].ObjectKey != "5" || found[0].ObjectBytes != 100 {
			t.Errorf("found %+v", found)
		}
		a.commits(id(0), 6, 3) // faster than they are sent
		r.woken(s, id(0), 9)
		if _, found := r.index.Find(id(0), 6, 10); len(found) != 3 {
			t.Errorf("found %+v, want three segments", found)
		}
		if n := r.asks(id(0)); n != 0 {
			t.Errorf("the catalog was asked %d times", n)
		}
	})
}

func TestOneStreamALeader(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for n := range int32(100) {
			name := []string{"a", "b"}[n%2]
			r.leaders["http://"+name].Led(id(n), 1, 0, 0)
			r.routes.lead(name, id(n))
			defer r.index.Subscribe(id(n)).Close()
		}
		synctest.Wait()
		if a, b, now := r.leaders["http://a"].streams(), r.leaders["http://b"].streams(), r.Streams(); a != 1 || b != 1 || now != 2 {
			t.Errorf("%d and %d streams were opened, %d stand", a, b, now)
		}
	})
}

func TestNobodyWaitsNobodyListens(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		a := r.leaders["http://a"]
		a.Led(id(0), 1, 0, 0)
		r.routes.lead("a", id(0))
		for range 20 { // one that polls is listened for between its polls
			r.index.Subscribe(id(0)).Close()
			time.Sleep(time.Second)
		}
		if a.streams() != 1 || r.Streams() != 1 {
			t.Errorf("%d streams were opened, %d stand", a.streams(), r.Streams())
		}
		time.Sleep(3 * lingerInterval)
		if r.Streams() != 0 {
			t.Error("it goes on listening")
		}
	})
}

func TestBrokenStreamHasTheCatalogAskedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		a := r.leaders["http://a"]
		a.Led(id(0), 1, 0, 0)
		r.routes.lead("a", id(0))
		s := r.index.Subscribe(id(0))
		defer s.Close()
		synctest.Wait()
		s.Take()
		a.cut(true, false)
		synctest.Wait()
		if n := r.asks(id(0)); n != 1 {
			t.Fatalf("the catalog was asked %d times, want once, at once", n)
		}
		time.Sleep(time.Minute)
		if n := r.asks(id(0)); n != 1 {
			t.Errorf("the catalog was asked %d times for an agent that stays away", n)
		}
		a.commits(id(0), 0, 1)
		a.mu.Lock()
		a.down = false
		a.mu.Unlock()
		time.Sleep(lastWait)
		r.woken(s, id(0), 1)
	})
}

func TestSilentStreamCountsAsBroken(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		a := r.leaders["http://a"]
		a.Led(id(0), 1, 0, 0)
		a.mute = true
		r.routes.lead("a", id(0))
		defer r.index.Subscribe(id(0)).Close()
		time.Sleep(20 * time.Second)
		if n := a.streams(); n < 4 || n > 7 {
			t.Errorf("%d streams were opened to an agent that says nothing for 20 s", n)
		}
	})
}

func TestAnotherLeaderIsListenedTo(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		a, b := r.leaders["http://a"], r.leaders["http://b"]
		a.Led(id(0), 1, 0, 0)
		r.routes.lead("a", id(0))
		s := r.index.Subscribe(id(0))
		defer s.Close()
		a.commits(id(0), 0, 1)
		r.woken(s, id(0), 1)
		a.Moved(id(0), 1)
		synctest.Wait()
		if r.asks(id(0)) != 1 {
			t.Error("nobody asks the catalog about a partition that moved")
		}
		b.Led(id(0), 2, 0, 1)
		r.routes.lead("b", id(0))
		synctest.Wait()
		b.Committed(partition.Committed{Partition: id(0), Epoch: 2, BaseOffset: 1, NextOffset: 2, ObjectKey: "x", SizeBytes: 1})
		r.woken(s, id(0), 2)
		if r.Streams() != 1 {
			t.Errorf("%d streams stand", r.Streams())
		}
	})
}

// TestSlowCallerGetsFewerAndNewerNotices: nothing piles up for an agent that takes nothing.
func TestSlowCallerGetsFewerAndNewerNotices(t *testing.T) {
	b := NewBoard()
	c, err := b.join()
	if err != nil {
		t.Fatal(err)
	}
	for n := range int32(3) {
		b.Led(id(n), 1, 0, 0)
		if err := b.change(c, &dataplanev1.NoticesRequest{Add: []*dataplanev1.PeerPartition{wire(id(n))}}); err != nil {
			t.Fatal(err)
		}
	}
	b.take(c)
	for i := range int64(1000) {
		for n := range int32(2) {
			b.Committed(partition.Committed{Partition: id(n), Epoch: 1, BaseOffset: i, NextOffset: i + 1, ObjectKey: "o", SizeBytes: 1})
		}
	}
	notices := b.take(c)
	if len(notices) != 2*remembered || len(b.take(c)) != 0 {
		t.Fatalf("%d notices of 2,000 commits", len(notices))
	}
	newest := map[int32]int64{}
	for _, n := range notices {
		if at := n.GetPartition().GetPartition(); n.GetHighWatermark() <= newest[at] {
			t.Errorf("%d comes after %d", n.GetHighWatermark(), newest[at])
		} else {
			newest[at] = n.GetHighWatermark()
		}
	}
	if newest[0] != 1000 || newest[1] != 1000 {
		t.Errorf("newest %v", newest)
	}
	if n := b.Coalesced(); n != 2*999 {
		t.Errorf("%d coalesced", n)
	}
	b.leave(c)
	if len(b.hearing) != 0 {
		t.Errorf("%d partitions are heard by nobody", len(b.hearing))
	}
}

// TestCommitOfAnEndedTenureIsNotTold: who listens was told that the partition moved, and shall not be told of an end from before that.
func TestCommitOfAnEndedTenureIsNotTold(t *testing.T) {
	b := NewBoard()
	b.Led(id(0), 3, 0, 7)
	b.Moved(id(0), 3)
	b.Committed(partition.Committed{Partition: id(0), Epoch: 3, BaseOffset: 7, NextOffset: 8})
	if len(b.led) != 0 {
		t.Error("a partition that it does not lead is remembered")
	}
	b.Led(id(0), 4, 0, 8)
	b.Moved(id(0), 3) // late
	if b.led[id(0)] == nil {
		t.Error("the end of an old tenure ended the new one")
	}
}

func TestBoundsOfABoard(t *testing.T) {
	b := NewBoard()
	for range maxCallers {
		if _, err := b.join(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.join(); err == nil {
		t.Error("one caller too many is taken")
	}
}
