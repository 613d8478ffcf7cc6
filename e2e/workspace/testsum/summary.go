package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	// slowest is how many of the slowest tests the summary names.
	slowest = 5
	// said is how many of its last lines the summary repeats of a test that failed, and lineBytes what is shown of each.
	said, lineBytes = 6, 400
)

// spoken is a line that a test itself printed, by t.Error or t.Log, and not a process that it started.
var spoken = regexp.MustCompile(`^\s+\w+_test\.go:\d+: `)

// errFailed is the verdict on a stream in which a test failed.
var errFailed = errors.New("some tests failed")

// event is one line of the stream; its format is that of `go doc test2json`, and of `go help buildjson` for the
// two build actions.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of a build action
	Test        string // empty: the event is the package's
	Elapsed     float64
	Output      string
	FailedBuild string
}

// testID names a test; an empty test is the package itself.
type testID struct{ pkg, test string }

// timing is a finished top-level test and its length.
type timing struct {
	id   testID
	took time.Duration
}

type summary struct {
	out      io.Writer
	output   map[testID][]string // of what has not finished yet
	builds   map[string][]string // compiler output by import path
	passed   int
	packages int
	failed   []testID
	last     map[testID][]string // what a failed test said last
	skipped  []testID
	timings  []timing
}

func newSummary(out io.Writer) *summary {
	return &summary{out: out, output: map[testID][]string{}, builds: map[string][]string{}, last: map[testID][]string{}}
}

// add takes one line. What is no JSON event (warnings of the go command) is shown as it is.
func (s *summary) add(line []byte) {
	var e event
	if err := json.Unmarshal(line, &e); err != nil || e.Action == "" {
		fmt.Fprintf(s.out, "%s\n", strings.TrimRight(string(line), "\n"))
		return
	}
	id := testID{e.Package, e.Test}
	switch e.Action {
	case "run":
		s.output[id] = nil
	case "output":
		if !strings.HasPrefix(e.Output, "=== ") { // when it paused and went on is no news
			s.output[id] = append(s.output[id], e.Output)
		}
	case "build-output":
		s.builds[e.ImportPath] = append(s.builds[e.ImportPath], e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.endPackage(e)
		} else {
			s.endTest(id, e)
		}
		delete(s.output, id)
	}
}

func (s *summary) endTest(id testID, e event) {
	switch e.Action {
	case "pass":
		s.passed++
	case "skip":
		s.skipped = append(s.skipped, id)
	case "fail":
		s.fail(id)
	}
	if !strings.Contains(id.test, "/") {
		s.timings = append(s.timings, timing{id, time.Duration(e.Elapsed * float64(time.Second))})
	}
}

// fail counts and shows one test.
func (s *summary) fail(id testID) {
	s.failed = append(s.failed, id)
	s.last[id] = lastSpoken(s.output[id])
	fmt.Fprintf(s.out, "--- FAIL %s\n%s", id, strings.Join(s.output[id], ""))
}

func (s *summary) endPackage(e event) {
	s.packages++
	if e.Action == "fail" {
		s.failPackage(e)
	}
	verdict := map[string]string{"pass": "ok  ", "fail": "FAIL", "skip": "-   "}[e.Action]
	if e.Action != "skip" { // a package without tests is no news
		fmt.Fprintf(s.out, "%s %7.1fs %s\n", verdict, e.Elapsed, short(e.Package))
	}
}

// failPackage shows what no test's own failure shows: a build that broke, tests that were cut off by a panic, an
// exit or the timeout, and a package that failed outside its tests (TestMain, a leak check, a race at the end).
func (s *summary) failPackage(e event) {
	pkg := testID{pkg: e.Package}
	if e.FailedBuild != "" {
		s.output[pkg] = append(s.builds[e.FailedBuild], s.output[pkg]...)
	}
	before := len(s.failed)
	for _, id := range s.unfinished(e.Package) {
		s.fail(id)
		delete(s.output, id)
	}
	known := slices.ContainsFunc(s.failed[:before], func(id testID) bool { return id.pkg == e.Package })
	if len(s.failed) == before && !known {
		s.fail(pkg)
		return
	}
	fmt.Fprint(s.out, strings.Join(s.output[pkg], ""))
}

// lastSpoken are the last lines that a test itself printed, cut to a length at which many of them still stand on a page: whoever sees only the end of a
// long run learns there why it failed.
func lastSpoken(output []string) []string {
	var lines []string
	for _, line := range output {
		if spoken.MatchString(line) {
			line = strings.TrimRight(line, "\n")
			lines = append(lines, line[:min(len(line), lineBytes)]+"\n")
		}
	}
	return lines[max(0, len(lines)-said):]
}

// unfinished returns the package's tests that began and did not end, in the order of their names.
func (s *summary) unfinished(pkg string) []testID {
	var ids []testID
	for id := range s.output {
		if id.pkg == pkg && id.test != "" {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b testID) int { return cmp.Compare(a.test, b.test) })
	return ids
}

// finish prints the totals; the counts are the last line.
func (s *summary) finish() error {
	slices.SortStableFunc(s.timings, func(a, b timing) int { return cmp.Compare(b.took, a.took) })
	for _, t := range s.timings[:min(slowest, len(s.timings))] {
		if t.took >= time.Second {
			fmt.Fprintf(s.out, "slow %7.1fs %s\n", t.took.Seconds(), t.id)
		}
	}
	for _, id := range s.skipped {
		fmt.Fprintf(s.out, "skipped: %s\n", id)
	}
	for _, id := range s.failed {
		fmt.Fprintf(s.out, "failed: %s\n%s", id, strings.Join(s.last[id], ""))
	}
	fmt.Fprintf(s.out, "%d passed, %d failed, %d skipped\n", s.passed, len(s.failed), len(s.skipped))
	switch {
	case len(s.failed) > 0:
		return errFailed
	case s.packages == 0:
		return errors.New("the stream named no package: go test did not run")
	}
	return nil
}

// String is the short package path, and the test's name if it is one.
func (id testID) String() string {
	return strings.TrimSuffix(short(id.pkg)+" "+id.test, " ")
}

// short cuts the prefix that all packages of this project share.
func short(pkg string) string {
	return strings.TrimPrefix(pkg, "github.com/streamhouse/streamhouse/")
}
