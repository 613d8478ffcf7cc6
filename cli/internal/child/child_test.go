package child

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The tests' processes are this very program, told by the environment what to be.
const roleVariable = "STREAMHOUSE_TEST_ROLE"

func TestMain(m *testing.M) {
	switch role, argument, _ := strings.Cut(os.Getenv(roleVariable), " "); role {
	case "":
		goleak.VerifyTestMain(m)
	case "sleep":
		fmt.Fprintln(os.Stdout, "ready")
		time.Sleep(time.Minute)
	case "deaf":
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT)
		fmt.Fprintln(os.Stdout, "ready")
		time.Sleep(time.Minute)
	case "exit":
		status, _ := strconv.Atoi(argument)
		os.Exit(status)
	case "say":
		fmt.Fprint(os.Stdout, argument)
	case "owner": // starts a process and tells its number
		process, err := NewLauncher().Start(actor(argument, "sleep"))
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(os.Stdout, process.ID().PID)
		for range 100 { // other threads come and go meanwhile
			go func() {
				runtime.LockOSThread() // a goroutine that ends so takes its thread with it
			}()
		}
		time.Sleep(time.Minute)
	case "parent": // has a child of its own, in its group
		command := exec.Command(os.Args[0])
		command.Env = append(os.Environ(), roleVariable+"=deaf")
		if err := command.Start(); err != nil {
			panic(err)
		}
		fmt.Fprintln(os.Stdout, command.Process.Pid)
		time.Sleep(time.Minute)
	}
}

func actor(log, role string) Spec {
	return Spec{Name: "actor", Path: os.Args[0], Env: append(os.Environ(), roleVariable+"="+role), LogFile: log, Grace: 10 * time.Second}
}

func start(t *testing.T, role string, change func(*Spec)) (*Process, string) {
	t.Helper()
	launcher := NewLauncher()
	t.Cleanup(launcher.Close)
	spec := actor(filepath.Join(t.TempDir(), "actor.log"), role)
	if change != nil {
		change(&spec)
	}
	process, err := launcher.Start(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Kill)
	return process, spec.LogFile
}

// awaitLine waits until the log has a line and returns the first.
func awaitLine(t *testing.T, log string) string {
	t.Helper()
	var line string
	await(t, "a line in "+log, func() bool {
		content, _ := os.ReadFile(log)
		var whole bool
		line, _, whole = strings.Cut(string(content), "\n")
		return whole
	})
	return line
}

