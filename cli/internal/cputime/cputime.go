// Package cputime tells how much CPU time processes have used, those of the kernel's accounting: this process, others by their number, and
// a PostgreSQL with all its children. Elsewhere than on Linux only this process can be told.
// Nothing here waits or starts anything.
// Read: cputime.go, processes_linux.go.
package cputime

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// ErrUnknown says that this system does not tell.
var ErrUnknown = errors.New("the CPU time of other processes is known on Linux alone")

// Self is what this process has used, all its threads, in user and kernel mode.
func Self() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, fmt.Errorf("read own CPU time: %w", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

// Group is processes that are counted together.
type Group struct {
	Name string
	PIDs []int
	// Children are counted, too, also those that come and go: PostgreSQL has one for each connection.
	Children bool
}

// Usage of a group.
type Usage struct {
	Name string
	Time time.Duration
}

// Meter tells what groups use from one moment on.
type Meter struct {
	groups []Group
	start  []time.Duration
	self   time.Duration
	began  time.Time
}

// Start begins to count. The error says that some process cannot be seen; the meter counts the others all the same.
func Start(groups []Group) (*Meter, error) {
	m := &Meter{began: time.Now()}
	var faults []error
	for _, g := range groups {
		used, err := g.used()
		if err != nil {
			faults = append(faults, fmt.Errorf("CPU time of %s: %w", g.Name, err))
			continue
		}
		m.groups, m.start = append(m.groups, g), append(m.start, used)
	}
	self, err := Self()
	m.self = self
	return m, errors.Join(append(faults, err)...)
}

// Read returns what each group has used since Start, this process ("producer", or whatever name says) first, and the wall-clock time.
// A group that has lost a process meanwhile is left out: its time cannot be told.
func (m *Meter) Read(self string) ([]Usage, time.Duration) {
	elapsed := time.Since(m.began)
	used, _ := Self() // it could be read before
	all := []Usage{{self, used - m.self}}
	for i, g := range m.groups {
		if now, err := g.used(); err == nil && now >= m.start[i] {
			all = append(all, Usage{g.Name, now - m.start[i]})
		}
	}
	return all, elapsed
}
