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
			l.end(t, e.Reason)
			ended[i] = true
		}
	}
	return ended
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
