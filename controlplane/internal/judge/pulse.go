package judge

import (
	"time"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

const (
	// PulseAge is how old the pulse may be before the judges count as absent.
	PulseAge = 3 * time.Second
	// MaxLate is how late a judge's own tick may be; beyond it the judge was asleep itself and judges nobody.
	MaxLate = 500 * time.Millisecond
)

// Beat is the pulse after a judge has beaten. Where the judges were absent (the pulse is old, or in the future after the clock jumped
// back), heartbeats may have had nobody to arrive at: silence proves nothing for one session duration. longest is the longest duration
// of a session that lives; 0: none lives, and there is nobody to protect.
func Beat(before store.Pulse, longest time.Duration) store.Pulse {
	after := store.Pulse{BeatAt: before.Now, QuietUntil: before.QuietUntil, Now: before.Now}
	if Absent(before) {
		after.QuietUntil = before.Now.Add(longest)
	}
	return after
}

// Absent says whether the judges were absent before now.
func Absent(p store.Pulse) bool {
	return p.BeatAt.After(p.Now) || p.Now.Sub(p.BeatAt) > PulseAge
}

// Late says whether a tick that was due is too late to judge by.
func Late(due, now time.Time) bool { return now.Sub(due) > MaxLate }

// hearing is since when a judge has been in a position to hear heartbeats: it was never late and the catalog always answered it. An outage
// of the catalog that is too short to leave an old pulse (PulseAge) keeps every heartbeat out, too, and may be longer than the silence that
// makes a suspect. So nobody is suspected before the judge itself has listened for that long; else a blink of PostgreSQL would move
// everything.
type hearing struct {
	after time.Duration
	since time.Time
}

// heard says whether silence until now proves anything.
func (h hearing) heard(now time.Time) bool { return now.Sub(h.since) >= h.after }
