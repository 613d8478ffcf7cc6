package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/cli/internal/datadir"
)

// The command under test is this very program, told by the environment to be it.
const mainVariable = "STREAMHOUSE_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainVariable) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// shell runs commands in one folder.
type shell struct {
	t   *testing.T
	dir string
	bin string // empty: programs are not needed
}

func newShell(t *testing.T, bin string) *shell {
	t.Helper()
	dir, err := os.MkdirTemp("", "streamhouse-dev-") //nolint:usetesting // t.TempDir is closed to other users
	if err == nil {
		err = os.Chmod(dir, 0o755) // PostgreSQL runs as another user where this is root
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &shell{t: t, dir: dir, bin: bin}
	t.Cleanup(func() {
		_ = s.command("dev", "down").Run()
		if t.Failed() {
			s.showLogs()
		}
		_ = os.RemoveAll(dir)
	})
	return s
}

func (s *shell) showLogs() {
	logs, _ := filepath.Glob(filepath.Join(s.dir, datadir.DefaultName, "logs", "*"))
	for _, log := range logs {
		content, _ := os.ReadFile(log)
		s.t.Logf("%s:\n%s", filepath.Base(log), content[max(0, len(content)-2000):])
	}
}

func (s *shell) command(args ...string) *exec.Cmd {
	command := exec.Command(os.Args[0], args...)
	command.Dir = s.dir
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "STREAMHOUSE_") || strings.HasPrefix(variable, "STREAMHOUSE_POSTGRES_BIN=") {
			command.Env = append(command.Env, variable)
		}
	}
	command.Env = append(command.Env, mainVariable+"=1", "STREAMHOUSE_BIN="+s.bin)
	return command
}

