package supervisor

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/child"
	"github.com/streamhouse/streamhouse/cli/internal/control"
	"github.com/streamhouse/streamhouse/cli/internal/datadir"
)

// cluster is one that runs in the background of a test, of fake programs.
type cluster struct {
	t      *testing.T
	dir    datadir.Dir
	config Config
	bin    string
	stop   context.CancelFunc
	kill   chan struct{}
	ended  chan error

	mu      sync.Mutex // guards reports
	reports []string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	dir, err := datadir.At(filepath.Join(t.TempDir(), datadir.DefaultName))
	if err != nil {
		t.Fatal(err)
	}
	bin := fakeBin(t)
	return &cluster{t: t, dir: dir, bin: bin, config: Config{
		Dir: dir, Bin: bin, Zones: []string{"a", "b"}, AgentsPerZone: 1, AgentGroup: "default", ControlPlanes: 2,
		SessionDuration: 30 * time.Second, SuspectAfter: 2 * time.Second,
		DatabaseURL: "postgres://u:p@127.0.0.1:1/none",
		S3:          datadir.S3{Endpoint: "http://127.0.0.1:1", Bucket: "b", Region: "r", AccessKey: "ak", SecretKey: "sk"},
	}}
}

// run starts it and waits until it is ready.
func (c *cluster) run() datadir.Cluster {
	c.t.Helper()
	ready := c.begin()
	select {
	case cluster := <-ready:
		return cluster
	case err := <-c.ended:
		c.t.Fatalf("the cluster ended: %v", err)
	case <-time.After(30 * time.Second):
		c.t.Fatal("the cluster does not get ready")
	}
	return datadir.Cluster{}
}

func (c *cluster) begin() <-chan datadir.Cluster {
	ctx, stop := context.WithCancel(context.Background())
	c.stop, c.kill, c.ended = stop, make(chan struct{}), make(chan error, 1)
	ready := make(chan datadir.Cluster, 1)
	ended := c.ended
	go func() {
		ended <- Run(ctx, c.kill, c.config, Listener{Ready: func(cluster datadir.Cluster) { ready <- cluster }, Report: c.report})
	}()
	c.t.Cleanup(stop)
	return ready
}

func (c *cluster) report(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reports = append(c.reports, text)
}

func (c *cluster) reported(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.reports, func(r string) bool { return strings.Contains(r, text) })
}

func (c *cluster) end() {
	c.t.Helper()
	c.stop()
	c.awaitEnd()
}

