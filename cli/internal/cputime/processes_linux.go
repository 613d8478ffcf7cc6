package cputime

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc: USER_HZ is 100 on every architecture that Linux shows to programs.
const tick = 10 * time.Millisecond

func (g Group) used() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range g.PIDs {
		s, err := readStat(pid)
		if err != nil {
			return 0, err
		}
		sum += s.own
		if g.Children {
			living, err := children(pid)
			if err != nil {
				return 0, err
			}
			sum += s.reaped + living
		}
	}
	return sum, nil
}

// stat is what the kernel says of a process.
type stat struct {
	parent      int
	own, reaped time.Duration // reaped: of children that have ended
}

// readStat reads /proc/PID/stat, see proc(5): the name, which may have anything in it, ends at the last parenthesis.
func readStat(pid int) (stat, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(content))
}

func parseStat(content string) (stat, error) {
	fields := strings.Fields(content[strings.LastIndex(content, ")")+1:])
	var numbers [5]int64
	for i, at := range []int{1, 11, 12, 13, 14} { // ppid, utime, stime, cutime, cstime; the state is field 0 here
		if at >= len(fields) {
			return stat{}, errors.New("the kernel says too little of it")
		}
		var err error
		if numbers[i], err = strconv.ParseInt(fields[at], 10, 64); err != nil {
			return stat{}, fmt.Errorf("read what the kernel says: %w", err)
		}
	}
	return stat{
		parent: int(numbers[0]), own: time.Duration(numbers[1]+numbers[2]) * tick, reaped: time.Duration(numbers[3]+numbers[4]) * tick,
	}, nil
}

// children is what the living children of a process have used. One that ends meanwhile counts as ended from the next reading on.
func children(parent int) (time.Duration, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := readStat(pid); err == nil && s.parent == parent {
			sum += s.own
		}
	}
	return sum, nil
}
