package evidence

import (
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

var someTopic = uuid.MustParse("6f1c3f0e-8d2a-4b6f-9a53-0d6f5a1c2b3d")

func told(epoch int32, highWatermark int64) *controlplanev1.PartitionEvidence {
	return &controlplanev1.PartitionEvidence{TopicId: someTopic[:], Partition: 1, Epoch: epoch, HighWatermark: highWatermark}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	row := Partition{Known: true, TopicKnown: true, Epoch: 3, HighWatermark: 10}
	for name, c := range map[string]struct {
		told     *controlplanev1.Evidence
		revision int64
		known    Known
		missing  int
	}{
		"no evidence":                       {nil, 99, Known{}, 0},
		"nothing was told":                  {&controlplanev1.Evidence{}, 0, Known{}, 0},
		"the revision of now":               {&controlplanev1.Evidence{}, 7, Known{Revision: 7}, 0},
		"a revision that is not known":      {&controlplanev1.Evidence{}, 8, Known{Revision: 7}, 1},
		"no such agent group":               {&controlplanev1.Evidence{}, 0, Known{Revision: -1}, 1},
		"an earlier incarnation":            {&controlplanev1.Evidence{ObjectKey: "k"}, 8, Known{Incarnation: 1, SessionOfKeyKnown: true}, 0},
		"a later incarnation":               {&controlplanev1.Evidence{Incarnation: 2}, 0, Known{Incarnation: 1}, 1},
		"a key that is known":               {&controlplanev1.Evidence{ObjectKey: "k"}, 0, Known{KeyKnown: true, SessionOfKeyKnown: true}, 0},
		"a key that is not known":           {&controlplanev1.Evidence{ObjectKey: "k"}, 0, Known{SessionOfKeyKnown: true}, 1},
		"a key whose session is gone":       {&controlplanev1.Evidence{ObjectKey: "k"}, 0, Known{}, 0},
		"what is known":                     {&controlplanev1.Evidence{Partitions: []*controlplanev1.PartitionEvidence{told(3, 10)}}, 0, Known{Partitions: []Partition{row}}, 0},
		"less than is known":                {&controlplanev1.Evidence{Partitions: []*controlplanev1.PartitionEvidence{told(2, 9)}}, 0, Known{Partitions: []Partition{row}}, 0},
		"a higher epoch":                    {&controlplanev1.Evidence{Partitions: []*controlplanev1.PartitionEvidence{told(4, 0)}}, 0, Known{Partitions: []Partition{row}}, 1},
		"records beyond the end":            {&controlplanev1.Evidence{Partitions: []*controlplanev1.PartitionEvidence{told(3, 11)}}, 0, Known{Partitions: []Partition{row}}, 1},
		"a deleted topic":                   {&controlplanev1.Evidence{Partitions: []*controlplanev1.PartitionEvidence{told(4, 11)}}, 0, Known{Lives: true, Partitions: []Partition{{TopicKnown: true, OutOfSight: true}}}, 0},
		"a partition without a row":         {&controlplanev1.Evidence{Partitions: []*controlplanev1.PartitionEvidence{told(1, 0)}}, 0, Known{Partitions: []Partition{{TopicKnown: true}}}, 1},
		"a topic without a row, alive":      {&controlplanev1.Evidence{Partitions: []*controlplanev1.PartitionEvidence{told(1, 0)}}, 0, Known{Lives: true, Partitions: []Partition{{}}}, 1},
		"a topic without a row, long ended": {&controlplanev1.Evidence{Partitions: []*controlplanev1.PartitionEvidence{told(1, 0)}}, 0, Known{Partitions: []Partition{{}}}, 0},
	} {
		if got := Missing("a", c.told, c.revision, c.known); len(got) != c.missing {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestMissing_ComplainsWithinBounds(t *testing.T) {
	t.Parallel()
	e, known := &controlplanev1.Evidence{}, Known{}
	for range 1000 {
		e.Partitions, known.Partitions = append(e.Partitions, told(9, 9)), append(known.Partitions, Partition{Known: true, TopicKnown: true})
	}
	if got := Missing("a", e, 0, known); len(got) != maxReasons+1 {
		t.Errorf("%d reasons", len(got))
	}
}

// history is a catalog that only ever moves forward, as its rows do, and what an agent was told on the way.
type history struct {
	now  Known
	told *controlplanev1.Evidence
	seen int64
	// past has the catalog as it was after each step.
	past []Known
}

func (h *history) step(t *rapid.T) {
	p := &h.now.Partitions[0]
	switch rapid.IntRange(0, 3).Draw(t, "step") {
	case 0: // another tenure, which its leader hears of
		p.Epoch++
		h.now.Revision++
		h.told.Partitions[0].Epoch, h.seen = p.Epoch, h.now.Revision
	case 1: // a commit
		p.HighWatermark += rapid.Int64Range(1, 5).Draw(t, "records")
		h.told.Partitions[0].HighWatermark = p.HighWatermark
	case 2: // somebody else's tenure, of which the agent does not hear
		p.Epoch++
		h.now.Revision++
	case 3: // a change of the placement, which it hears of
		h.now.Revision++
		h.seen = h.now.Revision
	}
	h.remember()
}

func (h *history) remember() {
	then := h.now
	then.Partitions = []Partition{h.now.Partitions[0]}
	h.past = append(h.past, then)
}

// TestP1_WhatWasToldIsMissingExactlyWhenTheCatalogWentBackBeforeIt: no false alarm, whatever was told and however late it arrives; and every loss of
// something that was told is noticed.
func TestP1_WhatWasToldIsMissingExactlyWhenTheCatalogWentBackBeforeIt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := &history{
			now:  Known{Lives: rapid.Bool().Draw(t, "lives"), Partitions: []Partition{{Known: true, TopicKnown: true}}},
			told: &controlplanev1.Evidence{Partitions: []*controlplanev1.PartitionEvidence{told(0, 0)}},
		}
		h.remember()
		for range rapid.IntRange(0, 20).Draw(t, "steps") {
			h.step(t)
		}
		if got := Missing("a", h.told, h.seen, h.now); len(got) > 0 {
			t.Fatalf("a false alarm: %q", got)
		}
		old := h.past[rapid.IntRange(0, len(h.past)-1).Draw(t, "restored")]
		p := old.Partitions[0]
		lost := p.Epoch < h.told.GetPartitions()[0].GetEpoch() || p.HighWatermark < h.told.GetPartitions()[0].GetHighWatermark() || old.Revision < h.seen
		if got := Missing("a", h.told, h.seen, old); (len(got) > 0) != lost {
			t.Fatalf("lost %v: %q, told %v and revision %d, restored %+v", lost, got, h.told, h.seen, old)
		}
	})
}
