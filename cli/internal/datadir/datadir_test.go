package datadir

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/cli/internal/child"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "rewrite the golden files")

func newDir(t *testing.T) Dir {
	t.Helper()
	dir, err := At(filepath.Join(t.TempDir(), DefaultName))
	if err == nil {
		err = dir.Create()
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// People and scripts read dev.json: names and shape are a promise.
func TestDevFileIsStable(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	cluster := Cluster{
		ControlPlanes: []ControlPlane{{ID: "controlplane-1", URL: "http://127.0.0.1:20001", PID: 11}},
		Agents:        []Agent{{ID: "agent-az-a-1", Zone: "az-a", AgentGroup: "default", URL: "http://127.0.0.1:20002", PID: 12}},
		Postgres:      Postgres{URL: "postgres://u:p@127.0.0.1:20003/db", PID: 13},
		S3:            S3{Endpoint: "http://127.0.0.1:20004", Bucket: "streamhouse", AccessKey: "a", SecretKey: "s", Region: "us-east-1", PID: 14},
		APIKey:        "shk_x",
	}
	if err := dir.WriteCluster(cluster); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(dir.devFile())
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "dev.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("dev.json is\n%s\nwant\n%s", got, want)
	}
	if info, _ := os.Stat(dir.devFile()); info.Mode().Perm() != 0o600 {
		t.Errorf("dev.json holds secrets, its mode is %v", info.Mode())
	}
	back, found, err := dir.ReadCluster()
	if err != nil || !found || back.Agents[0] != cluster.Agents[0] {
		t.Errorf("read back %+v, %v, %v", back, found, err)
	}
	if err := dir.RemoveCluster(); err != nil {
		t.Fatal(err)
	}
	if _, found, err := dir.ReadCluster(); found || err != nil {
		t.Errorf("after the removal: %v, %v", found, err)
	}
}

func TestLockIsExclusiveAndGivenBack(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	first, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Lock(); !errors.Is(err, ErrLocked) {
		t.Fatalf("the second lock: %v, want ErrLocked", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := dir.WaitUnlocked(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for it: %v, want the deadline", err)
	}
	unlocked := make(chan error, 1)
	go func() { unlocked <- dir.WaitUnlocked(t.Context()) }()
	first.Release()
	if err := <-unlocked; err != nil {
		t.Errorf("waiting for it after the release: %v", err)
	}
}

func TestOwnerIsAliveOrNobody(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	if _, alive, err := dir.Owner(); alive || err != nil {
		t.Fatalf("nobody said that he is the owner: %v, %v", alive, err)
	}
	self, err := child.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for owner, want := range map[child.Identity]bool{self: true, {PID: self.PID, Start: "another"}: false} {
		if err := dir.WriteOwner(Owner{Identity: owner, Socket: "s"}); err != nil {
			t.Fatal(err)
		}
		if got, alive, err := dir.Owner(); alive != want || err != nil || got.Socket != "s" {
			t.Errorf("%v: alive %v, want %v; %v", owner, alive, want, err)
		}
	}
}

func TestPortsAreRememberedAndDistinct(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	state, err := dir.ReadState()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for i := range 50 {
		port, err := state.Port(t.Context(), strconv.Itoa(i), 0)
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Fatalf("port %d is given twice", port)
		}
		seen[port] = true
	}
	first := state.Ports["0"]
	if err := dir.WriteState(state); err != nil {
		t.Fatal(err)
	}
	if state, err = dir.ReadState(); err != nil {
		t.Fatal(err)
	}
	if port, err := state.Port(t.Context(), "0", 0); err != nil || port != first {
		t.Errorf("got port %d, %v, had %d", port, err, first)
	}
}

func TestPortsFromSkipsThoseInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	used := l.Addr().(*net.TCPAddr).Port
	state := &State{Ports: map[string]int{}}
	port, err := state.Port(t.Context(), "a", used)
	if err != nil || port <= used || port > used+50 {
		t.Errorf("got port %d, %v, want one soon after %d", port, err, used)
	}
	again, err := state.Port(t.Context(), "b", used)
	if err != nil || again == port {
		t.Errorf("got port %d, %v for the second part, the first has %d", again, err, port)
	}
	if _, err := state.Port(t.Context(), "c", lastPort+1); err == nil {
		t.Error("there is no port above the last")
	}
}

func TestFindLooksUpwards(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	below := filepath.Join(filepath.Dir(dir.Path()), "a", "b")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	if found, ok := Find(below); ok && found == dir {
		t.Error("a folder that no dev has used was found")
	}
	lock, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	lock.Release()
	if found, ok := Find(below); !ok || found != dir {
		t.Errorf("found %v, %v, want %v", found, ok, dir)
	}
}

func TestDamagedFilesAreErrorsThatNameThem(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	for _, name := range []string{"dev.json", "state.json", "owner.json", "processes.json"} {
		if err := os.WriteFile(dir.Join(name), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err1 := dir.ReadCluster()
	_, err2 := dir.ReadState()
	_, _, err3 := dir.Owner()
	_, err4 := dir.Leftovers()
	for _, err := range []error{err1, err2, err3, err4} {
		if _, ok := errors.AsType[*json.SyntaxError](err); !ok {
			t.Errorf("got %v, want a syntax error", err)
		}
	}
}

func TestOnlyLivingProcessesOfOursAreLeftOver(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	self, err := child.Identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	list := []Started{{Identity: child.Identity{PID: self.PID, Start: "another"}, Part: "stranger"}, {Identity: self, Part: "ours"}}
	if err := dir.WriteProcesses(list); err != nil {
		t.Fatal(err)
	}
	var asked []string
	left, err := dir.EndLeftovers(t.Context(), func(_ context.Context, s Started) error {
		asked = append(asked, s.Part)
		return nil
	})
	if err != nil || len(left) != 1 || len(asked) != 1 || asked[0] != "ours" {
		t.Errorf("left over: %v, %v, asked to end %v", left, err, asked)
	}
}

func TestWritingLeavesNoTemporaryFiles(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	for range 3 {
		if err := dir.WriteState(&State{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeJSON(dir.Join("x"), func() {}); err == nil {
		t.Error("a function cannot be written")
	}
	entries, err := os.ReadDir(dir.Path())
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}
