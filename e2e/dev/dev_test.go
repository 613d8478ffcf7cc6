package dev_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/e2e/command"
	"github.com/streamhouse/streamhouse/e2e/process"
)

// patience is exceeded by a hang alone: several tests start a cluster at once.
const patience = 5 * time.Minute

// cluster is dev.json.
type cluster struct {
	ControlPlanes []part `json:"controlplanes"`
	Agents        []part `json:"agents"`
	Postgres      struct {
		URL string `json:"url"`
		PID int    `json:"pid"`
	} `json:"postgres"`
	S3 struct {
		Endpoint  string `json:"endpoint"`
		Bucket    string `json:"bucket"`
		AccessKey string `json:"access_key"`
		SecretKey string `json:"secret_key"`
		Region    string `json:"region"`
		PID       int    `json:"pid"`
	} `json:"s3"`
	APIKey     string  `json:"api_key"`
	ConsoleURL *string `json:"console_url"`
}

type part struct {
	ID         string `json:"id"`
	Name       string `json:"name"` // of `dev status`, which has no id
	Kind       string `json:"kind"`
	State      string `json:"state"`
	Reason     string `json:"reason"`
	Zone       string `json:"zone"`
	AgentGroup string `json:"agent_group"`
	URL        string `json:"url"`
	PID        int    `json:"pid"`
}

// dev is one data dir and the commands about it.
type dev struct {
	command.Command

	dir  string
	args []string
}

// newDev prepares a dev; whatever runs of it when the test ends is killed, which is an error.
func newDev(t *testing.T, args ...string) *dev {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	dir := filepath.Join(process.Folder(t), "data")
	d := &dev{Command: command.InFolder(t, dir), dir: dir, args: append([]string{"dev"}, args...)}
	d.Env = append(d.Env, "E2E_DEV="+dir) // which processes inherit
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		logs, _ := filepath.Glob(filepath.Join(dir, "logs", "*.log"))
		for _, log := range logs {
			text, _ := os.ReadFile(log)
			t.Logf("the end of %s:\n%s", filepath.Base(log), text[max(0, len(text)-2000):])
		}
		for _, pid := range d.processes(t) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return d
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// up starts it in the background and returns dev.json.
func (d *dev) up(ctx context.Context, t *testing.T) cluster {
	t.Helper()
	d.Must(ctx, t, append(d.args, "--detach")...)
	return d.read(t)
}

func (d *dev) read(t *testing.T) cluster {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(d.dir, "dev.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c cluster
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		t.Fatalf("dev.json: %v", err)
	}
	return c
}

// down stops it, and expects nothing to be left.
func (d *dev) down(ctx context.Context, t *testing.T) {
	t.Helper()
	d.Must(ctx, t, "dev", "down")
	d.expectNothing(t)
}

func (d *dev) expectNothing(t *testing.T) {
	t.Helper()
	for _, pid := range d.processes(t) {
		words, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		t.Errorf("process %d is left: %s", pid, bytes.ReplaceAll(words, []byte{0}, []byte{' '}))
	}
	if _, err := os.Stat(filepath.Join(d.dir, "dev.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("dev.json is left: %v", err)
	}
}

// processes are those that have the data dir in their arguments or their environment: all that descend from a command of this dev.
func (d *dev) processes(t *testing.T) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Skipf("no process table: %v", err)
	}
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		words, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		variables, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if bytes.Contains(words, []byte(d.dir)) || bytes.Contains(variables, []byte(d.dir)) {
			found = append(found, pid)
		}
	}
	return found
}

// status is what `dev status` says of each part, by name.
func (d *dev) status(ctx context.Context, t *testing.T) map[string]part {
	t.Helper()
	var list []part
	d.JSON(ctx, t, &list, "dev", "status")
	parts := map[string]part{}
	for _, p := range list {
		parts[p.Name] = p
	}
	return parts
}

// await polls until is.
func await(ctx context.Context, t *testing.T, what string, is func() bool) {
	t.Helper()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}

// produce stores lines "i", from (inclusive) to (exclusive).
func (d *dev) produce(ctx context.Context, t *testing.T, topic string, from, to int) {
	t.Helper()
	var input strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&input, "%d\n", i)
	}
	d.MustWith(ctx, t, []byte(input.String()), "produce", topic)
}

// expectLines expects the topic to have lines 0 to n-1, each once.
func (d *dev) expectLines(ctx context.Context, t *testing.T, topic string, n int) {
	t.Helper()
	got := strings.Fields(string(d.Must(ctx, t, "consume", topic, "--from-beginning")))
	slices.Sort(got)
	want := make([]string, n)
	for i := range want {
		want[i] = strconv.Itoa(i)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s has %d lines, not %d, or others", topic, len(got), n)
	}
}

// epochs are those of a topic's partitions, once each is led by an agent as wanted.
func (d *dev) epochs(ctx context.Context, t *testing.T, topic string, want func(leader string) bool) []int32 {
	t.Helper()
	var epochs []int32
	await(ctx, t, "leaders of "+topic, func() bool {
		var leases []struct {
			Leader string `json:"leader"`
			Epoch  int32  `json:"epoch"`
		}
		d.JSON(ctx, t, &leases, "lease", "list", "--topic", topic)
		epochs = epochs[:0]
		for _, l := range leases {
			if l.Leader == "" || !want(l.Leader) {
				return false
			}
			epochs = append(epochs, l.Epoch)
		}
		return len(epochs) > 0
	})
	return slices.Clone(epochs)
}
