package pace

import "time"

const (
	// leastShare of the rate there always is, so that all work ends.
	leastShare = 1.0 / 8
	// window is how long is looked at for one judgement, of fewestCalls at least: fewer say nothing, and are few.
	window      = time.Second
	fewestCalls = 10
	// pause is how long nothing was done when work is said to begin.
	pause = 2 * time.Second
	// patience is for how long, and as long again, the least that producers have waited is what they usually wait: a load that has changed is then usual.
	patience = 2 * time.Minute
)

// judge is the rule of yielding: it gives background work more of the rate, bit by bit, as long as producers wait no longer than they usually do, and
// takes half of it away when they do. Usual is the least mean of a window in the last minutes; that of the time without background work is among them,
// since a look after a pause covers the pause. The one thing measured is what matters, whatever it is that the two share: processors, the
// network, the bucket, the catalog. It errs to the foreground's side: a load that grows by itself takes from the background for some minutes, too.
type judge struct {
	share float64
	// Of the last look that judged.
	at    time.Time
	calls int64
	took  time.Duration
	// least mean of a window since began, and of the time before; 0: none.
	least, leastBefore time.Duration
	began              time.Time
}

// look judges, if the last judgement is long enough ago. begins: nothing was done for a while.
func (j *judge) look(now time.Time, calls int64, took time.Duration, begins bool) {
	if now.Sub(j.at) < window {
		return
	}
	answered, mean := calls-j.calls, time.Duration(0)
	if answered >= fewestCalls {
		mean = (took - j.took) / time.Duration(answered)
	}
	j.at, j.calls, j.took = now, calls, took
	usual := j.usual(now)
	switch {
	case mean == 0:
		j.share = 1
	case begins: // gently
		j.share = leastShare
	case usual == 0 || mean <= usual+usual/4+time.Millisecond:
		j.share = min(1, j.share+leastShare)
	default:
		j.share = max(leastShare, j.share/2)
	}
	if mean > 0 && (j.least == 0 || mean < j.least) {
		j.least = mean
	}
}

// usual is the least mean that is remembered, which it first forgets what is too old.
func (j *judge) usual(now time.Time) time.Duration {
	switch age := now.Sub(j.began); {
	case age >= 2*patience:
		j.began, j.least, j.leastBefore = now, 0, 0
	case age >= patience:
		j.began, j.least, j.leastBefore = now, 0, j.least
	}
	if j.least == 0 || (j.leastBefore > 0 && j.leastBefore < j.least) {
		return j.leastBefore
	}
	return j.least
}
