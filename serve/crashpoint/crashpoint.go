// Package crashpoint names the places at which tests end a process, to see that what it was at is finished all the same.
//
// A place is registered by name, in a package variable, and passed by a call of Here. Without the build tag `crashpoints` Here does nothing. With it, the
// process ends with status 137, as if it had been killed, when it passes the place that STREAMHOUSE_CRASH_AT names: "sweep.after-delete", or
// "sweep.after-delete:3" for the third time. The hidden subcommand crash-points of both services lists the names, so that a test misses none.
//
// Not here: what a process is at, and what it must leave behind.
// Read: crashpoint.go, armed.go.
package crashpoint

import (
	"fmt"
	"io"
	"slices"
	"sync"
)

// Point is a place in the program.
type Point string

var (
	mu    sync.Mutex // guards names: packages register while they are initialised, in one goroutine, but tests list at any time
	names []string
)

// Register names a place, once: another of the same name is a mistake in the program.
func Register(name string) Point {
	mu.Lock()
	defer mu.Unlock()
	if slices.Contains(names, name) {
		panic(fmt.Sprintf("crash point %q is registered twice", name))
	}
	names = append(names, name)
	return Point(name)
}

// Names lists all places of this program, sorted.
func Names() []string {
	mu.Lock()
	defer mu.Unlock()
	return slices.Sorted(slices.Values(names))
}

// List writes the names, a line each; nothing where the build has none armed.
func List(w io.Writer) error {
	if !Armed {
		_, err := fmt.Fprintln(w, "built without crash points (build tag crashpoints)")
		return err
	}
	for _, name := range Names() {
		if _, err := fmt.Fprintln(w, name); err != nil {
			return err
		}
	}
	return nil
}