func await(t *testing.T, what string, there func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !there() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestStopEndsProcess(t *testing.T) {
	t.Parallel()
	process, log := start(t, "sleep", nil)
	awaitLine(t, log)
	if err := process.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if process.ID().Alive() {
		t.Error("the process is alive")
	}
	if process.Err() == nil || !strings.Contains(process.Err().Error(), "terminated") {
		t.Errorf("ended with %v, want the signal", process.Err())
	}
}

func TestStopKillsProcessThatIgnoresIt(t *testing.T) {
	t.Parallel()
	process, log := start(t, "deaf", func(s *Spec) { s.Grace = 50 * time.Millisecond })
	awaitLine(t, log)
	if err := process.Stop(t.Context()); !errors.Is(err, ErrKilled) {
		t.Errorf("got %v, want ErrKilled", err)
	}
	if process.ID().Alive() {
		t.Error("the process is alive")
	}
}

func TestStopKillsAtOnceWhenContextEnds(t *testing.T) {
	t.Parallel()
	process, log := start(t, "deaf", func(s *Spec) { s.Grace = time.Hour })
	awaitLine(t, log)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := process.Stop(ctx); !errors.Is(err, ErrKilled) {
		t.Errorf("got %v, want ErrKilled", err)
	}
}

func TestStopReachesPausedProcess(t *testing.T) {
	t.Parallel()
	process, log := start(t, "sleep", nil)
	awaitLine(t, log)
	if err := syscall.Kill(process.ID().PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := process.Stop(t.Context()); err != nil {
		t.Errorf("a paused process had to be killed: %v", err)
	}
}

func TestKillReachesWholeGroup(t *testing.T) {
	t.Parallel()
	process, log := start(t, "parent", nil)
	pid, err := strconv.Atoi(awaitLine(t, log))
	if err != nil {
		t.Fatal(err)
	}
	grandchild, err := Identify(pid)
	if err != nil {
		t.Fatal(err)
	}
	process.Kill()
	await(t, "the grandchild's end", func() bool { return !grandchild.Alive() })
}

func TestErrTellsHowProcessEnded(t *testing.T) {
	t.Parallel()
	for role, want := range map[string]string{"exit 0": "", "exit 3": "exit status 3"} {
		process, _ := start(t, role, nil)
		<-process.Exited()
		if got := process.Err(); (got == nil) != (want == "") || got != nil && got.Error() != want {
			t.Errorf("%s: got %v, want %q", role, got, want)
		}
		process.Kill() // of one that has ended does nothing
	}
}

func TestStartSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	launcher := NewLauncher()
	defer launcher.Close()
	_, err := launcher.Start(Spec{Name: "nothing", Path: "/does/not/exist", LogFile: filepath.Join(t.TempDir(), "log")})
	if err == nil || !strings.Contains(err.Error(), "start nothing") {
		t.Errorf("got %v", err)
	}
}

func TestLogIsAppendedPrivateAndReplacedWhenLarge(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "logs", "actor.log")
	say := func(text string) {
		process, _ := start(t, "say "+text, func(s *Spec) { s.LogFile = log })
		<-process.Exited()
	}
	say("one,")
	say("two,")
	content, err := os.ReadFile(log)
	if err != nil || string(content) != "one,two," {
		t.Fatalf("the log has %q, %v", content, err)
	}
	if info, _ := os.Stat(log); info.Mode().Perm() != 0o600 {
		t.Errorf("the log's mode is %v", info.Mode())
	}
	if err := os.Truncate(log, maxLogBytes+1); err != nil {
		t.Fatal(err)
	}
	say("three")
	if content, _ = os.ReadFile(log); string(content) != "three" {
		t.Errorf("the large log was not replaced: %d bytes", len(content))
	}
	if info, err := os.Stat(log + ".old"); err != nil || info.Size() != maxLogBytes+1 {
		t.Errorf("the large log was not kept: %v", err)
	}
}

func TestProcessDiesWithItsOwner(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ties a process's life to its owner's")
	}
	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), roleVariable+"=owner "+filepath.Join(t.TempDir(), "log"))
	stdout, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	process, err := Identify(pid)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // threads of the owner end: that must not be taken for its death
	if !process.Alive() {
		t.Fatal("the process died while its owner lived")
	}
	_ = owner.Process.Kill()
	_ = owner.Wait()
	await(t, "the orphan's end", func() bool { return !process.Alive() })
}

func TestTerminateNeverHitsAnotherProcess(t *testing.T) {
	t.Parallel()
	process, log := start(t, "sleep", nil)
	awaitLine(t, log)
	for name, other := range map[string]Identity{
		"the same number, another start": {PID: process.ID().PID, Start: "1@another-boot"},
		"no start known":                 {PID: process.ID().PID},
	} {
		if other.Alive() {
			t.Errorf("%s: taken for alive", name)
		}
		if err := other.Terminate(t.Context(), syscall.SIGKILL, time.Second); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !process.ID().Alive() {
		t.Error("the innocent process was killed")
	}
}

func TestTerminateEndsProcess(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"sleep", "deaf"} {
		process, log := start(t, role, nil)
		awaitLine(t, log)
		if err := process.ID().Terminate(t.Context(), syscall.SIGTERM, 50*time.Millisecond); err != nil {
			t.Errorf("%s: %v", role, err)
		}
		if process.ID().Alive() {
			t.Errorf("%s: it is alive", role)
		}
	}
}

func TestIdentifyKnowsWhatIsGone(t *testing.T) {
	t.Parallel()
	process, _ := start(t, "exit 0", nil)
	<-process.Exited()
	if _, err := Identify(process.ID().PID); !errors.Is(err, ErrGone) {
		t.Errorf("got %v, want ErrGone", err)
	}
	self, err := Identify(os.Getpid())
	if err != nil || !self.Alive() {
		t.Errorf("this process is not alive: %v", err)
	}
}
