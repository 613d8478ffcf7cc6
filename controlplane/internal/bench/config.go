package bench

import (
	"errors"
	"fmt"
	"time"
)

// Config of a run. The tags are those of flags.
type Config struct {
	Entries    int           `default:"1000" help:"Partitions in a commit, one segment each."`
	Producers  int           `default:"0"    help:"Idempotent producers an entry: 0 or 1."`
	Committers int           `default:"1"    help:"Sessions that commit at the same time."`
	Duration   time.Duration `default:"5s"   help:"Time to measure each of the two, after a warm-up."`
	Every      time.Duration `default:"0s"   help:"Least time from one commit of a session to its next. 0s: back to back. A machine that rests between two is slower at each."`
	Output     string        `default:"table" enum:"json,table" help:"Print json or table." short:"o"`
}

// Bounds of a run.
const (
	maxEntries    = 20_000
	maxCommitters = 32
	minDuration   = 100 * time.Millisecond
	maxDuration   = 10 * time.Minute
	maxEvery      = 10 * time.Second
)

// Validate says what is wrong, all of it.
func (c Config) Validate() error {
	return errors.Join(
		between("entries", c.Entries, 1, maxEntries),
		between("producers", c.Producers, 0, 1),
		between("committers", c.Committers, 1, maxCommitters),
		between("every", c.Every, 0, maxEvery),
		between("duration", c.Duration, minDuration, maxDuration),
	)
}

func between[T int | time.Duration](name string, value, least, most T) error {
	if value < least || value > most {
		return fmt.Errorf("%s: %v is not between %v and %v", name, value, least, most)
	}
	return nil
}
