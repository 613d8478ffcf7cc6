package dev_test

import (
	"bytes"
	"context"
	"os/exec"
	"testing"
	"time"
)

// measured is what bench failover prints with -o json.
type measured struct {
	Signal   string `json:"signal"`
	NoLeader spread `json:"no_leader"`
	FirstAck spread `json:"first_ack"`
	Wait     spread `json:"longest_wait"`
	Gap      spread `json:"longest_gap"`
	Rounds   []struct {
		Agent      string `json:"agent"`
		Partitions int    `json:"partitions"`
		Failed     int64  `json:"failed"`
	} `json:"rounds"`
}

type spread struct {
	Samples int     `json:"samples"`
	P50     float64 `json:"p50_ms"`
	Max     float64 `json:"max_ms"`
	Buckets []struct {
		Count int `json:"count"`
	} `json:"buckets"`
}

// bench failover measures what it says, and leaves the cluster as it found it: also when it is interrupted while an agent is stopped.
func TestBenchFailover(t *testing.T) {
	t.Parallel()
	d, ctx := newDev(t), bounded(t)
	d.up(ctx, t)
	for _, signal := range []string{"kill", "stop"} {
		var m measured
		d.JSON(ctx, t, &m, "bench", "failover", "--partitions", "30", "--kills", "2", "--signal", signal)
		expectMeasured(t, m, signal)
		d.expectAsBefore(ctx, t)
	}
	interrupted, interrupt := context.WithCancel(ctx)
	cmd := d.Cmd(interrupted, "bench", "failover", "--partitions", "30", "--kills", "100", "--signal", "stop")
	progress := &lines{signal: make(chan struct{}, 1)}
	cmd.Stderr = progress
	interrupt = afterFirst(ctx, t, progress, interrupt)
	if err := cmd.Run(); err == nil {
		t.Error("an interrupted measurement says that it is complete")
	}
	interrupt()
	d.expectAsBefore(ctx, t)
	if out, err := exec.CommandContext(ctx, cmd.Path, "bench", "failover", "--signal", "hup").CombinedOutput(); err == nil {
		t.Errorf("an unknown signal was accepted: %s", out)
	}
	d.down(ctx, t)
}

// lines tells when the first line was written.
type lines struct {
	written bytes.Buffer
	signal  chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("\n")) {
		select {
		case l.signal <- struct{}{}:
		default:
		}
	}
	return l.written.Write(p)
}

// afterFirst interrupts a while after the first hit was measured: in the middle of the second.
func afterFirst(ctx context.Context, t *testing.T, progress *lines, interrupt context.CancelFunc) context.CancelFunc {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-progress.signal:
			time.Sleep(1500 * time.Millisecond)
		case <-ctx.Done():
		}
		interrupt()
	}()
	return func() {
		interrupt()
		<-done
	}
}

func expectMeasured(t *testing.T, m measured, signal string) {
	t.Helper()
	want := 0
	for _, r := range m.Rounds {
		want += r.Partitions
		if r.Failed != 0 {
			t.Errorf("%s: %d probes of %s failed", signal, r.Failed, r.Agent)
		}
	}
	if m.Signal != signal || len(m.Rounds) != 2 || m.Rounds[0].Agent == m.Rounds[1].Agent || want < 20 {
		t.Errorf("%s: %+v", signal, m)
	}
	for name, s := range map[string]spread{"no leader": m.NoLeader, "first ack": m.FirstAck, "longest wait": m.Wait, "longest gap": m.Gap} {
		counted := 0
		for _, b := range s.Buckets {
			counted += b.Count
		}
		if s.Samples != want || counted != want || s.P50 <= 0 || s.Max < s.P50 {
			t.Errorf("%s, %s: %+v of %d partitions", signal, name, s, want)
		}
	}
	if m.FirstAck.Max < m.NoLeader.P50/2 {
		t.Errorf("%s: acknowledged after %v ms, led after %v ms", signal, m.FirstAck.Max, m.NoLeader.P50)
	}
}

// expectAsBefore: all parts run, and the topic of the measurement is gone.
func (d *dev) expectAsBefore(ctx context.Context, t *testing.T) {
	t.Helper()
	for name, p := range d.status(ctx, t) {
		if p.State != "running" {
			t.Errorf("%s is %s", name, p.State)
		}
	}
	var topics, agents []struct {
		State string `json:"state"`
	}
	await(ctx, t, "all agents are live", func() bool {
		d.JSON(ctx, t, &agents, "agent", "list")
		for _, a := range agents {
			if a.State != "live" {
				return false
			}
		}
		return len(agents) == 3
	})
	if d.JSON(ctx, t, &topics, "topic", "list"); len(topics) != 0 {
		t.Errorf("%d topics are left", len(topics))
	}
}
