// Package process runs the real binaries for whole-system tests: it starts them, waits until they are ready, kills, pauses, resumes and stops them,
// and sees to it that nothing outlives the test, not even a test that is killed itself. It knows nothing of StreamHouse: package cluster does.
// Read: process.go, until.go, port.go, user_linux.go.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Spec says what to run.
type Spec struct {
	// Name for logs and errors.
	Name string
	// Path of the binary, and its arguments.
	Path string
	Args []string
	// Env is added to the test's own environment.
	Env []string
	// Dir is the working folder; empty: the test's.
	Dir string
	// Stop is the signal that asks the process to end; 0: SIGTERM.
	Stop syscall.Signal
	// Unprivileged: when the test runs as root, run as another user.
	Unprivileged bool
	// Log is the file that takes output, appended.
	Log string
	// Enter is called on the thread that starts the program, just before: what it changes of the thread, such as its network namespace, the program
	// inherits. Nil: nothing.
	Enter func() error
}

// Process is one running, paused or ended program. Its methods may be called from several goroutines.
type Process struct {
	spec Spec
	cmd  *exec.Cmd
	done chan struct{} // closed once err is set

	mu     sync.Mutex // guards paused
	paused bool
	err    error // read after done
}

// Start runs the program. It is killed when the test ends, if it runs then.
func Start(t testing.TB, spec Spec) *Process {
	t.Helper()
	p, err := start(spec)
	if err != nil {
		t.Fatalf("start %s: %v", spec.Name, err)
	}
	t.Cleanup(func() {
		p.Kill()
		if fault := fatal(spec.Log); fault != "" {
			t.Errorf("%s printed %q, see its log", spec.Name, fault)
		}
		if t.Failed() {
			t.Logf("the end of %s's log:\n%s", spec.Name, tail(spec.Log))
		}
	})
	return p
}

func start(spec Spec) (*Process, error) {
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()                            // the child has a copy
	cmd := exec.Command(spec.Path, spec.Args...) // its life is the test's, and Kill ends it
	cmd.Env = append(os.Environ(), spec.Env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = spec.Dir, log, log
	cmd.SysProcAttr, err = attributes(spec)
	if err != nil {
		return nil, err
	}
	p := &Process{spec: spec, cmd: cmd, done: make(chan struct{})}
	if err := p.run(); err != nil {
		return nil, err
	}
	return p, nil
}

// run starts the program from a goroutine of its own, and waits there: a parent-death signal is sent when the *thread* that started the child
// ends, so that thread must live as long as the child.
func (p *Process) run() error {
	started := make(chan error, 1)
	go func() {
		err := enter(p.spec.Enter, p.cmd.Start)
		started <- err
		if err != nil {
			return
		}
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return <-started
}

// enter calls prepare, if there is one, and then do, on a thread that ends with the calling goroutine.
func enter(prepare, do func() error) error {
	lockThread()
	if prepare != nil {
		if err := prepare(); err != nil {
			return err
		}
	}
	return do()
}

// Within calls do on a thread of its own after prepare has changed that thread (see Spec.Enter): sockets that do makes and programs that it starts
// belong where prepare has led.
func Within(prepare, do func() error) error {
	if prepare == nil {
		return do()
	}
	done := make(chan error, 1)
	go func() { done <- enter(prepare, do) }()
	return <-done
}

// PID of the process, also when it has ended.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Name from its Spec.
func (p *Process) Name() string { return p.spec.Name }

// Log is what it has printed so far, and what processes of its Spec before it had.
func (p *Process) Log() ([]byte, error) { return os.ReadFile(p.spec.Log) }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running says whether it has not ended; a paused process runs.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Status waits until it has ended, and is its exit status; -1: a signal ended it.
func (p *Process) Status() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// Kill ends it at once (SIGKILL), paused or not, and waits until it has ended.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Pause stops it where it stands (SIGSTOP): its connections stay open, and nobody answers.
func (p *Process) Pause() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = true
	return p.cmd.Process.Signal(syscall.SIGSTOP)
}

// Resume lets it go on (SIGCONT).
func (p *Process) Resume() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = false
	return p.cmd.Process.Signal(syscall.SIGCONT)
}

// Stop asks it to end and waits for that; when ctx ends first it is killed, and that is an error.
func (p *Process) Stop(ctx context.Context) error {
	signal := p.spec.Stop
	if signal == 0 {
		signal = syscall.SIGTERM
	}
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-p.done:
		return p.exit()
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("%s did not stop in time: %w", p.spec.Name, context.Cause(ctx))
	}
}

// exit is nil for exit status 0.
func (p *Process) exit() error {
	if p.err != nil {
		return fmt.Errorf("%s: %w", p.spec.Name, p.err)
	}
	return nil
}

// Ready polls until check is nil, the process ends, or ctx does.
func (p *Process) Ready(ctx context.Context, check func(context.Context) error) error {
	var last error
	for {
		if last = check(ctx); last == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready (%w); its log ends:\n%s", p.spec.Name, errors.Join(p.err, last), tail(p.spec.Log))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready (%w); its log ends:\n%s", p.spec.Name, last, tail(p.spec.Log))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// fatal finds what no program of ours may ever print: Go's words for a data race, a panic or a fault of the runtime.
func fatal(log string) string {
	b, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	for _, word := range []string{"WARNING: DATA RACE", "\npanic: ", "\nfatal error: "} {
		if bytes.Contains(b, []byte(word)) {
			return strings.TrimSpace(word)
		}
	}
	return ""
}

const tailBytes = 4096

// tail returns the end of a file.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-tailBytes):])
}

// Folder makes a folder for a part below a new temporary one that every user may traverse, since some servers refuse to run as root.
func Folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "streamhouse-e2e-") //nolint:usetesting // t.TempDir is below a folder that only root may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // other users must be able to enter
		t.Fatal(err)
	}
	return dir
}

// Subfolder makes dir/name; with unprivileged, it belongs to the user that unprivileged processes run as.
func Subfolder(t testing.TB, dir, name string, unprivileged bool) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if unprivileged {
		if err := giveAway(path); err != nil {
			t.Fatal(err)
		}
	}
	return path
}
