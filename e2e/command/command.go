// Package command runs the streamhouse command in tests as a person would: a process with arguments, environment and standard streams, of which
// nothing is known but what it prints and its exit status. Nothing here judges what it printed.
// Read: command.go.
package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/e2e/cluster"
)

// Command is how to call streamhouse.
type Command struct {
	// Bin is the folder with the binaries.
	Bin string
	// Env is added to an environment that has nothing of StreamHouse in it.
	Env []string
	// Dir is the working folder; empty: the test's.
	Dir string
	// User runs it as somebody else; nil: whoever runs the test.
	User *syscall.Credential
}

// Of calls the cluster as the holder of an API key.
func Of(t testing.TB, c *cluster.Cluster, key string) Command {
	t.Helper()
	var controlPlanes, agents []string
	for _, p := range c.ControlPlanes {
		controlPlanes = append(controlPlanes, p.URL)
	}
	for _, a := range c.Agents {
		agents = append(agents, a.URL)
	}
	return Command{Bin: cluster.Binaries(t), Env: []string{
		"STREAMHOUSE_SERVER=" + strings.Join(controlPlanes, ","), "STREAMHOUSE_AGENT=" + strings.Join(agents, ","), "STREAMHOUSE_API_KEY=" + key,
	}}
}

// InFolder calls whatever dev runs in a data dir.
func InFolder(t testing.TB, dataDir string) Command {
	t.Helper()
	return Command{Bin: cluster.Binaries(t), Env: []string{"STREAMHOUSE_DATA_DIR=" + dataDir}}
}

// Result is what a run came to.
type Result struct {
	Stdout, Stderr []byte
	// Status is the exit status; -1: a signal ended it.
	Status int
}

// stopTime is how long an interrupted command may take to end.
const stopTime = 20 * time.Second

// Cmd is a run that the caller starts. When ctx ends it is interrupted, as by Ctrl-C.
func (c Command) Cmd(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.Bin, "streamhouse"), args...)
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "STREAMHOUSE_") || strings.HasPrefix(variable, "STREAMHOUSE_POSTGRES_BIN=") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	cmd.Env = append(cmd.Env, c.Env...)
	cmd.Dir = c.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.User}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopTime
	return cmd
}

// Run runs it to its end, with input on standard input.
func (c Command) Run(ctx context.Context, t testing.TB, input []byte, args ...string) Result {
	t.Helper()
	cmd := c.Cmd(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &stdout, &stderr
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatalf("streamhouse %s: %v", strings.Join(args, " "), err)
	}
	return Result{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), Status: cmd.ProcessState.ExitCode()}
}

// Must runs it, without input, and returns what it printed; anything but exit status 0 fails the test.
func (c Command) Must(ctx context.Context, t testing.TB, args ...string) []byte {
	t.Helper()
	return c.MustWith(ctx, t, nil, args...)
}

// MustWith is Must with input.
func (c Command) MustWith(ctx context.Context, t testing.TB, input []byte, args ...string) []byte {
	t.Helper()
	r := c.Run(ctx, t, input, args...)
	if r.Status != 0 {
		t.Fatalf("streamhouse %s: %s", strings.Join(args, " "), r)
	}
	return r.Stdout
}

// JSON runs it with -o json and decodes what it printed.
func (c Command) JSON(ctx context.Context, t testing.TB, into any, args ...string) {
	t.Helper()
	out := c.Must(ctx, t, append(args, "-o", "json")...)
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("streamhouse %s printed %q: %v", strings.Join(args, " "), out, err)
	}
}

// String tells how it ended.
func (r Result) String() string {
	return fmt.Sprintf("exit status %d, stderr: %s", r.Status, bytes.TrimSpace(r.Stderr))
}
