package supervisor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/child"
	"github.com/streamhouse/streamhouse/cli/internal/datadir"
)

// add makes the part known, before its process is.
func (s *Supervisor) add(p *part) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return errStopping
	}
	p.set(stateStarting, "")
	s.parts = append(s.parts, p)
	return nil
}

func (s *Supervisor) startNew(ctx context.Context, p *part) error {
	if err := s.add(p); err != nil {
		return err
	}
	return s.start(ctx, p)
}

// start runs a part whose state is starting, and returns when it is ready. From then on it is watched until it ends.
func (s *Supervisor) start(ctx context.Context, p *part) error {
	process, err := s.launch(p)
	if err == nil {
		err = p.awaitReady(ctx, process)
		if err != nil && s.life.Err() == nil { // else down stops it gently
			process.Kill()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		p.set(stateExited, err.Error())
		return err
	}
	p.set(stateRunning, "")
	s.watching.Go(func() { s.watch(p, process) })
	return nil
}

// launch starts the process and notes it, so that it can be found should this process be killed.
func (s *Supervisor) launch(p *part) (*child.Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil, errStopping
	}
	process, err := s.launcher.Start(p.spec)
	if err != nil {
		return nil, err
	}
	p.process = process
	s.started = slices.DeleteFunc(s.started, func(d datadir.Started) bool { return d.Part == p.name })
	s.started = append(s.started, datadir.Started{Identity: process.ID(), Part: p.name})
	if err := s.config.Dir.WriteProcesses(s.started); err != nil {
		process.Kill()
		return nil, err
	}
	return process, nil
}

// watch waits for the end of a process that was ready, and says so; with Restart, the part lives again.
func (s *Supervisor) watch(p *part, process *child.Process) {
	<-process.Exited()
	if !s.noteDeath(p, process) {
		return
	}
	if _, err := s.publish(); err != nil {
		s.listener.Report(err.Error())
	}
	if !s.config.Restart {
		return
	}
	s.revive(s.life, p)
}

// noteDeath returns false when everything is being stopped.
func (s *Supervisor) noteDeath(p *part, process *child.Process) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	lived := time.Since(p.since)
	p.set(stateExited, ending(process))
	if s.config.Restart {
		p.set(stateRestarting, ending(process))
	}
	if lived > steady {
		p.restarts = 0
	}
	s.listener.Report(s.obituary(p, process.ID().PID))
	return true
}

func (s *Supervisor) obituary(p *part, pid int) string {
	text := fmt.Sprintf("%s (process %d) died: %s; its log is %s", p.name, pid, p.reason, p.spec.LogFile)
	switch {
	case s.config.Restart:
		return text + "; it is started again"
	case p.kind == kindAgent:
		return text + "; start it again with `streamhouse dev agent start --id " + p.name + "`"
	}
	return text + "; stop dev and start it again, or use --restart from the start"
}

const (
	steady      = time.Minute // a life of this length forgets the deaths before
	restartMost = 20          // in a row
	restartBase = 250 * time.Millisecond
	restartMax  = 10 * time.Second
)

// revive starts the part again, a bounded number of times in a row, with growing pauses.
func (s *Supervisor) revive(ctx context.Context, p *part) {
	for {
		s.mu.Lock()
		p.restarts++
		n := p.restarts
		s.mu.Unlock()
		if n > restartMost {
			s.giveUp(p)
			return
		}
		pause := min(restartMax, restartBase<<min(n-1, 10))
		if !sleep(ctx, pause/2+rand.N(pause/2)) {
			return
		}
		s.mu.Lock()
		p.set(stateStarting, "")
		s.mu.Unlock()
		err := s.start(ctx, p)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			s.reportRevival(p)
			return
		}
		s.listener.Report(err.Error())
		s.mu.Lock()
		p.set(stateRestarting, err.Error())
		s.mu.Unlock()
	}
}

func (s *Supervisor) giveUp(p *part) {
	s.mu.Lock()
	p.set(stateExited, p.reason)
	s.mu.Unlock()
	s.listener.Report(fmt.Sprintf("%s died %d times in a row and is not started any more; its log is %s", p.name, restartMost, p.spec.LogFile))
}

func (s *Supervisor) reportRevival(p *part) {
	if _, err := s.publish(); err != nil {
		s.listener.Report(err.Error())
	}
	s.mu.Lock()
	pid := p.pid()
	s.mu.Unlock()
	s.listener.Report(fmt.Sprintf("%s runs again (process %d)", p.name, pid))
}

// sleep returns false when ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
