// Package demo shows StreamHouse to a newcomer: it brings a cluster up with `streamhouse dev`, streams a real file through it with
// `streamhouse produce`, kills an agent half-way, and proves by comparing what went in with what came out that nothing was lost or doubled.
// It uses the command line alone, as a person would; its numbers never come from the product's own counters.
// Read: demo.go, input.go, command.go, compare.go.
package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Config of a run.
type Config struct {
	// Bin is the folder with the binaries.
	Bin string
	// Lines that the input should have at least, and Rate at which they are produced, in lines a second.
	Lines, Rate int
	// DevArgs are added to `streamhouse dev`.
	DevArgs []string
	// Out takes what people read.
	Out io.Writer
}

// Summary is what the run showed.
type Summary struct {
	Records                                           int
	Bytes                                             int64
	Seconds                                           float64
	Killed                                            string
	Led                                               int
	Leaderless                                        time.Duration
	Lost, Duplicated, Reordered, Gaps, FollowerFaults int
	// HigherEpochs counts partitions of the killed agent that are led in a higher epoch now.
	HigherEpochs int
}

// Err is nil if the run kept every promise.
func (s *Summary) Err() error {
	if s.Lost+s.Duplicated+s.Reordered+s.Gaps+s.FollowerFaults > 0 || s.HigherEpochs != s.Led {
		return fmt.Errorf("promises were broken: %s", s)
	}
	return nil
}

// String is the summary, a line each.
func (s *Summary) String() string {
	return fmt.Sprintf(`
records                    %d
bytes                      %d
seconds                    %.1f
agent killed (kill -9)     %s, leader of %d partitions, all led by others in a higher epoch now: %v
time without a leader      %.2f s, from the kill until the last of them had a new leader
lost                       %d
duplicated                 %d
out of order within a key  %d
missing offsets            %d
faults seen by a follower  %d
`, s.Records, s.Bytes, s.Seconds, s.Killed, s.Led, s.HigherEpochs == s.Led, s.Leaderless.Seconds(), s.Lost, s.Duplicated, s.Reordered, s.Gaps, s.FollowerFaults)
}

const topic = "demo"

// Run does it all, and leaves nothing behind.
func Run(ctx context.Context, cfg Config) (*Summary, error) {
	dir, err := os.MkdirTemp("", "streamhouse-demo-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // PostgreSQL, which refuses root, must be able to enter
		return nil, err
	}
	d := &demo{cfg: cfg, data: filepath.Join(dir, "data")}
	input, err := d.writeInput(ctx, filepath.Join(dir, "input.txt"))
	if err != nil {
		return nil, err
	}
	d.sayf("bringing up a cluster of three zones …")
	if err := d.up(ctx); err != nil {
		return nil, err
	}
	defer d.down(context.WithoutCancel(ctx))
	return d.stream(ctx, input)
}

type demo struct {
	cfg  Config
	data string
}

func (d *demo) sayf(format string, args ...any) { fmt.Fprintf(d.cfg.Out, format+"\n", args...) }

// stream produces the input, kills an agent on the way, and compares.
func (d *demo) stream(ctx context.Context, input *Input) (*Summary, error) {
	if _, err := d.streamhouse(ctx, "topic", "create", topic, "--partitions", "6"); err != nil {
		return nil, err
	}
	victim, err := d.pickVictim(ctx)
	if err != nil {
		return nil, err
	}
	follower, err := d.follow(ctx, victim.other)
	if err != nil {
		return nil, err
	}
	defer follower.stop()
	d.sayf("producing %d lines at %d a second, in a process of its own …", len(input.Lines), d.cfg.Rate)
	began := time.Now()
	produced := d.produce(ctx, input)
	leaderless, err := d.killHalfway(ctx, victim, len(input.Lines)/2)
	if err != nil {
		return nil, err
	}
	if err := <-produced; err != nil {
		return nil, fmt.Errorf("produce: %w", err)
	}
	s := &Summary{
		Records: len(input.Lines), Bytes: input.Bytes, Seconds: time.Since(began).Seconds(),
		Killed: victim.agent.ID, Led: len(victim.epochs), Leaderless: leaderless,
	}
	return s, d.compare(ctx, s, input, victim, follower)
}
