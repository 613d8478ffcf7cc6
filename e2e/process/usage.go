package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// Usage is what a process has used so far.
type Usage struct {
	CPU           time.Duration // user and system time
	ResidentBytes int64
}

// clockTick is the unit of CPU times in /proc, which is 1/100 s on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// Usage reads what the running process has used. Linux only.
func (p *Process) Usage() (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return Usage{}, err
	}
	// The name in parentheses may hold spaces. After it come the fields from the 3rd on; see proc(5): utime 14, stime 15, rss 24 in pages.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 22 {
		return Usage{}, errors.New("a line of /proc that is too short")
	}
	number := func(i int) int64 {
		n, parseErr := strconv.ParseInt(string(fields[i-3]), 10, 64)
		err = errors.Join(err, parseErr)
		return n
	}
	u := Usage{CPU: time.Duration(number(14)+number(15)) * clockTick, ResidentBytes: number(24) * int64(os.Getpagesize())}
	return u, err
}
