package model_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// source is the model.
const source = "streamhouse.pml"

// patience bounds one exploration on the slowest machine.
const patience = 20 * time.Minute

// slots bounds how many explorations run at once: each takes a processor and up to some gigabytes.
var slots = make(chan struct{}, 2)

// explored has the findings of what this process has explored: they are the same each time, so that -count costs nothing.
var explored sync.Map // of definitions, joined, to findings

// findings are what an exploration of all states found.
type findings struct {
	states, depth int
	// broken is the promise that was broken; "": none.
	broken string
	// assertion is the text of the one that failed.
	assertion string
	// reached has the witnesses that the exploration came by.
	reached []string
}

// needSpin skips or fails the test where Spin or a C compiler is missing.
func needSpin(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("the model takes a minute: not with -short")
	}
	for _, program := range []string{"spin", "cc"} {
		if _, err := exec.LookPath(program); err != nil {
			sentence := program + " is missing, so the protocol's model is NOT CHECKED: run scripts/spin, which installs it (Debian: apt-get install spin gcc)"
			if os.Getenv("CI") != "" || os.Getenv("STREAMHOUSE_REQUIRE_SPIN") != "" {
				t.Fatal(sentence)
			}
			t.Skip(sentence)
		}
	}
}

// explore has Spin generate a verifier of the model with these definitions, and runs it over all states or to the first broken promise.
func explore(t *testing.T, optimize string, defines ...string) findings {
	t.Helper()
	id := strings.Join(defines, " ")
	if f, done := explored.Load(id); done {
		return f.(findings)
	}
	slots <- struct{}{}
	defer func() { <-slots }()
	dir := t.TempDir()
	model, err := filepath.Abs(source)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	run(ctx, t, dir, "spin", append(append([]string{}, defines...), "-a", model)...)
	// Only bad states are looked for; all steps share the catalog, so that reducing their orders would only cost time.
	run(ctx, t, dir, "cc", optimize, "-w", "-DSAFETY", "-DNOREDUCE", "-DCOLLAPSE", "-DMEMLIM=12000", "-DVECTORSZ=2048", "-o", "pan", "pan.c")
	out := run(ctx, t, dir, filepath.Join(dir, "pan"), "-m10000", "-w20")
	f := parse(t, out, defines)
	explored.Store(id, f)
	return f
}

func run(ctx context.Context, t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	// The verifier's exit code says less than its output, which parse judges.
	if err != nil && (filepath.Base(program) != "pan" || !errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

var (
	countsLine = regexp.MustCompile(`depth reached (\d+), errors: (\d+)`)
	statesLine = regexp.MustCompile(`(\d+) states, stored`)
	brokenLine = regexp.MustCompile(`pan:1: assertion violated (\(*(?:!\(+)?([A-Z][A-Z0-9_]+).*) \(at depth`)
	reachedMsg = regexp.MustCompile(`(?m)^reached: (.*)$`)
)

// parse reads the verifier's report. Anything but a full exploration or one failed assertion fails the test.
func parse(t *testing.T, out string, defines []string) findings {
	t.Helper()
	counts, states := countsLine.FindStringSubmatch(out), statesLine.FindStringSubmatch(out)
	if counts == nil || states == nil {
		t.Fatalf("%v: the verifier did not finish:\n%s", defines, out)
	}
	var f findings
	f.depth, _ = strconv.Atoi(counts[1])  // digits by the expression
	f.states, _ = strconv.Atoi(states[1]) // digits by the expression
	for _, r := range reachedMsg.FindAllStringSubmatch(out, -1) {
		f.reached = append(f.reached, r[1])
	}
	broken := brokenLine.FindStringSubmatch(out)
	switch {
	case broken != nil:
		f.assertion, f.broken = broken[1], broken[2]
	case counts[2] != "0", strings.Contains(out, "Search not completed"), strings.Contains(out, "max search depth too small"):
		t.Fatalf("%v: neither all states were explored nor did a promise break:\n%s", defines, out)
	}
	return f
}
