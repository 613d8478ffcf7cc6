package cluster

import (
	"context"
	"os"
	"os/exec"
	"testing"
)

// Snapshot copies the data folder of the server, which must have ended, and returns the copy: a backup.
func (p *Postgres) Snapshot(ctx context.Context, t testing.TB) string {
	t.Helper()
	to := p.spec.Dir + "-snapshot"
	copyFolder(ctx, t, p.spec.Dir, to)
	return to
}

// Restore puts a snapshot in the place of the data folder; the server must have ended. What was committed since is gone.
func (p *Postgres) Restore(ctx context.Context, t testing.TB, snapshot string) {
	t.Helper()
	copyFolder(ctx, t, snapshot, p.spec.Dir)
}

// copyFolder replaces a folder by a copy of another, owners and modes included.
func copyFolder(ctx context.Context, t testing.TB, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.CommandContext(ctx, "cp", "-Rp", from, to).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v: %s", from, err, output)
	}
}
