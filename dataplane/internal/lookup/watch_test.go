package lookup

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

func TestManyWaitersShareOneLookupAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{})
		defer r.stop()
		for n := range int32(100) {
			r.catalog.Add(id(n))
		}
		for i := range int32(1000) {
			defer r.index.Subscribe(id(i % 100)).Close()
		}
		time.Sleep(10*time.Second + time.Millisecond)
		calls := r.catalog.Calls()
		if len(calls) != 40 {
			t.Errorf("%d lookups in 10 s for 1,000 waiters, want 40", len(calls))
		}
		for _, c := range calls {
			if len(c.GetPartitions()) != 100 {
				t.Fatalf("a lookup of %d partitions, want 100", len(c.GetPartitions()))
			}
		}
	})
}

func TestManyPartitionsAreLookedUpOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{})
		defer r.stop()
		ids := make([]partition.ID, 5000)
		for n := range ids {
			ids[n] = id(int32(n))
			r.catalog.Add(ids[n])
		}
		defer r.index.Subscribe(ids...).Close()
		time.Sleep(10*time.Second + time.Millisecond)
		if n := len(r.catalog.Calls()); n < 50 || n > 60 {
			t.Errorf("%d lookups of 1,000 partitions in 10 s, want 5 a second", n)
		}
	})
}

func TestNobodyWaitsNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{})
		defer r.stop()
		r.index.Subscribe(id(0)).Close()
		time.Sleep(time.Minute)
		if n := len(r.catalog.Calls()); n != 0 {
			t.Errorf("%d lookups", n)
		}
	})
}

// wake waits for the subscription and returns how long that took and what it said.
func wake(t *testing.T, s *Subscription) (time.Duration, map[partition.ID]*refusalv1.Refusal) {
	t.Helper()
	began := time.Now()
	select {
	case <-s.Changed():
	case <-time.After(time.Minute):
		t.Fatal("nobody woke the reader")
	}
	return time.Since(began), s.Take()
}

func TestWaiterIsWokenByOthersCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{})
		defer r.stop()
		r.catalog.Add(id(0))
		r.ask(t, Query{Partition: id(0)})
		s := r.index.Subscribe(id(0))
		defer s.Close()
		time.Sleep(260 * time.Millisecond)
		r.catalog.Commit(id(0), segment(0, 5))
		if after, _ := wake(t, s); after != 240*time.Millisecond {
			t.Errorf("woken after %s, want at the next tick", after)
		}
		if state, found := r.index.Find(id(0), 0, 10); len(found) != 1 || state.HighWatermark != 5 {
			t.Errorf("the waker brought %+v %v, want the segment, too", state, found)
		}
	})
}

func TestWaiterIsWokenByOwnCommitsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{})
		defer r.stop()
		r.index.Led(id(0), 1, 0, 0)
		s := r.index.Subscribe(id(0))
		defer s.Close()
		r.index.Committed(partition.Committed{Partition: id(0), Epoch: 1, NextOffset: 3, ObjectKey: "o", SizeBytes: 1})
		if after, _ := wake(t, s); after != 0 {
			t.Errorf("woken after %s, want at once", after)
		}
	})
}

func TestLeaderChangeIsLookedUpAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{})
		defer r.stop()
		topic := id(0).Topic
		place := func(epoch int32, revision int64) {
			r.table.Apply(&controlplanev1.Placement{Revision: revision, Partitions: []*controlplanev1.PlacedPartition{
				{TopicId: topic[:], Partition: 0, LeaderAgentId: "b", Epoch: epoch, Revision: revision},
			}})
		}
		r.catalog.Add(id(0))
		r.ask(t, Query{Partition: id(0)})
		place(1, 1)
		s := r.index.Subscribe(id(0))
		defer s.Close()
		time.Sleep(260 * time.Millisecond) // a tick has seen the leader
		r.catalog.Commit(id(0), segment(0, 5))
		place(2, 2)
		if after, _ := wake(t, s); after != 0 {
			t.Errorf("woken after %s, want at once", after)
		}
		r.catalog.Commit(id(0), segment(5, 5))
		r.watch.Moved(id(0))
		if after, _ := wake(t, s); after != 0 {
			t.Errorf("woken after %s, want at once", after)
		}
	})
}

func TestWaiterHearsThatThePartitionIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{})
		defer r.stop()
		r.catalog.Add(id(0))
		s := r.index.Subscribe(id(0))
		defer s.Close()
		wake(t, s)
		r.catalog.Remove(id(0))
		if _, said := wake(t, s); said[id(0)].GetReason() != refusalv1.Reason_REASON_UNKNOWN_PARTITION {
			t.Errorf("the reader heard %v", said)
		}
	})
}

func TestFailingLookupsAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{})
		defer r.stop()
		r.catalog.Add(id(0))
		defer r.index.Subscribe(id(0)).Close()
		time.Sleep(time.Second)
		if !r.watch.FailingSince().IsZero() {
			t.Error("lookups fail before they do")
		}
		r.catalog.Fail(errors.New("connection refused"))
		time.Sleep(3 * time.Second)
		if failing := time.Since(r.watch.FailingSince()); failing < 2*time.Second || failing > 3*time.Second {
			t.Errorf("failing for %s, want nearly 3s", failing)
		}
		r.catalog.Fail(nil)
		time.Sleep(time.Second)
		if !r.watch.FailingSince().IsZero() {
			t.Error("lookups work again, and count as failing")
		}
	})
}
