// Package child runs processes that belong to this one: each in a process group of its own, with a log file, and with an end that is
// bounded. On Linux they die with the process that started them, however that ends.
// Nothing here knows what the processes do, or restarts them.
// Read: child.go, launcher.go, identity.go, system_linux.go.
package child

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Spec says what to run and how to end it.
type Spec struct {
	// Name is for people.
	Name string
	// Path of the program and its arguments, without the program's name. Arguments are no place for secrets: every user sees them.
	Path string
	Args []string
	// Env is the whole environment.
	Env []string
	// Dir is the working directory; empty: this process's.
	Dir string
	// Input is read by the process; nil: nothing.
	Input io.Reader
	// LogFile takes what it prints, appended.
	LogFile string
	// User to run as; nil: this process's.
	User *User
	// StopSignal asks the process to end; 0: SIGTERM.
	StopSignal syscall.Signal
	// DeathSignal is sent by the kernel when this process dies; 0: SIGKILL. Linux only.
	DeathSignal syscall.Signal
	// Grace is how long the process may take to end after StopSignal; then it is killed.
	Grace time.Duration
}

// User is an account of the operating system.
type User struct {
	Name     string
	UID, GID uint32
}

// maxLogBytes is the size at which a log file makes way for a new one when its process is started.
const maxLogBytes = 16 << 20

// Process is one that was started. Its methods may be called by any goroutine.
type Process struct {
	spec    Spec
	id      Identity
	command *exec.Cmd
	exited  chan struct{} // closed when the process has ended and was waited for
	err     error         // what Wait said; written before exited is closed
}

// ID says which process it is.
func (p *Process) ID() Identity { return p.id }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Err says how the process ended; nil: by itself, with status 0. Requires: Exited is closed.
func (p *Process) Err() error { return p.err }

// Stop asks the process to end and waits for it; after the grace, or when ctx ends, it is killed. ErrKilled says that it had to be.
func (p *Process) Stop(ctx context.Context) error {
	p.signal(p.spec.StopSignal)
	p.signal(syscall.SIGCONT) // one that is paused hears nothing
	timer := time.NewTimer(p.spec.Grace)
	defer timer.Stop()
	select {
	case <-p.exited:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	p.Kill()
	return fmt.Errorf("%s: %w", p.spec.Name, ErrKilled)
}

// ErrKilled says that a process did not end when it was asked to.
var ErrKilled = errors.New("it did not stop in time and was killed")

// Kill ends the process and what else is in its group, and waits for its end.
func (p *Process) Kill() {
	select {
	case <-p.exited: // its number may be another's by now
		return
	default:
	}
	_ = syscall.Kill(-p.id.PID, syscall.SIGKILL)
	<-p.exited
}

func (p *Process) signal(s syscall.Signal) {
	_ = p.command.Process.Signal(s) // one that has ended needs none
}

func (p *Process) wait() {
	p.err = p.command.Wait()
	close(p.exited)
}

// prepare turns the spec into a command; the log file is the caller's to close once the command has been started.
func prepare(spec *Spec) (*exec.Cmd, *os.File, error) {
	if spec.StopSignal == 0 {
		spec.StopSignal = syscall.SIGTERM
	}
	if spec.DeathSignal == 0 {
		spec.DeathSignal = syscall.SIGKILL
	}
	log, err := openLog(spec.LogFile)
	if err != nil {
		return nil, nil, err
	}
	command := exec.Command(spec.Path, spec.Args...)
	command.Env, command.Dir, command.Stdin = spec.Env, spec.Dir, spec.Input
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = attributes(spec.DeathSignal)
	if spec.User != nil {
		command.SysProcAttr.Credential = &syscall.Credential{Uid: spec.User.UID, Gid: spec.User.GID}
	}
	return command, log, nil
}

func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("create folder of logs: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.Size() > maxLogBytes {
		_ = os.Rename(path, path+".old") // at worst the file goes on growing
	}
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return log, nil
}
