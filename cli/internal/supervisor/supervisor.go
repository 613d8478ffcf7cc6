package supervisor

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/streamhouse/streamhouse/cli/internal/child"
	"github.com/streamhouse/streamhouse/cli/internal/control"
	"github.com/streamhouse/streamhouse/cli/internal/datadir"
)

// Listener is told what happens.
type Listener struct {
	// Ready is called once, when everything runs.
	Ready func(datadir.Cluster)
	// Report takes a sentence about something that people should know.
	Report func(string)
}

// Supervisor runs one cluster.
type Supervisor struct {
	config   Config
	listener Listener
	launcher *child.Launcher
	state    *datadir.State // guarded by starting once everything runs
	s3       datadir.S3     // without the pid
	// databaseURL with the password.
	databaseURL string

	life     context.Context    //nolint:containedctx // of all that is started: it outlives the orders that start it
	stop     context.CancelFunc // ends life, and so begins the stop
	watching sync.WaitGroup     // a watcher for each part that runs

	starting sync.Mutex // one order to start agents at a time; taken before mu
	complete bool       // everything runs. Guarded by starting
	mu       sync.Mutex // guards all below, and the parts' states
	parts    []*part    // in the order in which they were first started
	started  []datadir.Started
	stopping bool
}

// ErrRunning says that a cluster runs in the data dir already.
var ErrRunning = errors.New("a dev runs in this data dir already: see `streamhouse dev status`, or choose another --data-dir")

// UsageError says that a program which is started does not know what it was given.
type UsageError struct{ error }

// Unwrap returns what is wrong.
func (e UsageError) Unwrap() error { return e.error }

// Run starts the cluster, keeps it until ctx ends or it is told to stop, and stops it; when kill is closed, at once. It returns when
// nothing of it runs any more.
func Run(ctx context.Context, kill <-chan struct{}, config Config, listener Listener) error {
	if err := errors.Join(config.Validate(), config.checkPrograms()); err != nil {
		return err
	}
	if err := config.checkAgentFlags(ctx, config.AgentFlags); err != nil {
		return UsageError{err}
	}
	if err := config.Dir.Create(); err != nil {
		return err
	}
	lock, err := takeLock(ctx, config.Dir)
	if errors.Is(err, datadir.ErrLocked) {
		return ErrRunning
	}
	if err != nil {
		return err
	}
	defer lock.Release()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s := &Supervisor{config: config, listener: listener, launcher: child.NewLauncher(), life: ctx, stop: stop}
	defer s.launcher.Close()
	return s.run(ctx, kill)
}

func (s *Supervisor) run(ctx context.Context, kill <-chan struct{}) error {
	if err := s.endLeftovers(ctx); err != nil {
		return err
	}
	defer s.down(ctx, kill)
	if err := s.takeOrders(ctx); err != nil {
		return err
	}
	defer s.config.Dir.RemoveOwner()
	if err := s.up(ctx); err != nil {
		if ctx.Err() != nil { // told to stop meanwhile: that is no failure
			return nil
		}
		return err
	}
	cluster, err := s.publish()
	if err != nil {
		return err
	}
	s.starting.Lock()
	s.complete = true
	s.starting.Unlock()
	s.listener.Ready(cluster)
	<-ctx.Done()
	return nil
}

// takeOrders opens the socket for other commands and says where it is.
func (s *Supervisor) takeOrders(ctx context.Context) error {
	l, err := control.Listen(ctx, s.config.Dir.Join("control.sock"))
	if err != nil {
		return err
	}
	self, err := child.Identify(ownPID())
	if err == nil {
		err = s.config.Dir.WriteOwner(datadir.Owner{Identity: self, Socket: l.Addr().String()})
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	s.watching.Go(func() {
		control.Serve(ctx, l, orders{s}, func(err error) { s.listener.Report(err.Error()) })
	})
	return nil
}

// endLeftovers ends what a killed owner left behind where the kernel does not do it.
func (s *Supervisor) endLeftovers(ctx context.Context) error {
	ended, err := s.config.Dir.EndLeftovers(ctx, EndLeftover)
	for _, l := range ended {
		s.listener.Report(fmt.Sprintf("ended %s (process %d), left behind by a dev that was killed", l.Part, l.PID))
	}
	if err != nil {
		return err
	}
	return s.config.Dir.RemoveCluster()
}

// publish writes dev.json: what runs now.
func (s *Supervisor) publish() (datadir.Cluster, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cluster()
	return c, s.config.Dir.WriteCluster(c)
}

// cluster describes what runs now. Requires: mu.
func (s *Supervisor) cluster() datadir.Cluster {
	c := datadir.Cluster{
		ControlPlanes: []datadir.ControlPlane{}, Agents: []datadir.Agent{},
		Postgres: datadir.Postgres{URL: s.databaseURL}, S3: s.s3, APIKey: s.state.AdminKey,
		TracesURL: s.config.TracesURL,
	}
	for _, p := range s.parts {
		if p.state != stateRunning {
			continue
		}
		switch p.kind {
		case kindPostgres:
			c.Postgres.PID = p.pid()
		case kindS3:
			c.S3.PID = p.pid()
		case kindControlPlane:
			c.ControlPlanes = append(c.ControlPlanes, datadir.ControlPlane{ID: p.name, URL: p.url, PID: p.pid()})
		case kindAgent:
			c.Agents = append(c.Agents, datadir.Agent{ID: p.name, Zone: p.zone, AgentGroup: p.group, URL: p.url, PID: p.pid()})
		}
	}
	if len(c.ControlPlanes) > 0 {
		c.ConsoleURL = c.ControlPlanes[0].URL + "/console/#key=" + c.APIKey
	}
	return c
}

func (s *Supervisor) controlPlaneURLs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var urls []string
	for _, p := range s.parts {
		if p.kind == kindControlPlane {
			urls = append(urls, p.url)
		}
	}
	return urls
}
