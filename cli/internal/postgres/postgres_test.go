package postgres

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/cli/internal/child"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMajorVersion(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]int{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": 15,
		"postgres (PostgreSQL) 18.4\n":                           18,
		"postgres (PostgreSQL) 19beta1":                          19,
	} {
		if got, err := majorVersion(said); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", said, got, err, want)
		}
	}
	if _, err := majorVersion("mysqld"); err == nil {
		t.Error("that is no version")
	}
}

func TestNumberOfFolder(t *testing.T) {
	t.Parallel()
	for dir, want := range map[string]int{
		"/usr/lib/postgresql/9/bin": 9, "/usr/lib/postgresql/17/bin": 17, "/opt/homebrew/opt/postgresql@16/bin": 16, "/a/b/bin": 0,
	} {
		if got := number(dir); got != want {
			t.Errorf("%s: got %d, want %d", dir, got, want)
		}
	}
}

// fakePrograms makes a folder with an initdb and a postgres that says it is of the version.
func fakePrograms(t *testing.T, version string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"initdb", "postgres"} {
		script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindProgramsSaysWhatToDo(t *testing.T) { // not parallel: it sets the environment
	for name, c := range map[string]struct{ dir, madeBy, want string }{
		"fits":          {dir: fakePrograms(t, "16.1")},
		"fits the data": {dir: fakePrograms(t, "16.1"), madeBy: "16"},
		"too old":       {dir: fakePrograms(t, "14.3"), want: "install 15 or newer"},
		"other data":    {dir: fakePrograms(t, "16.1"), madeBy: "15", want: "made by PostgreSQL 15"},
		"no programs":   {dir: t.TempDir(), want: "has no program initdb"},
	} {
		t.Setenv(binVariable, c.dir)
		got, err := findPrograms(c.madeBy)
		switch {
		case c.want == "" && (err != nil || got != c.dir):
			t.Errorf("%s: got %q, %v", name, got, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), binVariable)):
			t.Errorf("%s: got %v, want one that says %q and %s", name, err, c.want, binVariable)
		}
	}
}

func TestEntersJudgesModes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	uid, gid := uint32(os.Getuid()), uint32(os.Getgid())
	owner, member, other := child.User{UID: uid, GID: gid + 1}, child.User{UID: uid + 1, GID: gid}, child.User{UID: uid + 1, GID: gid + 1}
	for mode, want := range map[os.FileMode][3]bool{
		0o700: {true, false, false}, 0o710: {true, true, false}, 0o711: {true, true, true}, 0o601: {false, false, true},
	} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if got := [3]bool{enters(owner, dir), enters(member, dir), enters(other, dir)}; got != want {
			t.Errorf("%v: got %v, want %v", mode, got, want)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(dir, "below")
	if err := os.Mkdir(below, 0o777); err != nil {
		t.Fatal(err)
	}
	if entersAll(other, below) {
		t.Error("a closed folder on the way was overlooked")
	}
}

// A number that another process has got does not keep PostgreSQL from starting.
func TestDeadServerIsForgotten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "postmaster.pid")
	for content, keeps := range map[string]bool{
		"1073741824\n/data\n":                   false,                   // no such process
		strconv.Itoa(os.Getpid()) + "\n/data\n": runtime.GOOS != "linux", // another process, which works elsewhere
		"garbage\n":                             true,
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := forgetDeadServer(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); (err == nil) != keeps {
			t.Errorf("%q: kept %v, want %v", content, err == nil, keeps)
		}
	}
}

// openTempDir is one that the account of the server may enter.
func openTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "streamhouse-postgres-") //nolint:usetesting // t.TempDir is closed to other users
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func awaitReady(t *testing.T, s *Server, p *child.Process) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for s.Ready(t.Context()) != nil {
		select {
		case <-p.Exited():
			log, _ := os.ReadFile(s.LogFile)
			t.Fatalf("the server ended: %v\n%s", p.Err(), log)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("the server does not get ready")
		}
	}
}

func TestRealServerIsMadeOnceAndSurvivesKill(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	dir := openTempDir(t)
	launcher := child.NewLauncher()
	defer launcher.Close()
	var made time.Time
	for round := range 3 {
		s := &Server{
			Dir: filepath.Join(dir, "data"), Port: freePort(t), Password: "secret", MaxConnections: 20,
			LogFile: filepath.Join(dir, "logs", "postgres.log"), Env: os.Environ(),
		}
		if err := s.Prepare(t.Context(), launcher); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(s.Dir, "PG_VERSION"))
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			made = info.ModTime()
		}
		if !info.ModTime().Equal(made) {
			t.Error("the databases were made anew")
		}
		process, err := launcher.Start(s.Spec())
		if err != nil {
			t.Fatal(err)
		}
		awaitReady(t, s, process)
		if round == 0 {
			process.Kill()
		}
		if err := process.Stop(context.Background()); err != nil {
			t.Errorf("stop: %v", err)
		}
		if s.Ready(t.Context()) == nil {
			t.Error("a server that has ended is ready")
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data.password")); err == nil {
		t.Error("the password's file was left")
	}
}

func TestBrokenAttemptLeavesNothing(t *testing.T) { // not parallel: it sets the environment
	dir := openTempDir(t)
	bin := fakePrograms(t, "15.1")
	if os.Geteuid() == 0 {
		bin = openTempDir(t)
	}
	for name, script := range map[string]string{
		"initdb": "echo 'initdb: error: no space left' >&2; exit 1", "postgres": "echo 'postgres (PostgreSQL) 15.1'",
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(binVariable, bin)
	launcher := child.NewLauncher()
	defer launcher.Close()
	s := &Server{Dir: filepath.Join(dir, "data"), LogFile: filepath.Join(dir, "log"), Env: os.Environ()}
	err := s.Prepare(t.Context(), launcher)
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got %v, want what initdb said", err)
	}
	if version, err := madeBy(s.Dir); version != "" || err != nil {
		t.Errorf("a broken attempt counts as made: %q, %v", version, err)
	}
}

// A server that accepts and says nothing, or refuses while it recovers, is not ready.
func TestReadyWantsTheRightAnswer(t *testing.T) {
	t.Parallel()
	for answer, ready := range map[string]bool{"R": true, "E": false, "": false} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = conn.Read(make([]byte, 512))
			_, _ = conn.Write([]byte(answer))
		}()
		s := &Server{Port: l.Addr().(*net.TCPAddr).Port}
		if err := s.Ready(t.Context()); (err == nil) != ready {
			t.Errorf("answer %q: got %v, want ready %v", answer, err, ready)
		}
		_ = l.Close()
		<-served
	}
}

func TestStopSignalIsFastShutdown(t *testing.T) {
	t.Parallel()
	spec := (&Server{}).Spec()
	if spec.StopSignal != syscall.SIGINT || spec.DeathSignal != syscall.SIGINT {
		t.Errorf("got %v and %v: SIGTERM would wait for clients", spec.StopSignal, spec.DeathSignal)
	}
}
