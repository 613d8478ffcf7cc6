package cluster

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/streamhouse/streamhouse/e2e/process"
)

// SQL runs statements in the catalog with psql, for what no API does: making time pass. It answers what they print, bare.
func (p *Postgres) SQL(ctx context.Context, t testing.TB, statements string) string {
	t.Helper()
	command := exec.CommandContext(ctx, filepath.Join(p.bin, "psql"), "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-h", p.host, "-p",
		strconv.Itoa(p.port), "-U", "postgres", "-d", "postgres", "-c", statements)
	command.Dir = os.TempDir()
	var output []byte
	err := process.Within(p.enter, func() (err error) {
		output, err = command.CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("psql: %v: %s", err, output)
	}
	return strings.TrimSpace(string(output))
}
