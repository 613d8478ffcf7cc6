package supervisor

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/datadir"
)

var errStopping = errors.New("dev is stopping")

// down stops everything that runs: agents first, since they flush, commit and hand over; PostgreSQL last. When kill is closed nothing is
// waited for any more. It returns when every process has ended and every goroutine has returned.
func (s *Supervisor) down(ctx context.Context, kill <-chan struct{}) {
	s.stop()
	s.mu.Lock()
	s.stopping = true // from here on no process is started, and no part added
	parts := s.parts
	s.mu.Unlock()
	patient, impatient := context.WithCancel(context.WithoutCancel(ctx))
	var ending sync.WaitGroup
	ending.Go(func() {
		select {
		case <-kill:
			impatient()
		case <-patient.Done():
		}
	})
	for _, kind := range []string{kindAgent, kindControlPlane, kindS3, kindPostgres} {
		s.stopKind(patient, parts, kind)
	}
	impatient()
	ending.Wait()
	s.watching.Wait()
	s.forget()
}

// stopKind stops the parts of one kind, all at once.
func (s *Supervisor) stopKind(ctx context.Context, parts []*part, kind string) {
	var stopping sync.WaitGroup
	for _, p := range parts {
		s.mu.Lock()
		process := p.process
		s.mu.Unlock()
		if p.kind != kind || process == nil {
			continue
		}
		stopping.Go(func() {
			if err := process.Stop(ctx); err != nil {
				s.listener.Report(err.Error())
			}
		})
	}
	stopping.Wait()
}

// forget removes what tells others of a running cluster.
func (s *Supervisor) forget() {
	if err := errors.Join(s.config.Dir.RemoveCluster(), s.config.Dir.WriteProcesses([]datadir.Started{})); err != nil {
		s.listener.Report(err.Error())
	}
}

// leftoverGrace is how long a process that was left behind may take to end.
const leftoverGrace = 10 * time.Second

// EndLeftover ends a process that a killed owner left behind. Nobody is served any more, so all but the database are killed at once.
func EndLeftover(ctx context.Context, l datadir.Started) error {
	signal := syscall.SIGKILL
	if l.Part == kindPostgres {
		signal = syscall.SIGINT
	}
	return l.Terminate(ctx, signal, leftoverGrace)
}
