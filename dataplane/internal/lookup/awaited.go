package lookup

import "github.com/streamhouse/streamhouse/dataplane/internal/partition"

// Awaited follows which partitions somebody waits for, for the sake of those who listen to other agents.
type Awaited struct {
	index   *Index
	changed chan struct{} // capacity 1: set when flipped is not empty

	flipped map[partition.ID]struct{} // guarded by index.mu; each of them once, however often it changes
}

// Follow starts to follow who waits. An index has one follower; those who wait already are in its first Take.
func (x *Index) Follow() *Awaited {
	a := &Awaited{index: x, changed: make(chan struct{}, 1), flipped: make(map[partition.ID]struct{})}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.awaited = a
	for p := range x.waiting {
		a.flip(p)
	}
	return a
}

// Changed is readable when Take has something.
func (a *Awaited) Changed() <-chan struct{} { return a.changed }

// Take returns the partitions that may have changed since the last Take: true for those that somebody waits for now.
func (a *Awaited) Take() map[partition.ID]bool {
	a.index.mu.Lock()
	defer a.index.mu.Unlock()
	taken := make(map[partition.ID]bool, len(a.flipped))
	for p := range a.flipped {
		taken[p] = len(a.index.waiting[p]) > 0
	}
	clear(a.flipped)
	return taken
}

// flip requires index.mu.
func (a *Awaited) flip(p partition.ID) {
	if a == nil {
		return
	}
	a.flipped[p] = struct{}{}
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

// Waiting is how many partitions somebody waits for.
func (x *Index) Waiting() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.waiting)
}

func (x *Index) isAwaited(p partition.ID) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.waiting[p]) > 0
}

// queries asks about the partitions that somebody waits for: for segments from the known end on, so that the answer that says "there is
// more" also says where.
func (x *Index) queries(only func(partition.ID) bool) []Query {
	x.mu.Lock()
	defer x.mu.Unlock()
	queries := make([]Query, 0, len(x.waiting))
	for p := range x.waiting {
		if !only(p) {
			continue
		}
		q := Query{Partition: p}
		if el := x.known[p]; el != nil {
			e := el.Value.(*entry) //nolint:forcetypeassert // only entries are put in
			q.By, q.At, q.MaxSegments = ByOffset, e.state.HighWatermark, awaitedSegments
		}
		queries = append(queries, q)
	}
	return queries
}
