package traffic

import (
	"math"
	"time"
)

const (
	// tick is how often rates are brought up to date.
	tick = 2 * time.Second
	// memory is the time constant of the averages.
	memory = time.Minute
)

// rate is an exponentially weighted average of bytes per second. In its first minute it is the average since the start, not one that grows from
// nothing.
type rate struct {
	total  int64 // of all that was taken
	value  float64
	weight float64 // of what value has seen; tends to 1
}

// take adds what came in the time passed.
func (r *rate) take(bytes int64, passed time.Duration) {
	if passed <= 0 {
		return
	}
	r.total += bytes
	fresh := 1 - math.Exp(-float64(passed)/float64(memory))
	r.value += fresh * (float64(bytes)/passed.Seconds() - r.value)
	r.weight += fresh * (1 - r.weight)
}

func (r *rate) perSecond() int64 {
	if r.weight == 0 {
		return 0
	}
	return int64(r.value / r.weight)
}
