// Package release_test rolls a cluster of the previous release to the present one, part by part and under load, as docs/operations.md tells operators
// to: for a while both releases' control planes share one database, and agents of the previous release talk to control planes of this one.
// The previous release is the newest version tag before the present commit; STREAMHOUSE_PREVIOUS names another revision.
//
// Promises: P1, P2, P5 across an upgrade.
// Read: release_test.go.
package release_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/process"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

const (
	topic      = "orders"
	partitions = 6
	// patience is exceeded by a hang alone; compiling the previous release is in it.
	patience = 12 * time.Minute
	// enough records that each stage has acknowledged before the next begins.
	enough = 400
)

// TestRollFromThePreviousRelease: control planes first, then agents. No record is lost or there twice, and no producer is told an error.
func TestRollFromThePreviousRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	revision := previous(t)
	if revision == "" {
		t.Skip("NOT TESTED: there is no release yet, so there is nothing that this one must be compatible with. The first tag v… makes this test run.")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	old, present := build(ctx, t, revision), cluster.Binaries(t)
	c := cluster.Start(t, cluster.Options{Bin: old, ControlPlanes: 2, SessionDuration: 30 * time.Second})
	c.CreateTopic(ctx, t, topic, partitions, client.TopicConfig{})
	work := workload.Start(t, c, workload.Options{Topic: topic})
	work.AwaitAcknowledged(ctx, t, enough)
	for i, replica := range c.ControlPlanes {
		stop(ctx, t, replica.Process)
		replica.Use(present)
		replica.Start(ctx, t)
		work.AwaitAcknowledged(ctx, t, enough)
		t.Logf("%d of %d control planes are of this release, all agents of %s", i+1, len(c.ControlPlanes), revision)
	}
	for _, agent := range c.Agents {
		stop(ctx, t, agent.Process)
		agent.Use(present)
		agent.Start(ctx, t)
		work.AwaitAcknowledged(ctx, t, enough)
	}
	c.AwaitLeaders(ctx, t, topic, func(l client.Lease) bool { return l.LeaderAgentID != "" })
	report := work.Stop(ctx, t)
	if err := report.Err(); err != nil {
		t.Error(err)
	}
	if work.Failed() > 0 {
		t.Errorf("%d records failed, the first: %v", work.Failed(), work.FirstFailure())
	}
	t.Logf("from %s: %v", revision, report)
}

// stop asks a part to end in order.
func stop(ctx context.Context, t *testing.T, p *process.Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	if err := p.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

// previous is the newest version tag before the present commit; empty: there is none.
func previous(t *testing.T) string {
	t.Helper()
	if revision := os.Getenv("STREAMHOUSE_PREVIOUS"); revision != "" {
		return revision
	}
	here := strings.Fields(git(t, "tag", "--points-at", "HEAD"))
	for tag := range strings.FieldsSeq(git(t, "tag", "--list", "v[0-9]*", "--merged", "HEAD", "--sort=-version:refname")) {
		if !slices.Contains(here, tag) {
			return tag
		}
	}
	return ""
}

// git runs git in the checkout.
func git(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "git", args...)
	command.Dir = filepath.Join("..", "..")
	out, err := command.Output()
	if err != nil {
		t.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// build compiles the binaries of a revision, from its own sources, and returns their folder.
func build(ctx context.Context, t *testing.T, revision string) string {
	t.Helper()
	source := process.Folder(t)
	archive := filepath.Join(source, "source.tar")
	git(t, "archive", "--format=tar", "--output", archive, revision)
	bin := filepath.Join(source, "bin")
	for _, args := range [][]string{
		{"tar", "-xf", archive},
		{"go", "build", "-buildvcs=false", "-o", bin + "/", "./dataplane/cmd/streamhouse-agent", "./controlplane/cmd/streamhouse-controlplane", "./devs3/cmd/streamhouse-devs3"},
	} {
		command := exec.CommandContext(ctx, args[0], args[1:]...)
		command.Dir = source
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", args[0], err, out)
		}
	}
	return bin
}
