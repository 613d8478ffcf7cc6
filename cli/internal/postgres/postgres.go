// Package postgres prepares and describes the PostgreSQL server of `streamhouse dev`: finds the programs, makes a cluster of databases in
// a folder, and chooses the account to run as, since PostgreSQL refuses root. It speaks just enough of its protocol to see that it is up.
// Nothing here keeps it running, and nothing here reads or writes data.
// Read: postgres.go, find.go, account.go, ready.go.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/child"
)

const (
	owner    = "streamhouse"
	database = "streamhouse"

	initTime  = 2 * time.Minute
	stopGrace = 20 * time.Second
)

// Server is a PostgreSQL server in one folder on one loopback port.
type Server struct {
	// Dir has the files; it need not exist yet.
	Dir string
	// Port on 127.0.0.1.
	Port int
	// Password of the one account.
	Password string
	// MaxConnections of all clients together.
	MaxConnections int
	// LogFile takes what the server prints.
	LogFile string
	// Env is the environment of its programs.
	Env []string

	bin     string
	account *child.User // nil: this process's
}

// URL with which to connect.
func (s *Server) URL() string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(owner, s.Password), Host: s.address(), Path: "/" + database,
		RawQuery: url.Values{"sslmode": {"disable"}}.Encode(),
	}
	return u.String()
}

func (s *Server) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) }

// Prepare finds the programs and makes the databases where there are none yet. Later starts find them made.
func (s *Server) Prepare(ctx context.Context, launcher *child.Launcher) error {
	version, err := madeBy(s.Dir)
	if err != nil {
		return err
	}
	if s.bin, err = findPrograms(version); err != nil {
		return err
	}
	if s.account, err = chooseAccount(s.Dir); err != nil {
		return err
	}
	if s.account != nil && !entersAll(*s.account, s.bin) {
		return fmt.Errorf("PostgreSQL refuses root, and %s may not enter %s: open the folders on the way, or name others in %s", s.account.Name, s.bin, binVariable)
	}
	if version != "" {
		return forgetDeadServer(s.Dir)
	}
	return s.make(ctx, launcher)
}

// madeBy returns the major version of PostgreSQL that made the folder; empty: it is not made.
func madeBy(dir string) (string, error) {
	content, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look at the database: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}

// make builds the databases beside their place and then moves them there, so that what a broken attempt leaves is never taken for whole.
func (s *Server) make(ctx context.Context, launcher *child.Launcher) error {
	ctx, cancel := context.WithTimeout(ctx, initTime)
	defer cancel()
	fresh := s.Dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("remove an unfinished database: %w", err)
	}
	if err := os.MkdirAll(fresh, 0o700); err != nil {
		return fmt.Errorf("create the database's folder: %w", err)
	}
	password := s.Dir + ".password"
	defer os.Remove(password)
	if err := os.WriteFile(password, []byte(s.Password), 0o600); err != nil {
		return fmt.Errorf("write the database's password: %w", err)
	}
	if err := s.give(fresh, password); err != nil {
		return err
	}
	err := s.run(ctx, launcher, "", "initdb", "-D", fresh, "-U", owner, "-E", "UTF8", "--locale=C", "--auth=scram-sha-256", "--pwfile="+password)
	if err != nil {
		return err
	}
	// Single-user mode needs no client program, which not every installation has.
	err = s.run(ctx, launcher, "CREATE DATABASE "+database+";\n", "postgres", "--single", "-D", fresh, "template1")
	if err != nil {
		return err
	}
	if err := os.Rename(fresh, s.Dir); err != nil {
		return fmt.Errorf("put the database into its place: %w", err)
	}
	return nil
}

// give makes the account the owner of the paths.
func (s *Server) give(paths ...string) error {
	if s.account == nil {
		return nil
	}
	for _, path := range paths {
		if err := os.Chown(path, int(s.account.UID), int(s.account.GID)); err != nil {
			return fmt.Errorf("give to %s: %w", s.account.Name, err)
		}
	}
	return nil
}

var complaint = regexp.MustCompile(`(?m)(ERROR|FATAL|PANIC|initdb: error): .*`)

// run waits for one of PostgreSQL's programs and fails if it complains, whatever its exit status.
func (s *Server) run(ctx context.Context, launcher *child.Launcher, input, program string, args ...string) error {
	log := s.LogFile + ".init"
	_ = os.Remove(log)
	spec := s.spec(program, args...)
	spec.LogFile, spec.Input = log, strings.NewReader(input)
	process, err := launcher.Start(spec)
	if err != nil {
		return err
	}
	select {
	case <-process.Exited():
	case <-ctx.Done():
		_ = process.Stop(ctx)
		return fmt.Errorf("%s did not end: %w", program, context.Cause(ctx))
	}
	said, _ := os.ReadFile(log)
	if found := complaint.Find(said); found != nil || process.Err() != nil {
		return fmt.Errorf("%s failed, see %s: %s", program, log, found)
	}
	return nil
}

func (s *Server) spec(program string, args ...string) child.Spec {
	return child.Spec{
		Name: program, Path: filepath.Join(s.bin, program), Args: args, Env: s.Env, Dir: "/", User: s.account, LogFile: s.LogFile,
		StopSignal: syscall.SIGINT, DeathSignal: syscall.SIGINT, Grace: stopGrace,
	}
}

// Spec runs the server. Requires: Prepare. SIGINT is PostgreSQL's fast shutdown: it cuts connections and leaves clean files.
func (s *Server) Spec() child.Spec {
	return s.spec("postgres", "-D", s.Dir,
		"-c", "listen_addresses=127.0.0.1", "-c", "port="+strconv.Itoa(s.Port), "-c", "unix_socket_directories=",
		"-c", "max_connections="+strconv.Itoa(s.MaxConnections), "-c", "fsync=on", "-c", "logging_collector=off")
}

// forgetDeadServer removes the file by which PostgreSQL knows of a running server in the folder, if that server is gone. PostgreSQL does so
// itself, unless another process of the same account has got the number.
func forgetDeadServer(dir string) error {
	path := filepath.Join(dir, "postmaster.pid")
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a running database: %w", err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || serves(pid, dir) {
		return nil //nolint:nilerr // PostgreSQL judges what is unclear
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("forget a dead database: %w", err)
	}
	return nil
}

// serves says whether the process is a server in the folder, as far as can be told: PostgreSQL's working directory is its data.
func serves(pid int, dir string) bool {
	if _, err := child.Identify(pid); errors.Is(err, child.ErrGone) {
		return false
	}
	at, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return true
	}
	resolved, err := filepath.EvalSymlinks(dir)
	return err != nil || at == resolved
}
