package life_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/process"
	"github.com/streamhouse/streamhouse/e2e/workload"
)

// killed is the exit status of a process that has ended at a crash point.
const killed = 137

// reachedWithin is exceeded by a place that nothing passes. Objects that are merged in parts are rare: on a busy machine a process has waited for a
// minute for one. In the long form it may have to pass a place three times, and others take most jobs.
func reachedWithin() time.Duration {
	if long() {
		return 8 * time.Minute
	}
	return 4 * time.Minute
}

// skipped are crash points that the work of this test does not pass, and why not. Nothing else may be left out.
var skipped = map[string]string{}

// armed builds the services with their crash points.
func armed(t *testing.T) (folder string) {
	t.Helper()
	folder = process.Folder(t)
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-tags", "crashpoints", "-o", folder+"/",
		"./controlplane/cmd/streamhouse-controlplane", "./dataplane/cmd/streamhouse-agent")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build with crash points: %v: %s", err, out)
	}
	if err := os.Symlink(filepath.Join(cluster.Binaries(t), "streamhouse-devs3"), filepath.Join(folder, "streamhouse-devs3")); err != nil {
		t.Fatal(err)
	}
	return folder
}

// crashPoints asks a service for its crash points, in a changing order.
func crashPoints(t *testing.T, folder, service string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(folder, service), "crash-points").Output()
	if err != nil {
		t.Fatalf("%s crash-points: %v", service, err)
	}
	names := slices.DeleteFunc(strings.Fields(string(out)), func(name string) bool {
		why, skip := skipped[name]
		if skip {
			t.Logf("%s is left out: %s", name, why)
		}
		return skip
	})
	if len(names) < 4 {
		t.Fatalf("%s has the crash points %q", service, names)
	}
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	// Large objects to compact are rare. Several processes that are to die at one go through it together, as its job goes from one to the next.
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(rare(b), rare(a)) })
	return names
}

func rare(name string) int {
	if strings.HasPrefix(name, "compact.") {
		return 1
	}
	return 0
}

// victim is a process that is started again and again, each time to end at another place.
type victim struct {
	name    string
	launch  func(at string)
	process func() *process.Process
	at      string // it is to end here; empty: it is not to end yet
	down    bool   // it has no more to do, and stays down: else it would take jobs from those who have
	since   time.Time
}

// crasher has processes end at every place of their lists.
type crasher struct {
	*rig
	victims []*victim
	todo    map[*victim]*[]string // lists are shared by processes of a kind
	crashes int
}

func (c *crasher) add(v *victim, list *[]string) {
	c.victims = append(c.victims, v)
	c.todo[v] = list
}

// step looks at one victim, and says whether it has still to die.
func (c *crasher) step(v *victim) bool {
	c.Helper()
	list := c.todo[v]
	if v.down {
		return false
	}
	select {
	case <-v.process().Done():
		if status := v.process().Status(); status != killed {
			c.Fatalf("%s was to end at %s and has ended with status %d", v.name, v.at, status)
		}
		c.crashes++
		c.Logf("%s ended at %s after %v", v.name, v.at, time.Since(v.since).Round(100*time.Millisecond))
	default:
		if v.at != "" && time.Since(v.since) < reachedWithin() {
			return true
		}
		if v.at != "" {
			c.Errorf("%s has not passed %s within %v", v.name, v.at, reachedWithin())
		}
		v.process().Kill()
	}
	if len(*list) == 0 {
		v.down = true
		return false
	}
	v.at, *list = (*list)[0], (*list)[1:]
	v.launch(v.at)
	v.since = time.Now()
	return true
}

// run goes on until every place was passed, and has all come back.
func (c *crasher) run() {
	c.Helper()
	for busy := true; busy; {
		busy = false
		for _, v := range c.victims {
			busy = c.step(v) || busy
		}
		c.sleep(25 * time.Millisecond)
	}
	for _, v := range c.victims {
		v.launch("")
	}
}

// At every place where the work on the bucket, a write, or retention may be cut short a process is killed, in a running cluster. What it was at is finished
// by others, or by itself when it is back: nothing is lost, nothing leaks.
func TestP1_P8_P9_ACrashAtEveryStep(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	folder := armed(t)
	limit, rounds := 10*time.Minute, 1
	if long() {
		limit, rounds = 40*time.Minute, 5
	}
	r := begin(t, limit, cluster.Options{Bin: folder, ControlPlanes: 2, SuspectAfter: 2 * time.Second})
	r.topics(1 << 17)
	passing := workload.StartNumbered(r.ctx, t, r.cluster, workload.NumberedOptions{Topic: "passing", Partitions: partitions, Bytes: 20_000, Pause: 100 * time.Millisecond})
	lasting := workload.StartNumbered(r.ctx, t, r.cluster, workload.NumberedOptions{Topic: "lasting", Partitions: partitions, Bytes: 80_000, Pause: 100 * time.Millisecond})
	enough := make(chan struct{})
	byKey := r.startKeyed(enough)
	stop, looks := make(chan struct{}), make(chan int)
	go func() { looks <- r.bucket.Watch(r.ctx, t, stop) }()
	c := &crasher{rig: r, todo: map[*victim]*[]string{}}
	var agents, controlPlanes []string
	for round := range rounds {
		for _, list := range []struct {
			service string
			names   *[]string
		}{{"streamhouse-agent", &agents}, {"streamhouse-controlplane", &controlPlanes}} {
			for _, name := range crashPoints(t, folder, list.service) {
				*list.names = append(*list.names, at(name, round))
			}
		}
	}
	total := len(agents) + len(controlPlanes)
	for _, a := range r.cluster.Agents {
		c.add(&victim{name: a.ID, launch: launching(t, a.Launch), process: func() *process.Process { return a.Process }}, &agents)
	}
	p := r.cluster.ControlPlanes[1] // the other one has everybody go on
	c.add(&victim{name: p.ID, launch: launching(t, p.Launch), process: func() *process.Process { return p.Process }}, &controlPlanes)
	began := time.Now()
	var trouble sync.WaitGroup
	trouble.Go(func() { r.trouble(enough) })
	c.run()
	close(enough)
	trouble.Wait()
	t.Logf("%d crashes at %d places in %v", c.crashes, total, time.Since(began).Round(time.Second))
	passing.Stop()
	lasting.Stop()
	r.cluster.AwaitLeaders(r.ctx, t, "lasting", func(l client.Lease) bool { return l.LeaderAgentID != "" })
	byKey.check()
	r.judge(passing, lasting)
	close(stop)
	t.Logf("the catalog was compared with the bucket %d times", <-looks)
	if c.crashes != total {
		t.Errorf("%d crashes, of %d", c.crashes, total)
	}
}

// at is a place in the words of STREAMHOUSE_CRASH_AT: in later rounds not the first time that it is passed.
func at(name string, round int) string {
	if round == 0 {
		return name
	}
	return fmt.Sprintf("%s:%d", name, 1+rand.IntN(3))
}

// launching launches a process that is to end at a place.
func launching(t testing.TB, launch func(testing.TB, ...string)) func(at string) {
	return func(at string) {
		if at == "" {
			launch(t)
			return
		}
		launch(t, "STREAMHOUSE_CRASH_AT="+at)
	}
}
