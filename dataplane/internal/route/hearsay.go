package route

import (
	"maps"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
)

const (
	// hearsay is how long word of a leader counts that the feed has not confirmed.
	hearsay = 5 * time.Second
	// maxHeard bounds the partitions of which there is such word; beyond it none is taken.
	maxHeard = 100_000
)

// Heard is word of a partition's leader, ahead of the feed.
type Heard struct {
	Partition partition.ID
	Leader    Leader
}

// heard is what one word says, and until when.
type heard struct {
	leader Leader
	until  time.Time
}

// Hear takes word of new leaders from those who know before the feed says so: the catalog's answer to a release, and the agents of a hand-off. It counts
// while its epoch is above the feed's, for some seconds; routing alone rests on it.
func (t *Table) Hear(words ...Heard) {
	t.mu.Lock()
	defer t.mu.Unlock()
	news := false
	until := time.Now().Add(hearsay)
	for _, w := range words {
		if w.Leader.Epoch <= max(t.rows[w.Partition].Epoch, t.heard[w.Partition].leader.Epoch) || !t.roomForWord(until) {
			continue
		}
		t.heard[w.Partition], news = heard{w.Leader, until}, true
	}
	if news {
		t.announce()
	}
}

// Unhear takes back what turned out to be wrong.
func (t *Table) Unhear(p partition.ID, epoch partition.Epoch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h, ok := t.heard[p]; ok && h.leader.Epoch <= epoch {
		delete(t.heard, p)
		t.announce()
	}
}

// roomForWord forgets what is out of date when there is much of it.
func (t *Table) roomForWord(until time.Time) bool {
	if len(t.heard) < maxHeard {
		return true
	}
	now := until.Add(-hearsay)
	maps.DeleteFunc(t.heard, func(_ partition.ID, h heard) bool { return !now.Before(h.until) })
	return len(t.heard) < maxHeard
}

// ahead is what was heard of a partition beyond its row. Requires mu.
func (t *Table) ahead(p partition.ID, row Row) (Leader, bool) {
	h, ok := t.heard[p]
	if !ok || h.leader.Epoch <= row.Epoch || !time.Now().Before(h.until) {
		return Leader{}, false
	}
	if agent, lives := t.agents[h.leader.ID]; lives {
		h.leader.Agent = agent
	}
	return h.leader, true
}
