package logs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/serve/logs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// buffer may be written by one goroutine and read by another.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func TestLinesCarryTheTrace(t *testing.T) {
	var out bytes.Buffer
	log, err := logs.New(&out, logs.Config{LogFormat: "json", LogRate: logs.DefaultRate})
	if err != nil {
		t.Fatal(err)
	}
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}})
	ctx := trace.ContextWithSpanContext(t.Context(), span)
	log.With("a", 1).WithGroup("g").InfoContext(ctx, "one", "b", 2)
	if !strings.Contains(out.String(), span.TraceID().String()) || !strings.Contains(out.String(), span.SpanID().String()) {
		t.Errorf("no ids in %s", out.String())
	}
	out.Reset()
	log.InfoContext(t.Context(), "two")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line["trace_id"] != nil || line["msg"] != "two" {
		t.Errorf("got %v, %v", line, err)
	}
}

func TestSignalTogglesDebug(t *testing.T) {
	var out buffer
	log, err := logs.New(&out, logs.Config{LogLevel: slog.LevelWarn, LogFormat: "text", LogRate: logs.DefaultRate})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- log.Run(ctx) }()
	log.Debug("quiet")
	toggle(t)
	waitFor(t, func() bool { return log.Enabled(ctx, slog.LevelDebug) })
	log.Debug("loud")
	toggle(t)
	waitFor(t, func() bool { return !log.Enabled(ctx, slog.LevelInfo) })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "quiet") || !strings.Contains(out.String(), "loud") {
		t.Errorf("got %s", out.String())
	}
}

func toggle(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("did not happen within a minute")
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	if _, err := logs.New(&bytes.Buffer{}, logs.Config{LogFormat: "xml"}); err == nil || !strings.Contains(err.Error(), "xml") {
		t.Fatalf("got %v", err)
	}
}

func TestDebugByConfigurationCanBeSwitchedOff(t *testing.T) {
	log, err := logs.New(&bytes.Buffer{}, logs.Config{LogLevel: slog.LevelDebug, LogRate: logs.DefaultRate})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{false, true, false} {
		log.ToggleDebug(t.Context())
		if log.Enabled(t.Context(), slog.LevelDebug) != want || !log.Enabled(t.Context(), slog.LevelInfo) {
			t.Errorf("debug must be %v, info on", want)
		}
	}
}

func TestLinesThatRepeatEachOtherAreCounted(t *testing.T) {
	defer signal.Reset(syscall.SIGUSR1) // no signal of another test may go into the bubble
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		log, err := logs.New(&out, logs.Config{LogLevel: slog.LevelDebug, LogFormat: "text", LogRate: 3})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- log.Run(ctx) }()
		time.Sleep(time.Second) // not in step with Run's tick
		for i := range 10 {
			log.With("i", i).Warn("storm")
			log.Debug("asked for")
		}
		log.Info("calm")
		if n := strings.Count(out.String(), "msg=storm"); n != 3 || strings.Count(out.String(), "asked for") != 10 || !strings.Contains(out.String(), "calm") {
			t.Errorf("%d lines of the storm in\n%s", n, out.String())
		}
		time.Sleep(11 * time.Second)
		log.Warn("storm")
		if !strings.Contains(out.String(), "left_out_before=7") {
			t.Errorf("the line after the storm says nothing of it:\n%s", out.String())
		}
		for range 5 {
			log.Warn("storm")
		}
		time.Sleep(20 * time.Second) // nobody logs any more
		if !strings.Contains(out.String(), `level=WARN msg="lines were left out" of=storm lines=3`) {
			t.Errorf("the end says nothing of the second storm:\n%s", out.String())
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestALimitOfNothingIsRefused(t *testing.T) {
	if _, err := logs.New(&bytes.Buffer{}, logs.Config{}); err == nil || !strings.Contains(err.Error(), "log-rate") {
		t.Errorf("got %v", err)
	}
}
