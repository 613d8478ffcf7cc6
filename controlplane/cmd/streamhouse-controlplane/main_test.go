package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/config"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// lines may be written by one goroutine and read by another.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestVersionNeedsNoConfiguration(t *testing.T) {
	var out, log lines
	if err := run(t.Context(), []string{"version"}, &out, &log); err != nil || out.String() != version+"\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestHelpIsCompleteAndShowsNoSecret(t *testing.T) {
	key := access.NewKey().Reveal()
	t.Setenv("STREAMHOUSE_BOOTSTRAP_ADMIN_KEY", key)
	t.Setenv("STREAMHOUSE_DATABASE_URL", "postgres://u:hunter2@db/x")
	var out, log lines
	err := run(t.Context(), []string{"--help"}, &out, &log)
	if !errors.Is(err, config.ErrHelp) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{
		"serve", "migrate", "healthcheck", "version", "--config", "--listen", "--advertised-address", "--database-url", "--session-duration=30s",
		"--heartbeat-interval=1s", "--suspect-after=2s", "--watch-interval=100ms", "--max-moves=256", "--bootstrap-admin-key", "--[no-]migrate-on-start", "--pool-size=16", "--producer-expiry=168h", "--allow-unsafe-database",
		"--log-level", "--log-format", "--tls-cert", "--tls-key", "--cors-origins", "--stop-timeout=10s", "--agent-groups", "$STREAMHOUSE_DATABASE_URL",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help lacks %s", want)
		}
	}
	if all := out.String() + log.String(); strings.Contains(all, key) || strings.Contains(all, "hunter2") {
		t.Errorf("help shows a secret:\n%s", all)
	}
}

func TestWrongUsageExitsWithTwo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("database-url: postgres:///x\npoolsize: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for says, args := range map[string][]string{
		"database-url: required": nil, "--nothing": {"--nothing"}, `line 2: unknown key "poolsize"`: {"--config", file},
		"nowhere": {"nowhere"}, "session-duration": {"--session-duration", "0s", "--database-url", "postgres:///x"},
		"database-url": {"migrate"}, "log-format": {"--log-format", "xml"}, "--log-level": {"--log-level", "loud"},
	} {
		var out, log lines
		err := run(t.Context(), args, &out, &log)
		if err == nil || !strings.Contains(err.Error(), says) || config.ExitStatus(err) != 2 {
			t.Errorf("%v: got %v, exit status %d; want %q and 2", args, err, config.ExitStatus(err), says)
		}
	}
}

// TestTheWholeLife migrates, serves with a file and the environment, is asked for its health, and stops.
func TestTheWholeLife(t *testing.T) {
	database := pgtest.EmptyURL(t)
	key := access.NewKey().Reveal()
	t.Setenv("STREAMHOUSE_BOOTSTRAP_ADMIN_KEY", key)
	address := freeAddress(t)
	file := filepath.Join(t.TempDir(), "config.yaml")
	content := "database-url: " + database + "\nlisten: " + address + "\nlog-format: json\npool-size: 4\nmigrate-on-start: false\nallow-unsafe-database: true\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, log lines
	if err := run(t.Context(), []string{"migrate", "--config", file}, &out, &log); err != nil {
		t.Fatal(err)
	}
	healthy := func() error { return run(t.Context(), []string{"healthcheck", "--config", file}, &out, &log) }
	if healthy() == nil {
		t.Error("nothing listens, and yet it is healthy")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"--config", file}, &out, &log) }()
	for deadline := time.Now().Add(time.Minute); healthy() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not healthy after 20 s:\n%s", log.String())
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("got %v", err)
	}
	if strings.Contains(log.String(), key) || !strings.Contains(log.String(), `"pool-size":"4"`) {
		t.Errorf("the effective configuration must be logged, without secrets:\n%s", log.String())
	}
	for line := range strings.Lines(log.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

// freeAddress finds a port that is free now. The healthcheck is told the address of the configuration, so that it cannot be 0 here.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}
