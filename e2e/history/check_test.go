package history_test

import (
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/e2e/history"
)

// good is a history that keeps every promise: two producers, two partitions, each outcome, a reader, a probe.
func good() *history.History {
	return &history.History{
		Writes: []history.Write{
			{ID: "a1", Producer: "a", Sequence: 1, Idempotent: true, Outcome: history.Acknowledged, Partition: 0, Offset: 0, Answered: 1 * time.Second},
			{ID: "a2", Producer: "a", Sequence: 2, Idempotent: true, Outcome: history.Acknowledged, Partition: 0, Offset: 2, Answered: 2 * time.Second},
			{ID: "a3", Producer: "a", Sequence: 3, Idempotent: true, Outcome: history.Possibly},
			{ID: "a4", Producer: "a", Sequence: 4, Idempotent: true, Outcome: history.SurelyNot},
			{ID: "b1", Producer: "b", Sequence: 1, Outcome: history.Acknowledged, Partition: 0, Offset: 1, Answered: 3 * time.Second},
			{ID: "b2", Producer: "b", Sequence: 2, Outcome: history.Possibly},
			{ID: "b3", Producer: "b", Sequence: 3, Outcome: history.Acknowledged, Partition: 1, Offset: -1, Answered: 4 * time.Second},
		},
		Log: []history.Read{
			{0, 0, "a1"},
			{0, 1, "b1"},
			{0, 2, "a2"},
			{1, 0, "b2"},
			{1, 1, "b2"},
			{1, 2, "b3"},
		},
		Readers: map[string][]history.Read{"r": {{0, 1, "b1"}, {1, 0, "b2"}, {0, 2, "a2"}}},
		Probes: []history.Probe{
			{Agent: "x", Began: 2500 * time.Millisecond, Partition: 0, End: 3},
			{Agent: "y", Began: 1500 * time.Millisecond, Partition: 0, End: 1},
		},
	}
}

func TestGoodHistoryIsAccepted(t *testing.T) {
	t.Parallel()
	r := history.Check(good())
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if r.Records != 7 || r.Acknowledged != 4 || r.Uncertain != 2 {
		t.Errorf("counts: %s", r)
	}
}

// Each history below must be rejected, for the reason named and no other.
func TestBrokenHistoriesAreRejected(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil func(h *history.History)
		count func(r *history.Report) int
		total int
	}{
		"P1 lost at the end": {
			func(h *history.History) { h.Log = h.Log[:5] },
			func(r *history.Report) int { return r.Lost }, 1,
		},
		"P1 another record at the acknowledged offset": {
			func(h *history.History) { h.Writes[1].Offset = 1 },
			func(r *history.Report) int { return r.Lost }, 1,
		},
		"P2 a gap": {
			func(h *history.History) { h.Log[5].Offset = 3 },
			func(r *history.Report) int { return r.Gaps }, 1,
		},
		"P2 log does not begin at 0": {
			func(h *history.History) {
				h.Log = h.Log[:3]
				h.Log = append(h.Log, history.Read{1, 2, "b3"})
				h.Readers = nil
			},
			func(r *history.Report) int { return r.Gaps }, 1,
		},
		"P2 reordered": {
			func(h *history.History) { h.Writes[0].Sequence, h.Writes[1].Sequence = 2, 1 },
			func(r *history.Report) int { return r.Reordered }, 1,
		},
		"P4 an acknowledged record hidden": {
			func(h *history.History) { h.Probes[0].End = 2 },
			func(r *history.Report) int { return r.Hidden }, 1,
		},
		"P4 an older acknowledgement hidden behind a newer one": {
			func(h *history.History) {
				h.Probes = []history.Probe{{Agent: "x", Began: 3500 * time.Millisecond, Partition: 0, End: 2}}
			},
			func(r *history.Report) int { return r.Hidden }, 1,
		},
		"P5 an idempotent record twice": {
			func(h *history.History) { h.Writes[5].Idempotent = true },
			func(r *history.Report) int { return r.Duplicated }, 1,
		},
		"P5 an acknowledged record twice without idempotence": {
			func(h *history.History) {
				h.Writes[5].Outcome = history.Acknowledged
				h.Writes[5].Partition = 1
				h.Writes[5].Offset = 0
			},
			func(r *history.Report) int { return r.Duplicated }, 1,
		},
		"P6 refused but written": {
			func(h *history.History) {
				h.Writes[5].Outcome = history.SurelyNot
				h.Log = append(h.Log[:4:4], history.Read{1, 1, "b3"})
			},
			func(r *history.Report) int { return r.RefusedButWritten }, 1,
		},
		"a record from nowhere": {
			func(h *history.History) { h.Log = append(h.Log, history.Read{1, 3, "?"}) },
			func(r *history.Report) int { return r.Phantoms }, 1,
		},
		"a reader saw what is not there": {
			func(h *history.History) { h.Readers["r"] = append(h.Readers["r"], history.Read{0, 3, "a3"}) },
			func(r *history.Report) int { return r.Rewritten }, 1,
		},
		"a reader saw other content": {
			func(h *history.History) { h.Readers["r"][0].ID = "a2" },
			func(r *history.Report) int { return r.Rewritten }, 1,
		},
		"a reader saw an offset twice": {
			func(h *history.History) { h.Readers["r"] = append(h.Readers["r"], history.Read{0, 2, "a2"}) },
			func(r *history.Report) int { return r.Skipped }, 1,
		},
		"a reader missed an offset": {
			func(h *history.History) { h.Readers["r"] = []history.Read{{0, 0, "a1"}, {0, 2, "a2"}} },
			func(r *history.Report) int { return r.Skipped }, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := good()
			test.spoil(h)
			r := history.Check(h)
			if got := test.count(r); got != test.total || r.Broken() != test.total {
				t.Errorf("want %d violation of this kind alone, have: %s\n%s", test.total, r, strings.Join(r.Examples, "\n"))
			}
		})
	}
}
