package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/child"
	"github.com/streamhouse/streamhouse/cli/internal/control"
)

// Kinds of parts, in the order in which they start.
const (
	kindPostgres     = "postgres"
	kindS3           = "s3"
	kindControlPlane = "controlplane"
	kindAgent        = "agent"
)

// States of a part.
const (
	stateStarting   = "starting"
	stateRunning    = "running"
	stateExited     = "exited"
	stateRestarting = "restarting"
)

// part is one process of the cluster, over all its lives.
type part struct {
	name, kind  string
	url         string
	zone, group string // agents alone
	spec        child.Spec
	ready       func(context.Context) error // nil: usable now

	// Guarded by Supervisor.mu.
	state    string
	since    time.Time
	reason   string
	process  *child.Process // of the newest life; nil: never started
	restarts int            // in a row
}

// set changes the state. Requires: Supervisor.mu.
func (p *part) set(state, reason string) {
	p.state, p.reason, p.since = state, reason, time.Now()
}

// pid is 0 while the part does not run. Requires: Supervisor.mu.
func (p *part) pid() int {
	if p.process == nil || (p.state != stateRunning && p.state != stateStarting) {
		return 0
	}
	return p.process.ID().PID
}

// status of the part. Requires: Supervisor.mu.
func (p *part) status() control.Part {
	return control.Part{
		Name: p.name, Kind: p.kind, State: p.state, PID: p.pid(), URL: p.url, Zone: p.zone, AgentGroup: p.group,
		Since: p.since, Reason: p.reason, Log: p.spec.LogFile,
	}
}

const (
	readyTime  = 60 * time.Second
	readyEvery = 50 * time.Millisecond
	probeTime  = 3 * time.Second
)

// awaitReady waits until the part's process is usable; it fails when the process ends before, with what it said last.
func (p *part) awaitReady(ctx context.Context, process *child.Process) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTime, fmt.Errorf("not ready after %v", readyTime))
	defer cancel()
	ticker := time.NewTicker(readyEvery)
	defer ticker.Stop()
	for {
		probe, done := context.WithTimeout(ctx, probeTime)
		last := p.ready(probe)
		done()
		select {
		case <-process.Exited():
			return fmt.Errorf("%s ended while it started (%s); its log, %s, ends with: %s", p.name, ending(process), p.spec.LogFile, lastLine(p.spec.LogFile))
		default:
		}
		if last == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-process.Exited():
		case <-ctx.Done():
			return fmt.Errorf("%s: %w (%w); its log is %s", p.name, context.Cause(ctx), last, p.spec.LogFile)
		}
	}
}

// ending says how a process ended. Requires: it has.
func ending(process *child.Process) string {
	if err := process.Err(); err != nil {
		return err.Error()
	}
	return "exit status 0"
}

// tailBytes of a log are looked at for its last line.
const tailBytes = 4 << 10

func lastLine(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return "(unreadable)"
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > tailBytes {
		_, _ = file.Seek(-tailBytes, io.SeekEnd)
	}
	content, _ := io.ReadAll(io.LimitReader(file, tailBytes))
	text := strings.TrimSpace(string(content))
	if text == "" {
		return "(nothing)"
	}
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// httpReady asks a path that answers 200 when the part is usable.
func httpReady(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return fmt.Errorf("ask whether it is ready: %w", err)
		}
		response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
		if err != nil {
			return errors.New("it does not answer")
		}
		defer response.Body.Close()
		said, _ := io.ReadAll(io.LimitReader(response.Body, tailBytes))
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s: %s", response.Status, strings.TrimSpace(string(said)))
		}
		return nil
	}
}
