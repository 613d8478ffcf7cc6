package evidence

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

func place(topic byte, number int32) partition.ID {
	return partition.ID{Topic: object.UUID{topic}, Number: number}
}

func never(object.UUID) bool { return false }

// catalog takes down what heartbeats say.
type catalog struct {
	start string
	known map[partition.ID]*controlplanev1.PartitionEvidence
	// shown is the life for which the book says that everything was said.
	shown string
	// said are the partitions named since this life began.
	said map[partition.ID]bool
}

func newCatalog() *catalog {
	return &catalog{start: "1", known: map[partition.ID]*controlplanev1.PartitionEvidence{}, said: map[partition.ID]bool{}}
}

func (c *catalog) restart() { c.start, c.said = c.start+"+", map[partition.ID]bool{} }

// take is one heartbeat; lost: its answer does not arrive.
func (c *catalog) take(b *Book, lost bool) (more bool) {
	page := b.Next()
	for _, p := range page.Evidence.GetPartitions() {
		id := partition.ID{Topic: object.UUID(p.GetTopicId()), Number: p.GetPartition()}
		c.known[id], c.said[id] = p, true
	}
	c.shown = page.Evidence.GetCompleteFor()
	if lost {
		return false
	}
	return b.Taken(page, c.start)
}

func TestBook_SaysEverythingOnceAndThenWhatChanges(t *testing.T) {
	t.Parallel()
	b, c := New(never), newCatalog()
	b.Begin(0)
	b.Led(place(1, 0), 1, 0, 5)
	b.Committed(partition.Committed{Partition: place(1, 0), Epoch: 1, NextOffset: 9, ObjectKey: "k"})
	if more := c.take(b, false); !more { // the first answer tells the life of the catalog
		t.Fatal("nothing more, though nobody has been told that it is complete")
	}
	if more := c.take(b, false); more || c.shown != "1" {
		t.Fatalf("more %v, shown %q", more, c.shown)
	}
	if got := c.known[place(1, 0)]; got.GetEpoch() != 1 || got.GetHighWatermark() != 9 {
		t.Fatalf("%v", got)
	}
	if page := b.Next(); len(page.Evidence.GetPartitions()) != 0 || page.Evidence.GetObjectKey() != "k" || page.Evidence.GetCompleteFor() != "1" {
		t.Fatalf("an idle heartbeat says %v", page.Evidence)
	}
	c.restart()
	if more := c.take(b, false); !more {
		t.Fatal("another life, and nothing is owed")
	}
	if more := c.take(b, false); more || c.shown != "1+" || !c.said[place(1, 0)] {
		t.Fatalf("more %v, shown %q, said %v", more, c.shown, c.said)
	}
}

func TestBook_PagesAreBounded(t *testing.T) {
	t.Parallel()
	b, c := New(never), newCatalog()
	const all = 2*pageSize + 1
	for i := range int32(all) {
		b.Led(place(1, i), 1, 0, 0)
	}
	b.Taken(Page{}, "1") // the life is known before anything was said
	for i := range 3 {
		more := c.take(b, false)
		if done := i == 2; more == done || (c.shown == "1") != done {
			t.Fatalf("page %d: more %v, shown %q", i, more, c.shown)
		}
	}
	if len(c.said) != all {
		t.Fatalf("%d said", len(c.said))
	}
}

func TestBook_OutlivesSessionsAndEndsWithTheIncarnation(t *testing.T) {
	t.Parallel()
	b, c := New(never), newCatalog()
	b.Led(place(1, 0), 1, 0, 5)
	b.Begin(0)
	c.take(b, false)
	if !c.said[place(1, 0)] {
		t.Fatal("forgotten with the session")
	}
	b.Begin(1)
	b.Committed(partition.Committed{Partition: place(1, 0), Epoch: 1, NextOffset: 9, ObjectKey: "late"}) // of the session before
	if page := b.Next(); len(page.Evidence.GetPartitions()) != 0 || page.Evidence.GetObjectKey() != "" || page.Evidence.GetIncarnation() != 1 {
		t.Fatalf("an adopted catalog is told %v", page.Evidence)
	}
	b.Begin(0) // the adoption was lost: that is what is to be said
	if page := b.Next(); page.Evidence.GetIncarnation() != 1 {
		t.Fatalf("said %v", page.Evidence)
	}
}

func TestBook_DeletedTopicsAreForgotten(t *testing.T) {
	t.Parallel()
	gone := object.UUID{1}
	b, c := New(func(id object.UUID) bool { return id == gone }), newCatalog()
	b.Led(place(1, 0), 1, 0, 5)
	b.Led(place(2, 0), 1, 0, 5)
	c.take(b, false)
	c.take(b, false)
	if c.said[place(1, 0)] || !c.said[place(2, 0)] || c.shown != "1" || len(b.told) != 1 {
		t.Fatalf("said %v, shown %q, %d remembered", c.said, c.shown, len(b.told))
	}
}

// TestP1_CompleteMeansComplete: whatever is told, lost and restarted, the book says "complete" for a life only if every partition that was told of
// before it heard of that life has been named since, and after two quiet heartbeats the catalog knows the newest of everything.
func TestP1_CompleteMeansComplete(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b, c := New(never), newCatalog()
		newest := map[partition.ID]int64{}
		var heard string // the life that the book knows
		must := map[partition.ID]bool{}
		beat := func(lost bool) {
			c.take(b, lost)
			if c.shown == c.start {
				for p := range must {
					if !c.said[p] {
						t.Fatalf("complete for %q without %v", c.start, p)
					}
				}
			}
			if !lost && heard != c.start {
				heard = c.start
				clear(must)
				for p := range newest {
					must[p] = true
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) {
				p := place(1, rapid.Int32Range(0, 20).Draw(t, "partition"))
				newest[p] += rapid.Int64Range(1, 3).Draw(t, "records")
				b.Committed(partition.Committed{Partition: p, Epoch: 1, NextOffset: newest[p], ObjectKey: "k"})
			},
			"beat":    func(*rapid.T) { beat(false) },
			"lose":    func(*rapid.T) { beat(true) },
			"restart": func(*rapid.T) { c.restart() },
			"session": func(*rapid.T) { b.Begin(0) },
		})
		beat(false)
		beat(false)
		for p, end := range newest {
			if c.known[p].GetHighWatermark() != end {
				t.Fatalf("%v: %v, not %d", p, c.known[p], end)
			}
		}
		if c.shown != c.start {
			t.Fatalf("shown %q, not %q", c.shown, c.start)
		}
	})
}