// run returns what the command printed, which must end with the status.
func (s *shell) run(status int, input string, args ...string) (stdout, stderr string) {
	s.t.Helper()
	var out, complaints bytes.Buffer
	command := s.command(args...)
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(input), &out, &complaints
	_ = command.Run()
	if got := command.ProcessState.ExitCode(); got != status {
		s.t.Fatalf("streamhouse %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), got, status, out.String(), complaints.String())
	}
	return out.String(), complaints.String()
}

func (s *shell) ok(args ...string) string {
	s.t.Helper()
	stdout, _ := s.run(0, "", args...)
	return stdout
}

func (s *shell) cluster() datadir.Cluster {
	s.t.Helper()
	content, err := os.ReadFile(filepath.Join(s.dir, datadir.DefaultName, "dev.json"))
	if err != nil {
		s.t.Fatal(err)
	}
	var c datadir.Cluster
	if err := json.Unmarshal(content, &c); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// processes are those that were started from this folder, found without the command's help.
func (s *shell) processes() []string {
	out, err := exec.Command("ps", "-eo", "pid=,stat=,args=").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	pids := map[int]bool{}
	if content, err := os.ReadFile(filepath.Join(s.dir, datadir.DefaultName, "processes.json")); err == nil {
		var list []datadir.Started
		_ = json.Unmarshal(content, &list)
		for _, p := range list {
			pids[p.PID] = p.Alive()
		}
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		var pid int
		var stat string
		_, _ = fmt.Sscan(line, &pid, &stat)
		if !strings.HasPrefix(stat, "Z") && (pids[pid] || strings.Contains(line, s.dir)) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

func (s *shell) awaitNothing() {
	s.t.Helper()
	await(s.t, "the end of all processes", func() bool { return len(s.processes()) == 0 })
	if _, err := os.Stat(filepath.Join(s.dir, datadir.DefaultName, "dev.json")); err == nil {
		s.t.Error("dev.json was left behind")
	}
}

func await(t *testing.T, what string, there func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !there() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestExitStatus(t *testing.T) {
	t.Parallel()
	s := newShell(t, "")
	if out, _ := s.run(0, "", "version"); out != version+"\n" {
		t.Errorf("version printed %q", out)
	}
	if out, complaint := s.run(2, "", "topik"); out != "" || !strings.Contains(complaint, "topik") {
		t.Errorf("printed %q, said %q", out, complaint)
	}
	if _, complaint := s.run(1, "", "topic", "list"); !strings.Contains(complaint, "streamhouse dev") {
		t.Errorf("said %q", complaint)
	}
	s.run(0, "", "dev", "down")
	s.run(1, "", "dev", "status")
	s.run(2, "", "dev", "--detach", "--zones", "a b")
	if _, complaint := s.run(1, "", "dev", "--detach"); !strings.Contains(complaint, "make build") {
		t.Errorf("without programs: %q", complaint)
	}
}

// programs skips the test where they are not built.
func programs(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a whole cluster")
	}
	bin := os.Getenv("STREAMHOUSE_BIN")
	if bin == "" {
		bin = filepath.Join("..", "..", "..", "bin")
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"streamhouse-controlplane", "streamhouse-agent", "streamhouse-devs3"} {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			t.Skipf("%s is not built: run `make build`, or name the folder of the programs in STREAMHOUSE_BIN", filepath.Join(bin, name))
		}
	}
	return bin
}

func sorted(text string) []string {
	lines := strings.SplitAfter(text, "\n")
	slices.Sort(lines)
	return lines
}

// One cluster lives through most of what a day brings: it is slow to start, so that one test tells the story.
func TestClusterFromOneCommand(t *testing.T) {
	t.Parallel()
	s := newShell(t, programs(t))
	said := s.ok("dev", "--detach", "--controlplanes", "2", "--suspect-after", "1s")
	if !strings.Contains(said, "StreamHouse is ready: 2 control planes, 3 agents") || !strings.Contains(said, "dev down") {
		t.Errorf("said %q", said)
	}
	cluster := s.cluster()
	if len(cluster.Agents) != 3 || len(cluster.ControlPlanes) != 2 || cluster.Postgres.PID == 0 || cluster.S3.PID == 0 {
		t.Fatalf("dev.json has %+v", cluster)
	}
	if _, complaint := s.run(1, "", "dev"); !strings.Contains(complaint, "runs in this data dir already") {
		t.Errorf("a second dev: %q", complaint)
	}

	s.ok("topic", "create", "orders", "--partitions", "6")
	s.run(1, "", "topic", "create", "orders")
	mebibyte := strings.Repeat("m", 1<<20)
	s.run(0, mebibyte, "produce", "orders") // as large as a record may be
	input := "alice,one\nbob,two\r\n\nalice,three,x\nno key\n,empty key\nbytes,\x00\xff\x80\nlast without line feed"
	stdout, _ := s.run(0, input, "produce", "orders", "--key-separator", ",", "--header", "from=test", "-o", "json")
	var summary struct{ Records, Bytes, Errors int64 }
	if err := json.Unmarshal([]byte(stdout), &summary); err != nil || summary.Records != 8 || summary.Bytes != int64(len(input)) || summary.Errors != 0 {
		t.Errorf("the summary is %q, %v", stdout, err)
	}
	want := sorted("one\ntwo\r\n\nthree,x\nno key\nempty key\n\x00\xff\x80\n" + mebibyte + "\nlast without line feed\n")
	if got := sorted(s.ok("consume", "orders", "--from-beginning")); !slices.Equal(got, want) {
		t.Errorf("consumed %d lines, produced %d", len(got), len(want))
	}
	if got := s.ok("consume", "orders", "--from-beginning", "--max", "2"); strings.Count(got, "\n") != 2 {
		t.Errorf("--max 2 printed %.100q", got)
	}

	t.Run("json round trip", func(t *testing.T) { s.roundTrip(t) })
	t.Run("kill an agent in the middle of a produce", func(t *testing.T) { s.killInTheMiddle(t, cluster.Agents[0]) })
	t.Run("P6 interrupt a produce", func(t *testing.T) { s.interruptProduce(t) })
	t.Run("restart", func(t *testing.T) { s.restart(t, cluster, want) })
}

// roundTrip copies a topic through both JSON forms.
func (s *shell) roundTrip(t *testing.T) {
	s.ok("topic", "create", "copy", "--partitions", "6")
	records := s.ok("consume", "orders", "--from-beginning", "--format", "json")
	if out, complaint := s.run(0, records, "produce", "copy", "--format", "json"); out != "" || !strings.Contains(complaint, "9 records") {
		t.Errorf("printed %q, said %q", out, complaint)
	}
	const template = "{{.Partition}} {{.Timestamp.UnixMilli}} {{.KeyIsNull}} {{base64 .Key}} {{base64 .Value}} {{.Header \"from\"}}"
	original := sorted(s.ok("consume", "orders", "--from-beginning", "--format", template))
	if copied := sorted(s.ok("consume", "copy", "--from-beginning", "--format", template)); !slices.Equal(copied, original) {
		t.Errorf("the copy differs: %.300q, was %.300q", copied, original)
	}
	if _, complaint := s.run(1, "{\"value\":\"good\"}\n{\"valeu\":1}\n", "produce", "copy", "--format", "json"); !strings.Contains(complaint, "line 2") || !strings.Contains(complaint, "1 records") {
		t.Errorf("a malformed line: %q", complaint)
	}
	s.ok("topic", "delete", "copy")
	if _, complaint := s.run(1, "x\n", "produce", "copy"); !strings.Contains(complaint, "unknown topic") {
		t.Errorf("a deleted topic: %q", complaint)
	}
}

// killInTheMiddle: everything that is acknowledged is there once, in order, and the dead agent comes back.
func (s *shell) killInTheMiddle(t *testing.T, victim datadir.Agent) {
	s.ok("topic", "create", "numbers", "--partitions", "3")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	producing := s.command("produce", "numbers", "--key-separator", ":", "-o", "json")
	var out, complaints bytes.Buffer
	producing.Stdin, producing.Stdout, producing.Stderr = reader, &out, &complaints
	if err := producing.Start(); err != nil {
		t.Fatal(err)
	}
	_ = reader.Close()
	const records = 20000
	for i := range records {
		if i == records/2 {
			if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := fmt.Fprintf(writer, "k%d:%d\n", i%7, i); err != nil {
			t.Fatal(err)
		}
	}
	_ = writer.Close()
	if err := producing.Wait(); err != nil {
		t.Fatalf("produce: %v: %s", err, complaints.String())
	}
	next := map[string]int{}
	got := s.ok("consume", "numbers", "--from-beginning", "--format", "{{.Key}} {{.Value}}")
	for line := range strings.Lines(got) {
		var key string
		var number int
		if _, err := fmt.Sscan(line, &key, &number); err != nil {
			t.Fatal(err)
		}
		if first := int(key[1] - '0'); number != first+7*next[key] {
			t.Fatalf("after %d records of %s came %d: lost, doubled or out of order", next[key], key, number)
		}
		next[key]++
	}
	if n := strings.Count(got, "\n"); n != records {
		t.Errorf("consumed %d records, %d were acknowledged", n, records)
	}
	if status := s.ok("dev", "status"); !strings.Contains(status, "exited") {
		t.Errorf("the dead agent is not shown:\n%s", status)
	}
	if out := s.ok("dev", "agent", "start", "--id", victim.ID); !strings.Contains(out, victim.URL) {
		t.Errorf("it came back elsewhere: %s, was at %s", out, victim.URL)
	}
	s.ok("dev", "agent", "start", "--zone", "az-c")
	if n := len(s.cluster().Agents); n != 4 {
		t.Errorf("dev.json has %d agents, want 4", n)
	}
	if out := s.ok("agent", "list"); strings.Count(out, " live ") != 4 {
		t.Errorf("agents:\n%s", out)
	}
}

// interruptProduce: an interrupted produce says how many records are stored, and that is how many there are.
func (s *shell) interruptProduce(t *testing.T) {
	s.ok("topic", "create", "interrupted")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close() // the input does not end by itself
	producing := s.command("produce", "interrupted", "--rate", "500")
	var complaints bytes.Buffer
	producing.Stdin, producing.Stderr = reader, &complaints
	if err := producing.Start(); err != nil {
		t.Fatal(err)
	}
	_ = reader.Close()
	if _, err := writer.WriteString(strings.Repeat("record\n", 5000)); err != nil {
		t.Fatal(err)
	}
	await(t, "the first record", func() bool { return s.ok("consume", "interrupted", "--from-beginning") != "" })
	_ = producing.Process.Signal(syscall.SIGINT)
	_ = producing.Wait()
	if status := producing.ProcessState.ExitCode(); status != 1 {
		t.Errorf("exit status %d, want 1: the input was not read to its end", status)
	}
	stored := strings.Count(s.ok("consume", "interrupted", "--from-beginning"), "\n")
	if want := fmt.Sprintf("interrupted: %d records are stored; the rest", stored); !strings.Contains(complaints.String(), want) || stored >= 5000 {
		t.Errorf("said %q, want %q", complaints.String(), want)
	}
}

// restart: stopped in order, and then killed all at once; topics, records, addresses and keys are there again.
func (s *shell) restart(t *testing.T, before datadir.Cluster, want []string) {
	s.ok("dev", "down")
	s.awaitNothing()
	s.run(1, "", "dev", "status")
	for round := range 2 {
		s.ok("dev", "--detach")
		after := s.cluster()
		if after.APIKey != before.APIKey || after.Agents[0].URL != before.Agents[0].URL || after.Postgres.URL != before.Postgres.URL {
			t.Errorf("addresses or keys changed: %+v, were %+v", after, before)
		}
		if got := sorted(s.ok("consume", "orders", "--from-beginning")); !slices.Equal(got, want) {
			t.Errorf("round %d: consumed %d lines, want %d", round, len(got), len(want))
		}
		if round == 0 {
			s.killEverything(t, after)
		}
	}
	s.ok("dev", "down")
	s.awaitNothing()
}

func (s *shell) killEverything(t *testing.T, c datadir.Cluster) {
	var owner datadir.Owner
	content, err := os.ReadFile(filepath.Join(s.dir, datadir.DefaultName, "owner.json"))
	if err == nil {
		err = json.Unmarshal(content, &owner)
	}
	if err != nil {
		t.Fatal(err)
	}
	pids := []int{owner.PID, c.Postgres.PID, c.S3.PID}
	for _, p := range c.ControlPlanes {
		pids = append(pids, p.PID)
	}
	for _, a := range c.Agents {
		pids = append(pids, a.PID)
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	await(t, "the end of all processes", func() bool { return len(s.processes()) == 0 })
}

// Ctrl-C in the foreground stops everything and is no failure.
func TestInterruptStopsEverything(t *testing.T) {
	t.Parallel()
	s := newShell(t, programs(t))
	dev := s.command("dev", "--zones", "az-a", "-o", "json")
	var out, complaints bytes.Buffer
	dev.Stdout, dev.Stderr = &out, &complaints
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- dev.Wait() }()
	await(t, "dev.json", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("dev ended: %v: %s", err, complaints.String())
		default:
		}
		_, err := os.Stat(filepath.Join(s.dir, datadir.DefaultName, "dev.json"))
		return err == nil
	})
	_ = dev.Process.Signal(syscall.SIGINT)
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v: %s", err, complaints.String())
	}
	s.awaitNothing()
	var cluster datadir.Cluster
	if err := json.Unmarshal(out.Bytes(), &cluster); err != nil || len(cluster.Agents) != 1 {
		t.Errorf("printed %q, %v", out.String(), err)
	}
}
