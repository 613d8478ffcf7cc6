package cputime

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// patience is exceeded by a fault alone.
const patience = time.Minute

// burn uses CPU time for a while.
func burn(d time.Duration) int {
	n := 0
	for began := time.Now(); time.Since(began) < d; n++ {
	}
	return n
}

func TestOwnTimeGrows(t *testing.T) {
	m, err := Start([]Group{{Name: "again", PIDs: []int{os.Getpid()}}})
	if err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(patience); ; { // a busy machine lets it have little of its time
		burn(200 * time.Millisecond)
		usage, elapsed := m.Read("self")
		if len(usage) != 2 || elapsed < 200*time.Millisecond {
			t.Fatalf("%v in %v", usage, elapsed)
		}
		if usage[0].Time >= 20*time.Millisecond && usage[1].Time >= 10*time.Millisecond {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("%v in %v", usage, elapsed)
		}
	}
}

// A child counts while it lives, and when it has ended; a process that is gone is left out.
func TestChildrenAreCounted(t *testing.T) {
	work := "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
	parent := exec.Command("sh", "-c", "("+work+"); echo; read x; ("+work+") & echo; read x; wait")
	in, err := parent.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	m, err := Start([]Group{{Name: "tree", PIDs: []int{parent.Process.Pid}, Children: true}})
	if err != nil {
		t.Fatal(err)
	}
	step := func() { // the shell does its next part, and says so
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	step()
	ended, _ := m.Read("self")
	if len(ended) != 2 || ended[1].Time < 2*tick {
		t.Errorf("a child that has ended: %v", ended)
	}
	if _, err := in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	step()
	for until := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		living, _ := m.Read("self")
		if len(living) == 2 && living[1].Time > ended[1].Time {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("a living child: %v, before %v", living, ended)
		}
	}
	_ = in.Close()
	if err := parent.Wait(); err != nil {
		t.Logf("the shell ended with %v", err)
	}
	if gone, _ := m.Read("self"); len(gone) != 1 {
		t.Errorf("a process that is gone: %v", gone)
	}
	if _, err := Start([]Group{{Name: "gone", PIDs: []int{parent.Process.Pid}}}); err == nil {
		t.Error("a process that is gone can be measured")
	}
}

func TestStatIsParsed(t *testing.T) {
	s, err := parseStat("7 (a) b) S 3 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0")
	if err != nil || s.parent != 3 || s.own != 300*time.Millisecond || s.reaped != 700*time.Millisecond {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "7 (a) S 3", "7 (a) S x 7 7 0 -1 4194560 1 2 3 4 10 20 30 40"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
