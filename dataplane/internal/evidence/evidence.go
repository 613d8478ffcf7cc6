// Package evidence remembers what this process was told of its own commits and tenures, and gives it to the catalog with the heartbeats: a catalog
// that does not know it too has lost transactions, and notices (protocol, section 8).
// Nothing here judges anything, and nothing is sent from here.
//
// What was told outlives sessions (a catalog that went back may not know the session), but not incarnations: an operator who has adopted a
// catalog has accepted the loss.
//
// Promises: P1, P2 across failures of PostgreSQL.
// Read: evidence.go.
package evidence

import (
	"bytes"
	"sync"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// pageSize is how many partitions one heartbeat names.
const pageSize = 1000

// Book is what was told. It is safe for concurrent use, and a partition.Observer.
type Book struct {
	gone func(object.UUID) bool // its topic was deleted

	mu          sync.Mutex
	incarnation int32
	key         string // of the last object whose commit was answered
	told        map[partition.ID]told
	changed     map[partition.ID]struct{} // since they were last taken down
	// owed are those that have not been taken down since start became another one.
	owed  map[partition.ID]struct{}
	start string // the catalog's life, as it names it
	shown string // the last start for which everything has been taken down
}

type told struct {
	epoch         partition.Epoch
	highWatermark int64
}

var _ partition.Observer = (*Book)(nil)

// New returns an empty book. gone tells whether a topic is known to be deleted: its partitions are forgotten.
func New(gone func(object.UUID) bool) *Book {
	b := &Book{gone: gone}
	b.clear(0)
	return b
}

// Begin says that a session has begun in this incarnation of the catalog. A lower one than before is evidence itself: an adoption was lost.
func (b *Book) Begin(incarnation int32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if incarnation > b.incarnation {
		b.clear(incarnation)
	}
	b.shown = "" // to the new session's row nothing has been shown yet
}

func (b *Book) clear(incarnation int32) {
	b.incarnation, b.key, b.shown = incarnation, "", ""
	b.told, b.changed, b.owed = map[partition.ID]told{}, map[partition.ID]struct{}{}, map[partition.ID]struct{}{}
}

// Committed notes an answered commit.
func (b *Book) Committed(c partition.Committed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.note(c.Partition, c.Epoch, c.NextOffset) {
		b.key = c.ObjectKey
	}
}

// Led notes a grant.
func (b *Book) Led(p partition.ID, epoch partition.Epoch, _, highWatermark int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note(p, epoch, highWatermark)
}

// Moved changes nothing: what was told stays true.
func (b *Book) Moved(partition.ID, partition.Epoch) {}

// incarnationBits are the lower bits of an epoch, which count tenures.
const incarnationBits = 23

// note answers whether it belongs here: what a session of another incarnation was told does not.
func (b *Book) note(p partition.ID, epoch partition.Epoch, highWatermark int64) bool {
	if epoch>>incarnationBits != b.incarnation {
		return false
	}
	before := b.told[p]
	now := told{epoch: max(before.epoch, epoch), highWatermark: max(before.highWatermark, highWatermark)}
	if now != before {
		b.told[p] = now
		b.changed[p] = struct{}{}
	}
	return true
}

// Page is what one heartbeat says. Requires of its user: Taken after the answer, or nothing where there was none.
type Page struct {
	Evidence *controlplanev1.Evidence
	named    map[partition.ID]told
}

// Next is the next page: first what is owed, then what has changed.
func (b *Book) Next() Page {
	b.mu.Lock()
	defer b.mu.Unlock()
	page := Page{Evidence: &controlplanev1.Evidence{ObjectKey: b.key, Incarnation: b.incarnation}, named: map[partition.ID]told{}}
	b.fill(&page, b.owed)
	if len(page.named) == len(b.owed) { // nothing is owed after this page
		page.Evidence.CompleteFor = b.start
	}
	b.fill(&page, b.changed)
	return page
}

func (b *Book) fill(page *Page, from map[partition.ID]struct{}) {
	for p := range from {
		if b.gone(p.Topic) {
			delete(b.told, p)
			delete(b.owed, p)
			delete(b.changed, p)
			continue
		}
		if _, named := page.named[p]; named {
			continue
		}
		if len(page.named) == pageSize {
			return
		}
		t := b.told[p]
		page.named[p] = t
		page.Evidence.Partitions = append(page.Evidence.Partitions, &controlplanev1.PartitionEvidence{
			TopicId: bytes.Clone(p.Topic[:]), Partition: p.Number, Epoch: t.epoch, HighWatermark: t.highWatermark,
		})
	}
}

// Taken says that the page was answered, by a catalog that names its life so; empty: it does not say, and wants no evidence. More: the next
// page should follow at once.
func (b *Book) Taken(page Page, start string) (more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if page.Evidence.GetIncarnation() == b.incarnation {
		for p, t := range page.named {
			delete(b.owed, p)
			if b.told[p] == t {
				delete(b.changed, p)
			}
		}
		if page.Evidence.GetCompleteFor() != "" {
			b.shown = page.Evidence.GetCompleteFor()
		}
	}
	if start != b.start {
		b.start = start
		for p := range b.told {
			b.owed[p] = struct{}{}
		}
	}
	return b.shown != b.start
}