func (c *cluster) awaitEnd() {
	c.t.Helper()
	select {
	case err := <-c.ended:
		if err != nil {
			c.t.Errorf("the cluster ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		c.t.Fatal("the cluster does not end")
	}
}

func (c *cluster) orders() control.Caller {
	c.t.Helper()
	caller, err := Running(c.dir)
	if err != nil {
		c.t.Fatal(err)
	}
	return caller
}

func (c *cluster) part(name string) control.Part {
	c.t.Helper()
	parts, err := c.orders().Status(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	i := slices.IndexFunc(parts, func(p control.Part) bool { return p.Name == name })
	if i < 0 {
		c.t.Fatalf("no part %s in %v", name, parts)
	}
	return parts[i]
}

func (c *cluster) devFile() datadir.Cluster {
	c.t.Helper()
	cluster, found, err := c.dir.ReadCluster()
	if err != nil || !found {
		c.t.Fatalf("dev.json: %v, %v", found, err)
	}
	return cluster
}

// checkNothingLeft fails if a process runs or a file tells of a running cluster.
func (c *cluster) checkNothingLeft() {
	c.t.Helper()
	for _, pid := range fakePIDs(c.t, c.bin) {
		c.t.Errorf("process %d was left behind", pid)
	}
	if _, found, err := c.dir.ReadCluster(); found || err != nil {
		c.t.Errorf("dev.json was left behind: %v", err)
	}
	if _, err := Running(c.dir); !errors.Is(err, ErrNotRunning) {
		c.t.Errorf("somebody is said to run it: %v", err)
	}
}

func await(t *testing.T, what string, there func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !there() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestEverythingStartsAndStopsInOrder(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	cluster := c.run()
	if len(cluster.ControlPlanes) != 2 || len(cluster.Agents) != 2 || cluster.APIKey == "" || cluster.S3.SecretKey != "sk" {
		t.Errorf("ready with %+v", cluster)
	}
	if written := c.devFile(); !reflect.DeepEqual(written, cluster) {
		t.Errorf("dev.json is %+v, said was %+v", written, cluster)
	}
	c.end()
	c.checkNothingLeft()
	var stopped []string
	for _, event := range fakeEvents(t, c.bin) {
		if name, found := strings.CutPrefix(event, "stopped "); found {
			stopped = append(stopped, strings.TrimRight(name, "0123456789-ab"))
		}
	}
	if want := []string{"agent", "agent", "controlplane", "controlplane"}; !slices.Equal(stopped, want) {
		t.Errorf("stopped in the order %v, want %v", stopped, want)
	}
}

func TestSecretsAreNotInArguments(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	cluster := c.run()
	defer c.end()
	for _, pid := range fakePIDs(t, c.bin) {
		line, err := exec.Command("ps", "-o", "args=", "-p", itoa(pid)).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{cluster.APIKey, "shk_", "u:p@", cluster.S3.SecretKey} {
			if strings.Contains(string(line), secret) {
				t.Errorf("everyone can read %q in %s", secret, line)
			}
		}
	}
	for _, name := range []string{"state.json", "dev.json", "control.sock", "processes.json"} {
		info, err := os.Stat(c.dir.Join(name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s can be used by others: %v", name, info.Mode())
		}
	}
}

func TestRestartKeepsAddressesAndKeys(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	before := c.run()
	c.end()
	after := c.run()
	c.end()
	if before.APIKey != after.APIKey {
		t.Error("the admin's key changed")
	}
	for i := range before.Agents {
		if before.Agents[i].URL != after.Agents[i].URL {
			t.Errorf("%s moved from %s to %s", before.Agents[i].ID, before.Agents[i].URL, after.Agents[i].URL)
		}
	}
	for i := range before.ControlPlanes {
		if before.ControlPlanes[i].URL != after.ControlPlanes[i].URL {
			t.Errorf("%s moved", before.ControlPlanes[i].ID)
		}
	}
	state, err := c.dir.ReadState()
	if err != nil || state.Keys["dev-agent-default"].Secret == "" || state.Keys["dev-client-default"].Secret == "" {
		t.Errorf("the keys are not kept: %+v, %v", state, err)
	}
}

func TestDeadAgentIsReportedAndStartedAgainByItsID(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	before := c.run()
	defer c.end()
	victim := before.Agents[0]
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "the report", func() bool { return c.reported(victim.ID) })
	await(t, "dev.json without it", func() bool { return len(c.devFile().Agents) == 1 })
	if p := c.part(victim.ID); p.State != stateExited || p.PID != 0 || !strings.Contains(p.Reason, "killed") {
		t.Errorf("its state is %+v", p)
	}
	if _, err := c.orders().StartAgent(t.Context(), control.NewAgent{ID: victim.ID, Zone: "elsewhere"}); err == nil {
		t.Error("an agent changed its zone")
	}
	again, err := c.orders().StartAgent(t.Context(), control.NewAgent{ID: victim.ID})
	if err != nil {
		t.Fatal(err)
	}
	if again.URL != victim.URL || again.PID == victim.PID || again.Zone != victim.Zone {
		t.Errorf("it came back as %+v, was %+v", again, victim)
	}
	if agents := c.devFile().Agents; len(agents) != 2 || agents[0].PID != again.PID {
		t.Errorf("dev.json has %+v", agents)
	}
}

func TestAgentsAreAdded(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.run()
	defer c.end()
	for _, want := range []control.Part{{Name: "agent-a-2", Zone: "a"}, {Name: "agent-b-2", Zone: "b"}, {Name: "mine", Zone: "c"}} {
		order := control.NewAgent{Zone: want.Zone}
		if want.Name == "mine" {
			order.ID = "mine"
		}
		got, err := c.orders().StartAgent(t.Context(), order)
		if err != nil || got.Name != want.Name || got.Zone != want.Zone || got.State != stateRunning {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	if n := len(c.devFile().Agents); n != 5 {
		t.Errorf("dev.json has %d agents, want 5", n)
	}
	for _, refused := range []control.NewAgent{
		{ID: "agent-a-1"}, {ID: "../x"}, {ID: "postgres"}, {ID: "controlplane-1"}, {ID: ".."}, {Zone: "a b"}, {AgentGroup: "No"},
	} {
		if part, err := c.orders().StartAgent(t.Context(), refused); err == nil {
			t.Errorf("%+v was started: %+v", refused, part)
		}
	}
}

// An agent group is made when its first agent starts; its agents have a key of their own.
func TestAgentGroupIsMadeForItsFirstAgent(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.config.ControlPlanes = 1 // the fakes do not share what they know
	c.run()
	defer c.end()
	for _, want := range []string{"agent-a-2", "agent-a-3"} {
		got, err := c.orders().StartAgent(t.Context(), control.NewAgent{AgentGroup: "staging"})
		if err != nil || got.Name != want || got.AgentGroup != "staging" {
			t.Errorf("got %+v, %v, want %s of staging", got, err, want)
		}
	}
}

func commandLine(t *testing.T, pid int) string {
	t.Helper()
	line, err := exec.Command("ps", "-ww", "-o", "args=", "-p", itoa(pid)).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

func TestAgentFlagsArePassedOn(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.config.AgentFlags = []string{"linger=1s"}
	cluster := c.run()
	defer c.end()
	if line := commandLine(t, cluster.Agents[0].PID); !strings.Contains(line, "--linger=1s") {
		t.Errorf("an agent of the dev runs as %s", line)
	}
	own, err := c.orders().StartAgent(t.Context(), control.NewAgent{Flags: []string{"linger=2s", "telemetry=true"}})
	if err != nil {
		t.Fatal(err)
	}
	if line := commandLine(t, own.PID); !strings.Contains(line, "--linger=2s") || strings.Contains(line, "--linger=1s") || !strings.Contains(line, "--telemetry=true") {
		t.Errorf("one with flags of its own runs as %s", line)
	}
	for flag, want := range map[string]string{"lingering=1s": "no flag --lingering", "zone=z": "dev itself", "--linger=1s": "without dashes", "linger": "NAME=VALUE"} {
		if _, err := c.orders().StartAgent(t.Context(), control.NewAgent{Flags: []string{flag}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want one about %q", flag, err, want)
		}
	}
	unknown := newCluster(t).config
	unknown.AgentFlags = []string{"lingering=1s"}
	if err := Run(t.Context(), nil, unknown, Listener{}); !errors.As(err, new(UsageError)) {
		t.Errorf("a flag that agents do not know: %v", err)
	}
}

func TestRestartRevivesWhatDies(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.config.Restart = true
	before := c.run()
	defer c.end()
	for _, pid := range []int{before.ControlPlanes[1].PID, before.Agents[1].PID} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "their return", func() bool {
		now := c.devFile()
		return len(now.Agents) == 2 && len(now.ControlPlanes) == 2 &&
			now.Agents[1].PID != before.Agents[1].PID && now.ControlPlanes[1].PID != before.ControlPlanes[1].PID
	})
	if !c.reported("runs again") {
		t.Error("nobody was told")
	}
}

func TestPartThatDiesWhileStartingIsExplained(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	fakeRole(t, c.bin, "agent-b-1", "die")
	c.begin()
	select {
	case err := <-c.ended:
		if err == nil || !strings.Contains(err.Error(), "agent-b-1 ended while it started (exit status 7)") || !strings.Contains(err.Error(), "cannot go on") {
			t.Errorf("got %v, want the part, its status and its last words", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it was not noticed")
	}
	c.checkNothingLeft()
}

func TestStopWhileStarting(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	fakeRole(t, c.bin, "agent-a-1", "never-ready")
	c.begin()
	await(t, "the agent", func() bool { return slices.Contains(fakeEvents(t, c.bin), "started agent-a-1") })
	if _, err := c.orders().StartAgent(t.Context(), control.NewAgent{}); err == nil || !strings.Contains(err.Error(), "still starting") {
		t.Errorf("an order during the start: %v", err)
	}
	if err := c.orders().Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.awaitEnd()
	c.checkNothingLeft()
}

func TestSecondInterruptKillsAtOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	fakeRole(t, c.bin, "agent-a-1", "deaf")
	c.run()
	c.stop()
	await(t, "the others' end", func() bool { return slices.Contains(fakeEvents(t, c.bin), "stopped agent-b-1") })
	close(c.kill)
	c.awaitEnd()
	c.checkNothingLeft()
	if !c.reported("agent-a-1: it did not stop in time and was killed") {
		t.Errorf("the kill was not reported: %v", c.reports)
	}
}

func TestOneDevForOneDataDir(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.run()
	if err := Run(t.Context(), nil, c.config, Listener{}); !errors.Is(err, ErrRunning) {
		t.Errorf("a second one: %v, want ErrRunning", err)
	}
	if len(c.devFile().Agents) != 2 {
		t.Error("the second one disturbed the first")
	}
	c.end()
}

func TestTwoDevsSideBySide(t *testing.T) {
	t.Parallel()
	one, two := newCluster(t), newCluster(t)
	a, b := one.run(), two.run()
	if a.Agents[0].URL == b.Agents[0].URL {
		t.Error("both use one address")
	}
	one.end()
	if p := two.part("agent-a-1"); p.State != stateRunning {
		t.Errorf("the end of one touched the other: %+v", p)
	}
	two.end()
	two.checkNothingLeft()
}

func TestDownStopsFromOutside(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.run()
	ended, err := Down(t.Context(), c.dir)
	if err != nil || len(ended) != 0 {
		t.Errorf("down: %v, %v", ended, err)
	}
	c.awaitEnd()
	c.checkNothingLeft()
	if _, err := Down(t.Context(), c.dir); err != nil {
		t.Errorf("down of nothing: %v", err)
	}
}

// The supervisor is killed: the kernel ends the parts, and the next start and down find a clean place.
func TestKilledSupervisorLeavesNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), fakeVariable+"=supervisor", "STREAMHOUSE_TEST_DIR="+c.dir.Path(), "STREAMHOUSE_TEST_BIN="+c.bin)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "dev.json", func() bool { _, found, _ := c.dir.ReadCluster(); return found })
	pids := fakePIDs(t, c.bin)
	if len(pids) != 4 {
		t.Errorf("%d parts run, want 4", len(pids))
	}
	_ = command.Process.Kill()
	_ = command.Wait()
	if _, err := Down(t.Context(), c.dir); err != nil {
		t.Errorf("down: %v", err)
	}
	await(t, "the parts' end", func() bool { return len(fakePIDs(t, c.bin)) == 0 })
	c.checkNothingLeft()
	c.run()
	c.end()
}

// Where the kernel does not end them, down does.
func TestDownEndsLeftovers(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	if err := c.dir.Create(); err != nil {
		t.Fatal(err)
	}
	orphan := exec.Command("sleep", "60")
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := child.Identify(orphan.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.dir.WriteProcesses([]datadir.Started{{Identity: id, Part: "agent-a-1"}}); err != nil {
		t.Fatal(err)
	}
	reaped := make(chan struct{})
	go func() { _ = orphan.Wait(); close(reaped) }()
	ended, err := Down(t.Context(), c.dir)
	if err != nil || len(ended) != 1 || ended[0].Part != "agent-a-1" {
		t.Errorf("down: %v, %v", ended, err)
	}
	<-reaped
}

func TestConfigIsJudged(t *testing.T) {
	t.Parallel()
	good := newCluster(t).config
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"--controlplanes":   func(c *Config) { c.ControlPlanes = 0 },
		"--agents-per-zone": func(c *Config) { c.AgentsPerZone = -1 },
		"--agents":          func(c *Config) { c.AgentsPerZone = 51 },
		"twice":             func(c *Config) { c.Zones = []string{"a", "a"} },
		"--zones":           func(c *Config) { c.Zones = []string{"a/b"} },
		"--agent-group":     func(c *Config) { c.AgentGroup = "A" },
		"--ports-from":      func(c *Config) { c.PortsFrom = -1 },
		"--agent-flag":      func(c *Config) { c.AgentFlags = []string{"listen=x"} },
		"--s3-md5":          func(c *Config) { c.S3MD5 = true },
		"--s3-put-delay":    func(c *Config) { c.S3, c.S3PutDelay = datadir.S3{}, time.Minute },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want one about %s", err, want)
		}
	}
	good.Bin = t.TempDir()
	if err := Run(t.Context(), nil, good, Listener{}); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("without programs: %v", err)
	}
}

func TestHeartbeatFitsShortSessions(t *testing.T) {
	t.Parallel()
	for durations, want := range map[[2]time.Duration]time.Duration{
		{30 * time.Second, 2 * time.Second}: time.Second, {2 * time.Second, 10 * time.Second}: 500 * time.Millisecond,
		{time.Minute, 200 * time.Millisecond}: 100 * time.Millisecond,
	} {
		if got := (Config{SessionDuration: durations[0], SuspectAfter: durations[1]}).heartbeat(); got != want {
			t.Errorf("%v: got %v, want %v", durations, got, want)
		}
	}
}

func TestAbandonedDatabasesAreRemoved(t *testing.T) {
	t.Parallel()
	root, alive := t.TempDir(), t.TempDir()
	for name, owner := range map[string]string{
		"gone": filepath.Join(os.TempDir(), "streamhouse-no-such-folder"), "alive": alive, "elsewhere": "/no/such/folder",
	} {
		if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name, belongsTo), []byte(owner+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	removeAbandoned(root)
	for name, kept := range map[string]bool{"gone": false, "alive": true, "elsewhere": true} {
		if _, err := os.Stat(filepath.Join(root, name)); (err == nil) != kept {
			t.Errorf("%s: kept %v, want %v", name, err == nil, kept)
		}
	}
}

func TestLastLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	for content, want := range map[string]string{
		"": "(nothing)", "one\n": "one", "one\ntwo\n\n": "two", strings.Repeat("x", 3*tailBytes) + "\nlast": "last",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := lastLine(path); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := lastLine(path + ".not"); got != "(unreadable)" {
		t.Errorf("got %q", got)
	}
}
