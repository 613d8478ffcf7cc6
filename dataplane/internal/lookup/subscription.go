package lookup

import (
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Subscription collects the partitions of one reader that may have more to read. What nobody takes
// is kept once a partition, so a slow reader costs no more than its partitions.
type Subscription struct {
	index   *Index
	changed chan struct{} // capacity 1: set when dirty is not empty

	// All guarded by index.mu.
	partitions map[partition.ID]struct{}
	dirty      map[partition.ID]*refusalv1.Refusal
}

// Subscribe lets a reader wait for partitions. Subscribe first, then read the index, then wait: so
// no change is missed. The caller must Close it.
func (x *Index) Subscribe(partitions ...partition.ID) *Subscription {
	s := &Subscription{
		index: x, changed: make(chan struct{}, 1),
		partitions: make(map[partition.ID]struct{}, len(partitions)),
		dirty:      make(map[partition.ID]*refusalv1.Refusal),
	}
	s.Add(partitions...)
	return s
}

// Add waits for more partitions. Not after Close.
func (s *Subscription) Add(partitions ...partition.ID) {
	x := s.index
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range partitions {
		s.partitions[p] = struct{}{}
		if x.waiting[p] == nil {
			x.waiting[p] = make(map[*Subscription]struct{}, 1)
			x.awaited.flip(p)
		}
		x.waiting[p][s] = struct{}{}
	}
}

// Changed is readable when Take has something.
func (s *Subscription) Changed() <-chan struct{} { return s.changed }

// Take returns the partitions that may have more since the last Take, with the catalog's refusal
// where they are gone.
func (s *Subscription) Take() map[partition.ID]*refusalv1.Refusal {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	taken := s.dirty
	s.dirty = make(map[partition.ID]*refusalv1.Refusal)
	return taken
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	for p := range s.partitions {
		delete(s.index.waiting[p], s)
		if len(s.index.waiting[p]) == 0 {
			delete(s.index.waiting, p)
			s.index.awaited.flip(p)
		}
	}
	s.partitions = nil
}

func (s *Subscription) mark(p partition.ID, refusal *refusalv1.Refusal) {
	s.dirty[p] = refusal
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
