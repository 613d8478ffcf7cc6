package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
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

	place
	bin  string
	host string
	port int
	spec process.Spec
}

func startPostgres(ctx context.Context, t testing.TB, dir string, options Options) *Postgres {
	t.Helper()
	p := &Postgres{bin: postgresBinaries(t), host: options.Network.Address(""), port: process.FreePort(t), place: place{network: options.Network}}
	p.URL = fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", net.JoinHostPort(p.host, strconv.Itoa(p.port)))
	data := process.Subfolder(t, dir, "postgres", true)
	p.run(ctx, t, filepath.Join(dir, "initdb.log"), "initdb", "--no-sync", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C")
	p.admit(t, data)
	p.spec = process.Spec{
		Name: "postgres", Path: filepath.Join(p.bin, "postgres"), Log: filepath.Join(dir, "postgres.log"), Unprivileged: true,
		Stop: syscall.SIGINT, Dir: data, Enter: p.enter,
		Args: []string{"-D", data, "-p", strconv.Itoa(p.port), "-c", "listen_addresses=" + p.host, "-c", "unix_socket_directories="},
	}
	for _, setting := range options.Postgres {
		p.spec.Args = append(p.spec.Args, "-c", setting)
	}
	p.Start(ctx, t)
	return p
}

// admit lets the other places in: initdb trusts the loopback interface alone.
func (p *Postgres) admit(t testing.TB, data string) {
	t.Helper()
	if p.network == (loopback{}) {
		return
	}
	file, err := os.OpenFile(filepath.Join(data, "pg_hba.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = file.WriteString("host all postgres 0.0.0.0/0 trust\n")
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
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
		args := []string{"-q", "-U", "postgres", "-d", "postgres", "-h", p.host, "-p", strconv.Itoa(p.port)}
		return process.Within(p.enter, exec.CommandContext(ctx, filepath.Join(p.bin, "pg_isready"), args...).Run)
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
