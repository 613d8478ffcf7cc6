package dev_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
)

// A dev in the foreground with a single agent: it dies, another joins and takes its partitions over; then other parts die; Ctrl-C leaves nothing.
func TestNewAgentTakesOver(t *testing.T) {
	t.Parallel()
	d, ctx := newDev(t, "--zones", "az-a", "--session-duration", "3s"), bounded(t)
	running, interrupt := context.WithCancel(ctx)
	cmd := d.Cmd(running, d.args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	await(ctx, t, "dev is ready", func() bool {
		_, err := os.Stat(filepath.Join(d.dir, "dev.json"))
		return err == nil
	})
	d.Must(ctx, t, "topic", "create", "orders", "--partitions", "4")
	d.produce(ctx, t, "orders", 0, 500)
	before := d.epochs(ctx, t, "orders", func(string) bool { return true })
	kill(t, d.read(t).Agents[0].PID)
	var second part
	d.JSON(ctx, t, &second, "dev", "agent", "start", "--id", "second", "--zone", "az-b")
	if second.ID != "second" || second.Zone != "az-b" || second.AgentGroup != "default" {
		t.Errorf("started %+v", second)
	}
	after := d.epochs(ctx, t, "orders", func(leader string) bool { return leader == "second" })
	for i := range before {
		if after[i] <= before[i] {
			t.Errorf("partition %d went from epoch %d to %d", i, before[i], after[i])
		}
	}
	d.produce(ctx, t, "orders", 500, 800)
	d.expectLines(ctx, t, "orders", 800)
	kill(t, d.read(t).S3.PID)
	kill(t, d.read(t).ControlPlanes[0].PID)
	await(ctx, t, "the deaths are in the status", func() bool {
		s := d.status(ctx, t)
		return s["s3"].State == "exited" && s["controlplane-1"].State == "exited"
	})
	interrupt()
	if err := <-ended; err != nil && cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("after Ctrl-C: %v", err)
	}
	d.expectNothing(t)
	for _, says := range []string{"ready", "agent-az-a-1", "s3", "killed"} {
		if !bytes.Contains(output.Bytes(), []byte(says)) {
			t.Errorf("nothing was said of %q:\n%s", says, output.Bytes())
		}
	}
}

// `dev down` from another shell stops what a dead supervisor left behind.
func TestDownAfterTheSupervisorDied(t *testing.T) {
	t.Parallel()
	d, ctx := newDev(t, "--zones", "az-a"), bounded(t)
	c := d.up(ctx, t)
	kill(t, c.Agents[0].PID)
	for _, pid := range d.processes(t) {
		words, _ := os.ReadFile(filepath.Join("/proc", itoa(pid), "cmdline"))
		if bytes.Contains(words, []byte("--detach")) {
			kill(t, pid)
		}
	}
	d.down(ctx, t)
}
