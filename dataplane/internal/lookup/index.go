package lookup

import (
	"container/list"
	"fmt"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// maxPartitionSegments bounds what is remembered of one partition.
const maxPartitionSegments = 1000

// IndexConfig bounds the index. A zero field means its default.
type IndexConfig struct {
	// MaxEntries bounds segments plus partitions, each some 250 bytes; default 200,000, at least
	// 10,000. The partitions used longest ago are forgotten first.
	MaxEntries int
}

// Index is what this agent knows to be committed: never more than the catalog has, often less. It
// also knows who waits for more of a partition.
//
// Invariant: of one incarnation, a partition's high watermark, log start and epoch never go back.
type Index struct {
	maxEntries int

	mu      sync.Mutex
	known   map[partition.ID]*list.Element // of *entry
	recent  list.List                      // the one used last in front
	entries int                            // sum of cost
	adopted partition.Epoch                // incarnation of this agent's session
	waiting map[partition.ID]map[*Subscription]struct{}
	read    map[partition.ID]struct{} // found in memory since the watch last took them; all of them known
	awaited *Awaited                  // nil: nobody follows who waits
}

type entry struct {
	partition partition.ID
	state     State
	segments  segments
	since     time.Time // of segments, when the first of them became known
	confirmed time.Time // when the newest lookup that was answered was sent; zero: the catalog was never asked
}

func (e *entry) cost() int { return 1 + len(e.segments) }

// NewIndex returns an index that knows nothing yet.
func NewIndex(config IndexConfig) (*Index, error) {
	if config.MaxEntries == 0 {
		config.MaxEntries = 200_000
	}
	if config.MaxEntries < 10_000 {
		return nil, fmt.Errorf("index entries %d: must be at least 10000", config.MaxEntries)
	}
	return &Index{
		maxEntries: config.MaxEntries,
		known:      make(map[partition.ID]*list.Element),
		waiting:    make(map[partition.ID]map[*Subscription]struct{}),
		read:       make(map[partition.ID]struct{}),
	}, nil
}

// State is what is known of the partition; false: nothing.
func (x *Index) State(p partition.ID) (State, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.use(p); e != nil {
		return e.state, true
	}
	return State{}, false
}

// Find returns up to n contiguous segments from the one that holds offset on, and the state that goes
// with them. None: the catalog has to be asked; it does not mean that there is nothing.
func (x *Index) Find(p partition.ID, offset int64, n int) (State, []Segment) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.use(p)
	if e == nil || offset < e.state.LogStart || offset >= e.state.HighWatermark {
		return State{}, nil
	}
	found := e.segments.find(offset, n)
	if len(found) > 0 {
		x.read[p] = struct{}{}
	}
	return e.state, found
}

// Led notes what this agent was told when it became the partition's leader.
func (x *Index) Led(p partition.ID, epoch partition.Epoch, logStartOffset, highWatermark int64) {
	x.learn(p, Answer{State: State{Epoch: epoch, LogStart: logStartOffset, HighWatermark: highWatermark}})
}

// Committed adds a segment that this agent has just committed, and wakes who waits for it.
func (x *Index) Committed(c partition.Committed) {
	x.learn(c.Partition, Answer{
		State:    State{Epoch: c.Epoch, LogStart: c.LogStartOffset, HighWatermark: c.NextOffset},
		Segments: []Segment{SegmentOf(c)},
	})
}

// Noticed adds what the partition's leader says to have committed: the high watermark, and the segment that ended there, where it says
// so (else nil). It wakes who waits for it. Who leads in an earlier incarnation than this agent's is not heard.
func (x *Index) Noticed(p partition.ID, epoch partition.Epoch, highWatermark int64, s *Segment) {
	a := Answer{State: State{Epoch: epoch, HighWatermark: highWatermark}}
	if a.State.incarnation() < x.incarnation() {
		return
	}
	if s != nil {
		a.Segments = []Segment{*s}
	}
	x.learn(p, a)
}

func (x *Index) incarnation() partition.Epoch {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.adopted
}

// Forget drops the partition's segments, so that the next read asks the catalog.
func (x *Index) Forget(p partition.ID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e := x.use(p); e != nil {
		x.entries -= len(e.segments)
		e.segments = nil
	}
}

// Adopted forgets what is known from before this incarnation: the catalog may have given those offsets to others.
func (x *Index) Adopted(incarnation int32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.adopted = incarnation
	for p, el := range x.known {
		if el.Value.(*entry).state.incarnation() < incarnation { //nolint:forcetypeassert // only entries are put in
			x.drop(p)
		}
	}
}

// learn merges what the catalog said. It does not count as a use: what is written and never read goes
// first.
func (x *Index) learn(p partition.ID, a Answer) {
	x.mu.Lock()
	defer x.mu.Unlock()
	el := x.known[p]
	if a.Refusal != nil {
		x.drop(p)
		x.notify(p, a.Refusal)
		return
	}
	if el == nil {
		el = x.recent.PushFront(&entry{partition: p, state: State{HighWatermark: -1}})
		x.known[p] = el
		x.entries++
	}
	x.merge(el.Value.(*entry), a) //nolint:forcetypeassert // only entries are put in
	x.evict()
}

func (x *Index) merge(e *entry, a Answer) {
	before := e.state
	switch known, told := before.incarnation(), a.State.incarnation(); {
	case told < known:
		return // from before the catalog was restored
	case told > known:
		x.entries -= len(e.segments)
		e.state, e.segments = a.State, nil
	default:
		e.state = newest(before, a.State)
	}
	x.entries -= len(e.segments)
	if len(e.segments) == 0 {
		e.since = time.Now()
	}
	e.segments = e.segments.insert(a.Segments, maxPartitionSegments).after(e.state.LogStart)
	x.entries += len(e.segments)
	if e.state.HighWatermark != before.HighWatermark {
		x.notify(e.partition, nil)
	}
}

// newest joins two states of one incarnation: answers may arrive in another order than they were read.
func newest(a, b State) State {
	s := a
	if b.Epoch > a.Epoch || (b.Epoch == a.Epoch && b.HighWatermark >= a.HighWatermark) {
		s = b
	}
	s.LogStart = max(a.LogStart, b.LogStart)
	s.HighWatermark = max(a.HighWatermark, b.HighWatermark)
	return s
}

func (x *Index) evict() {
	for x.entries > x.maxEntries && x.recent.Len() > 1 {
		x.drop(x.recent.Back().Value.(*entry).partition) //nolint:forcetypeassert // only entries are put in
	}
}

func (x *Index) drop(p partition.ID) {
	if el := x.known[p]; el != nil {
		x.entries -= x.recent.Remove(el).(*entry).cost() //nolint:forcetypeassert // only entries are put in
		delete(x.known, p)
		delete(x.read, p)
	}
}

// use returns the partition's entry, if there is one, as the one used last.
func (x *Index) use(p partition.ID) *entry {
	el := x.known[p]
	if el == nil {
		return nil
	}
	x.recent.MoveToFront(el)
	return el.Value.(*entry) //nolint:forcetypeassert // only entries are put in
}

// notify wakes who waits for the partition.
func (x *Index) notify(p partition.ID, refusal *refusalv1.Refusal) {
	for s := range x.waiting[p] {
		s.mark(p, refusal)
	}
}
