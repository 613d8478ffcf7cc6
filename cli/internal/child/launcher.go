package child

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
)

// Launcher starts processes. All of them come from one thread that lives as long as the Launcher: Linux sends the death signal when the
// *thread* that started a process ends, and Go ends threads as it likes.
type Launcher struct {
	requests chan request  // closed by Close
	ended    chan struct{} // closed when the thread is given back
}

type request struct {
	command *exec.Cmd
	reply   chan error // capacity 1: the thread never waits for the asker
}

// NewLauncher starts the thread. Close gives it back.
func NewLauncher() *Launcher {
	l := &Launcher{requests: make(chan request), ended: make(chan struct{})}
	go l.run()
	return l
}

// Close ends the Launcher. Requires: every process has ended, and nobody calls Start any more.
func (l *Launcher) Close() {
	close(l.requests)
	<-l.ended
}

func (l *Launcher) run() {
	defer close(l.ended)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for r := range l.requests {
		r.reply <- r.command.Start()
	}
}

// Start runs a process. The caller stops it.
func (l *Launcher) Start(spec Spec) (*Process, error) {
	command, log, err := prepare(&spec)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	r := request{command: command, reply: make(chan error, 1)}
	l.requests <- r
	if err := <-r.reply; err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	p := &Process{spec: spec, command: command, exited: make(chan struct{})}
	// Not waited for yet, so that the number is still this process's, even if it has ended already.
	id, err := Identify(command.Process.Pid)
	if err != nil && !errors.Is(err, ErrGone) {
		_ = command.Process.Kill()
		_ = command.Wait()
		return nil, fmt.Errorf("identify %s: %w", spec.Name, err)
	}
	p.id = Identity{PID: command.Process.Pid, Start: id.Start}
	go p.wait() // ends with the process
	return p, nil
}
