package process_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/e2e/process"
)

func shell(t *testing.T, script string) (*process.Process, string) {
	t.Helper()
	dir := process.Folder(t)
	log := filepath.Join(dir, "log")
	return process.Start(t, process.Spec{Name: "shell", Path: "/bin/sh", Args: []string{"-c", script}, Dir: dir, Log: log}), dir
}

func TestStopWaitsForTheEnd(t *testing.T) {
	t.Parallel()
	p, dir := shell(t, `trap 'echo bye > said; exit 0' TERM; echo > up; while :; do sleep 0.01; done`)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Ready(ctx, func(context.Context) error { _, err := os.Stat(filepath.Join(dir, "up")); return err }); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if said, _ := os.ReadFile(filepath.Join(dir, "said")); string(said) != "bye\n" || p.Running() {
		t.Errorf("it said %q, running %v", said, p.Running())
	}
}

func TestStopKillsWhatDoesNotListen(t *testing.T) {
	t.Parallel()
	p, dir := shell(t, `trap '' TERM; echo > up; while :; do sleep 0.01; done`)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Ready(ctx, func(context.Context) error { _, err := os.Stat(filepath.Join(dir, "up")); return err }); err != nil {
		t.Fatal(err)
	}
	short, cancelShort := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancelShort()
	if err := p.Stop(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stop: %v", err)
	}
	if p.Running() {
		t.Error("it still runs")
	}
}

func TestReadyTellsWhyAProcessEnded(t *testing.T) {
	t.Parallel()
	p, _ := shell(t, `echo no such thing; exit 3`)
	err := p.Ready(t.Context(), func(context.Context) error { return errors.New("not yet") })
	if err == nil || !strings.Contains(err.Error(), "no such thing") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("Ready: %v", err)
	}
}

func TestAPausedProcessCanBeKilled(t *testing.T) {
	t.Parallel()
	p, _ := shell(t, `sleep 1000`)
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	if !p.Running() {
		t.Error("a paused process runs")
	}
	p.Kill()
	if p.Running() {
		t.Error("it still runs")
	}
}
