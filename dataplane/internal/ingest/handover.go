package ingest

import (
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Tenure names one.
type Tenure struct {
	Partition partition.ID
	Epoch     partition.Epoch
}

// Ended is a tenure to end, and what is said of batches of it that no commit has named.
type Ended struct {
	Tenure
	Reason refusalv1.Reason
}

// CloseAll stops tenures from taking batches, and hurries those in flight: they are about to be handed over. Those who wait are woken once.
func (l *Ledger) CloseAll(all []Tenure) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.hush()()
	for _, c := range all {
		t := l.tenures[c.Partition]
		if t == nil || t.epoch != c.Epoch || t.closing {
			continue
		}
		t.closing = true
		t.wake()
		l.announce()
		if l.openAt[t] != nil {
			l.open.urgent = true
			notify(l.Flush)
		}
	}
	notify(l.Lease)
}

// EndAll ends tenures: nothing is appended to them, no commit will name them. It must come before their release is sent. Those who wait are woken
// once. ended tells which had not ended before.
func (l *Ledger) EndAll(all []Ended) (ended []bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.hush()()
	ended = make([]bool, len(all))
	for i, e := range all {
		if t := l.tenures[e.Partition]; t != nil && t.epoch == e.Epoch {
			fallen := len(l.fallen)
			l.end(t, e.Reason)
			l.fallen = l.fallen[:fallen]
			ended[i] = true
		}
	}
	return ended
}

// HeldAmong lists those tenures that have not ended and are of the partitions named by the keys.
func (l *Ledger) HeldAmong(named map[partition.ID]struct{}) map[partition.ID]Held {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := map[partition.ID]Held{}
	for p := range named {
		if t := l.tenures[p]; t != nil {
			held[p] = t.held()
		}
	}
	return held
}

// TakeFallen returns the partitions whose tenures have ended otherwise than by EndAll since the last call: whoever wants them must ask anew.
func (l *Ledger) TakeFallen() []partition.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	fallen := l.fallen
	l.fallen = nil
	return fallen
}

// held describes the tenure.
func (t *tenure) held() Held {
	return Held{Epoch: t.epoch, Closing: t.closing, Busy: len(t.segments) > 0}
}

// HeldCount is how many tenures have not ended.
func (l *Ledger) HeldCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.tenures)
}

// hush keeps announcements back until the function that it returns is called; then there is one, if there is news. Requires: mu throughout.
func (l *Ledger) hush() (speak func()) {
	l.hushed = true
	return func() {
		l.hushed = false
		if l.news {
			l.news = false
			l.announce()
		}
	}
}
