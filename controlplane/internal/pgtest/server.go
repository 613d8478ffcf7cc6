package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// process is a PostgreSQL server that this process owns.
type process struct {
	dir string // data and socket; deleted at the end
	// quit asks the owning goroutine to stop the server; done is closed when it has.
	quit chan struct{}
	done chan struct{}
}

// url of a database, by the server's socket.
func (p *process) url(database string) string {
	query := url.Values{"host": {p.dir}, "user": {"postgres"}}
	return "postgres:///" + database + "?" + query.Encode()
}

// start makes a cluster in a new folder and starts its server. All of it happens on one thread that lives as long as the server: the
// kernel's death signal comes when the thread ends that started the child, not when the process does.
func start() (*process, error) {
	p := &process{quit: make(chan struct{}), done: make(chan struct{})}
	ready := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer close(p.done)
		defer func() { _ = os.RemoveAll(p.dir) }()
		command, exited, err := p.launch()
		ready <- err
		if err != nil {
			return
		}
		select {
		case <-p.quit:
			_ = command.Process.Signal(syscall.SIGQUIT) // at once: the data is thrown away
			<-exited
		case <-exited:
		}
	}()
	if err := <-ready; err != nil {
		<-p.done
		return nil, err
	}
	return p, nil
}

// stop stops the server, waits for it, and removes its files.
func (p *process) stop() {
	close(p.quit)
	<-p.done
}

func (p *process) launch() (command *exec.Cmd, exited <-chan struct{}, err error) {
	programs, err := find()
	if err != nil {
		return nil, nil, err
	}
	attributes, err := p.prepare()
	if err != nil {
		return nil, nil, err
	}
	data := filepath.Join(p.dir, "data")
	initialise := exec.Command(filepath.Join(programs, "initdb"), "-D", data, "-U", "postgres", "-A", "trust",
		"-E", "UTF8", "--locale=C", "--no-sync")
	initialise.SysProcAttr, initialise.Dir = attributes, p.dir
	if output, err := initialise.CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("initdb: %w: %s", err, output)
	}
	var log bytes.Buffer
	command = exec.Command(filepath.Join(programs, "postgres"), "-D", data, "-k", p.dir, "-c", "listen_addresses=",
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200", "-c", "shared_buffers=64MB", "-c", "log_min_messages=fatal")
	command.SysProcAttr, command.Dir, command.Stdout, command.Stderr = attributes, p.dir, &log, &log
	if err := command.Start(); err != nil {
		return nil, nil, fmt.Errorf("start: %w", err)
	}
	gone := make(chan struct{})
	go func() { // ends with the server, which ends with the goroutine above
		_ = command.Wait()
		close(gone)
	}()
	if err := p.await(gone); err != nil {
		_ = command.Process.Kill()
		<-gone
		return nil, nil, fmt.Errorf("%w: %s", err, log.String())
	}
	return command, gone, nil
}

// prepare makes the folder, owned by whoever will run the server.
func (p *process) prepare() (*syscall.SysProcAttr, error) {
	var err error
	sweep()
	// Short: a socket's path has about a hundred bytes.
	if p.dir, err = os.MkdirTemp("", fmt.Sprintf("%s%d-*", folder, os.Getpid())); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	attributes := deathSignal()
	if os.Geteuid() != 0 {
		return attributes, nil
	}
	uid, gid, err := unprivileged()
	if err != nil {
		return nil, err
	}
	attributes.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	if err := os.Chown(p.dir, int(uid), int(gid)); err != nil {
		return nil, fmt.Errorf("give folder away: %w", err)
	}
	return attributes, nil
}

// folder is what the names of servers' folders begin with; the process id of the owner follows.
const folder = "pgtest-"

// sweep removes the folders of test processes that were killed: their owner is gone and no server answers.
func sweep() {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), folder+"*-*")) // fails for a bad pattern alone
	dialer := net.Dialer{Timeout: time.Second}
	for _, dir := range left {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), folder), "-")
		pid, err := strconv.Atoi(owner)
		if err != nil || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		if conn, err := dialer.DialContext(context.Background(), "unix", filepath.Join(dir, ".s.PGSQL.5432")); err == nil {
			_ = conn.Close()
			continue
		}
		_ = os.RemoveAll(dir)
	}
}

// unprivileged finds a user that may run PostgreSQL.
func unprivileged() (uid, gid uint32, err error) {
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(account.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(account.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return uint32(uid), uint32(gid), nil
		}
	}
	return 0, 0, errors.New("PostgreSQL refuses to run as root, and there is no user postgres or nobody")
}

// find looks for the folder that has both programs.
func find() (string, error) {
	candidates := []string{os.Getenv("STREAMHOUSE_POSTGRES_BIN")}
	if path, err := exec.LookPath("initdb"); err == nil {
		candidates = append(candidates, filepath.Dir(path))
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin"} {
		found, _ := filepath.Glob(pattern) // fails for a bad pattern alone
		slices.Reverse(found)
		candidates = append(candidates, found...)
	}
	for _, folder := range candidates {
		if folder != "" && executable(filepath.Join(folder, "initdb")) && executable(filepath.Join(folder, "postgres")) {
			return folder, nil
		}
	}
	return "", errors.New("no initdb and postgres found: install PostgreSQL, or set STREAMHOUSE_POSTGRES_BIN to the folder that has them")
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// await returns once the server answers.
func (p *process) await(gone <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, p.url("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-gone:
			return errors.New("server ended at once")
		case <-ctx.Done():
			return fmt.Errorf("server does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
