package notice

import (
	"sync"
	"sync/atomic"

	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
)

const (
	// remembered is how many of a partition's last segments can be told; a listener that missed more looks them up.
	remembered = 4
	// maxCallers bounds the streams to other agents.
	maxCallers = 1024
	// maxPartitions bounds what one of them listens to.
	maxPartitions = 200_000
)

// Board tells other agents what this one commits. It is a partition.Observer, safe for concurrent use, and has no goroutine of its own.
type Board struct {
	mu      sync.Mutex
	led     map[partition.ID]*standing            // what this agent leads
	hearing map[partition.ID]map[*caller]struct{} // who listens
	callers int

	sent, coalesced atomic.Int64
}

var _ partition.Observer = (*Board)(nil)

// standing is where a partition that is led here stands.
type standing struct {
	epoch         partition.Epoch
	highWatermark int64
	last          []lookup.Segment // at most remembered, oldest first, contiguous up to the high watermark; empty: nothing is remembered
}

// caller is an agent that listens.
type caller struct {
	ready chan struct{} // capacity 1: set when pending is not empty

	// All guarded by Board.mu.
	partitions map[partition.ID]struct{}
	pending    map[partition.ID]int64 // with news: the offset up to which it has been told, -1: of nothing
}

// NewBoard returns a board of an agent that leads nothing yet.
func NewBoard() *Board {
	return &Board{led: make(map[partition.ID]*standing), hearing: make(map[partition.ID]map[*caller]struct{})}
}

// Sent is how many notices were sent since the start.
func (b *Board) Sent() int64 { return b.sent.Load() }

// Coalesced is how many were never sent, because a newer one took their place.
func (b *Board) Coalesced() int64 { return b.coalesced.Load() }

// Committed tells who listens.
func (b *Board) Committed(c partition.Committed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.led[c.Partition]
	if s == nil || s.epoch != c.Epoch {
		return // the tenure has ended: who listened was told so, and hears of the rest from the next leader
	}
	s.add(lookup.SegmentOf(c))
	b.tell(c.Partition, c.BaseOffset)
}

func (s *standing) add(segment lookup.Segment) {
	if n := len(s.last); n == remembered {
		copy(s.last, s.last[1:])
		s.last = s.last[:n-1]
	}
	s.last = append(s.last, segment)
	s.highWatermark = segment.End()
}

// Led notes that this agent leads the partition from now on.
func (b *Board) Led(p partition.ID, epoch partition.Epoch, _, highWatermark int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.led[p]; s != nil && s.epoch == epoch {
		return // the same tenure again: what was committed in it is newer
	}
	b.led[p] = &standing{epoch: epoch, highWatermark: highWatermark}
	b.tell(p, highWatermark)
}

// Moved tells who listens that this agent speaks for the partition no more.
func (b *Board) Moved(p partition.ID, epoch partition.Epoch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.led[p]; s != nil && s.epoch > epoch {
		return // a tenure before the one that it has now
	}
	delete(b.led, p)
	b.tell(p, -1)
}

// tell requires mu. told is the offset up to which listeners had been told all.
func (b *Board) tell(p partition.ID, told int64) {
	for c := range b.hearing[p] {
		c.mark(p, told, &b.coalesced)
	}
}

func (c *caller) mark(p partition.ID, told int64, coalesced *atomic.Int64) {
	if _, already := c.pending[p]; already {
		coalesced.Add(1)
	} else {
		c.pending[p] = told
	}
	c.wake()
}

func (c *caller) wake() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}
