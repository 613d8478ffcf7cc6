package cluster

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/e2e/process"
)

// Postgres is the database server.
type Postgres struct {
	*process.Process
	URL string

	bin  string
	port int
	spec process.Spec
}

func startPostgres(ctx context.Context, t testing.TB, dir string, settings []string) *Postgres {
	t.Helper()
	p := &Postgres{bin: postgresBinaries(t), port: process.FreePort(t)}
	p.URL = fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", p.port)
	data := process.Subfolder(t, dir, "postgres", true)
	p.run(ctx, t, filepath.Join(dir, "initdb.log"), "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C")
	p.spec = process.Spec{
		Name: "postgres", Path: filepath.Join(p.bin, "postgres"), Log: filepath.Join(dir, "postgres.log"), Unprivileged: true, Stop: syscall.SIGINT, Dir: data,
		Args: []string{"-D", data, "-p", strconv.Itoa(p.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="},
	}
	for _, setting := range settings {
		p.spec.Args = append(p.spec.Args, "-c", setting)
	}
	p.Start(ctx, t)
	return p
}

// Log is the file that the server logs to.
func (p *Postgres) Log() string { return p.spec.Log }

// Start runs the server, again after it has ended. After a kill its backends take a moment to notice, and it refuses to start beside them.
func (p *Postgres) Start(ctx context.Context, t testing.TB) {
	t.Helper()
	p.Process = process.Start(t, p.spec)
	for p.endsAtOnce(ctx) {
		p.Process = process.Start(t, p.spec)
	}
	ready(ctx, t, p.Process, func(ctx context.Context) error {
		args := []string{"-q", "-U", "postgres", "-d", "postgres", "-h", "127.0.0.1", "-p", strconv.Itoa(p.port)}
		return exec.CommandContext(ctx, filepath.Join(p.bin, "pg_isready"), args...).Run()
	})
}

// endsAtOnce says whether the server gives up within the time that it takes to look at its data folder.
func (p *Postgres) endsAtOnce(ctx context.Context) bool {
	select {
	case <-p.Done():
		return ctx.Err() == nil
	case <-time.After(200 * time.Millisecond):
		return false
	}
}

// run runs one of PostgreSQL's programs to its end.
func (p *Postgres) run(ctx context.Context, t testing.TB, log, program string, args ...string) {
	t.Helper()
	done := process.Start(t, process.Spec{Name: program, Path: filepath.Join(p.bin, program), Args: args, Log: log, Unprivileged: true, Dir: os.TempDir()})
	select {
	case <-done.Done():
	case <-ctx.Done():
		t.Fatalf("%s did not end: %v", program, context.Cause(ctx))
	}
}

// postgresBinaries finds the newest PostgreSQL: $STREAMHOUSE_POSTGRES_BIN, PATH, Debian's folders, Homebrew's.
func postgresBinaries(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("STREAMHOUSE_POSTGRES_BIN"); dir != "" {
		return dir
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil { // its siblings may not be linked
			return filepath.Dir(path)
		}
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	brew, _ := filepath.Glob("/opt/homebrew/opt/postgresql@*/bin/initdb")
	found := slices.Concat(debian, brew)
	if len(found) == 0 {
		t.Fatal("PostgreSQL is not there: run make test, which installs it, or set STREAMHOUSE_POSTGRES_BIN to its bin folder")
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	return filepath.Dir(found[len(found)-1])
}
