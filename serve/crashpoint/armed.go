//go:build crashpoints

package crashpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// Armed tells whether this build has crash points.
const Armed = true

// killed is the status of a process that SIGKILL has ended, as a shell tells it.
const killed = 137

var (
	at, times = parse(os.Getenv("STREAMHOUSE_CRASH_AT"))
	passed    atomic.Int64
)

func parse(text string) (name string, times int64) {
	name, count, counted := strings.Cut(text, ":")
	if !counted {
		return name, 1
	}
	times, err := strconv.ParseInt(count, 10, 64)
	if err != nil || times < 1 {
		panic("STREAMHOUSE_CRASH_AT: want name or name:times, have " + text)
	}
	return name, times
}

// Here ends the process if this is the place, and it was passed often enough: nothing is deferred, flushed or said.
func (p Point) Here() {
	if string(p) == at && passed.Add(1) == times {
		os.Exit(killed)
	}
}
