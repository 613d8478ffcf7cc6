package ingest

import (
	"math"
	"testing"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

func TestP5_SequenceRules(t *testing.T) {
	t.Parallel()
	const (
		gap     = refusalv1.Reason_REASON_SEQUENCE_GAP
		fenced  = refusalv1.Reason_REASON_PRODUCER_FENCED
		unknown = refusalv1.Reason_REASON_PRODUCER_UNKNOWN
		old     = refusalv1.Reason_REASON_DUPLICATE_TOO_OLD
	)
	// Batches of 10 from sequence 20 on: 20, 30, 40, 50, 60; the next is 70.
	five := func() *producer {
		p := &producer{epoch: 3}
		for i := range int32(5) {
			p.batches = append(p.batches, remembered{baseSequence: 20 + 10*i, count: 10, baseOffset: int64(100 + i)})
		}
		return p
	}
	wrapping := &producer{epoch: 3, batches: []remembered{{baseSequence: math.MaxInt32 - 4, count: 10, baseOffset: 7}}}
	for name, c := range map[string]struct {
		known       *producer
		epoch       int16
		base, count int32
		reason      refusalv1.Reason
		repeatOf    int64 // offset; -1: none
	}{
		"next":                          {five(), 3, 70, 1, 0, -1},
		"newest again":                  {five(), 3, 60, 10, 0, 104},
		"fifth newest again":            {five(), 3, 20, 10, 0, 100},
		"older than five":               {five(), 3, 10, 10, old, -1},
		"much older":                    {five(), 3, 0, 5, old, -1},
		"overlaps the oldest":           {five(), 3, 15, 10, gap, -1},
		"again with another count":      {five(), 3, 60, 9, gap, -1},
		"ahead":                         {five(), 3, 71, 1, gap, -1},
		"old epoch":                     {five(), 2, 70, 1, fenced, -1},
		"new epoch from 0":              {five(), 4, 0, 1, 0, -1},
		"new epoch from elsewhere":      {five(), 4, 70, 1, gap, -1},
		"nobody, from 0":                {nil, 0, 0, 1, 0, -1},
		"nobody, from elsewhere":        {nil, 0, 5, 1, unknown, -1},
		"absent, from 0":                {&producer{absent: true}, 6, 0, 1, 0, -1},
		"absent, from elsewhere":        {&producer{absent: true}, 6, 1, 1, unknown, -1},
		"wrapped, next":                 {wrapping, 3, 5, 1, 0, -1},
		"wrapped, again":                {wrapping, 3, math.MaxInt32 - 4, 10, 0, 7},
		"wrapped, ahead":                {wrapping, 3, 6, 1, gap, -1},
		"wrapped, before":               {wrapping, 3, math.MaxInt32 - 14, 10, old, -1},
		"as if it had wrapped, too old": {five(), 3, math.MaxInt32 - 9, 10, old, -1},
	} {
		j := c.known.judge(recordbatch.Producer{ID: 1, Epoch: c.epoch, BaseSequence: c.base}, c.count)
		repeat := int64(-1)
		if j.repeat != nil {
			repeat = j.repeat.baseOffset
		}
		if j.reason != c.reason || repeat != c.repeatOf {
			t.Errorf("%s: reason %v, repeat of %d", name, j.reason, repeat)
		}
	}
}

func TestWindowKeepsWhatIsInFlight(t *testing.T) {
	t.Parallel()
	p := &producer{epoch: 0}
	for i := range int32(20) {
		p.remember(recordbatch.Producer{ID: 1, BaseSequence: i}, remembered{baseSequence: i, count: 1, baseOffset: int64(i), pending: &Pending{}})
	}
	if len(p.batches) != 20 || !p.busy() {
		t.Fatalf("%d batches are remembered, all 20 are in flight", len(p.batches))
	}
	p.settleUpTo(17)
	if len(p.batches) != window || !p.busy() {
		t.Fatalf("%d batches are remembered", len(p.batches))
	}
	p.settleUpTo(19)
	if len(p.batches) != window || p.busy() {
		t.Fatalf("%d batches are remembered", len(p.batches))
	}
}

func TestForgottenProducersAreLookedUpAgain(t *testing.T) {
	t.Parallel()
	l := New(Config{AgentGroup: "g", MaxObjectBytes: 64 << 20, MaxBufferedBytes: 1 << 30})
	w := newWorld()
	w.epoch[0], w.ours[0] = 1, true
	l.Grant(id(0), w.grantOf(0))
	for n := range int64(maxProducers) {
		l.Learn(id(0), 1, n, nil)
	}
	d := l.Append(id(0), encode(t, "x", recordbatch.Producer{ID: maxProducers, BaseSequence: 0}))
	if d.Verdict != Accepted {
		t.Fatalf("verdict %v", d.Verdict)
	}
	if d := l.Append(id(0), encode(t, "x", recordbatch.Producer{ID: 0, BaseSequence: 0})); d.Verdict != UnknownProducer {
		t.Fatalf("the longest silent one: verdict %v", d.Verdict)
	}
	if d := l.Append(id(0), encode(t, "x", recordbatch.Producer{ID: maxProducers, BaseSequence: 0})); d.Verdict != InFlight {
		t.Fatalf("one in flight: verdict %v", d.Verdict)
	}
}
