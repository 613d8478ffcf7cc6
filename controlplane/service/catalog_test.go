package service_test

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/secret"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
	"github.com/streamhouse/streamhouse/controlplane/service"
)

// socketName is what PostgreSQL's default port is called on a Unix socket.
const socketName = ".s.PGSQL.5432"

// wire stands between a control plane and PostgreSQL, and can be cut.
type wire struct {
	t      *testing.T
	dir    string // of its own socket
	server string // PostgreSQL's socket
	wg     sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener
	open     map[net.Conn]bool
}

// newWire makes a wire that is cut, and the URL of the database behind it.
func newWire(t *testing.T, database string) (*wire, string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	dir, err := os.MkdirTemp("", "wire") //nolint:usetesting // short: a socket's path has about a hundred bytes
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, dir: dir, server: filepath.Join(query.Get("host"), socketName), open: map[net.Conn]bool{}}
	t.Cleanup(func() {
		w.cut()
		w.wg.Wait()
		_ = os.RemoveAll(dir)
	})
	query.Set("host", dir)
	u.RawQuery = query.Encode()
	return w, u.String()
}

// join lets connections through.
func (w *wire) join() {
	w.t.Helper()
	listener, err := new(net.ListenConfig).Listen(w.t.Context(), "unix", filepath.Join(w.dir, socketName))
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.listener = listener
	w.mu.Unlock()
	w.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			w.wg.Go(func() { w.carry(conn) })
		}
	})
}

// cut refuses new connections and breaks those that are open.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.listener != nil {
		_ = w.listener.Close()
		w.listener = nil
	}
	for conn := range w.open {
		_ = conn.Close()
	}
}

func (w *wire) carry(here net.Conn) {
	there, err := new(net.Dialer).DialContext(w.t.Context(), "unix", w.server)
	if err != nil {
		_ = here.Close()
		return
	}
	w.mu.Lock()
	w.open[here], w.open[there] = true, true
	w.mu.Unlock()
	var pumps sync.WaitGroup
	pump := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_, _ = to.Close(), from.Close()
	}
	pumps.Go(func() { pump(there, here) })
	pumps.Go(func() { pump(here, there) })
	pumps.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, here)
	delete(w.open, there)
}

// status asks a plain HTTP route.
func (r *replica) status(path string) int {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

func eventually(t *testing.T, what string, happens func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !happens(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within a minute", what)
		}
	}
}

// TestTheDatabaseComesAndGoes starts before the database is there, loses it, and gets it back.
func TestTheDatabaseComesAndGoes(t *testing.T) {
	t.Parallel()
	database, through := newWire(t, pgtest.EmptyURL(t))
	r := launch(t, configure(through))
	list := func() error {
		_, err := r.topics(r.admin).ListTopics(t.Context(), &controlplanev1.ListTopicsRequest{})
		return err
	}
	refused := func(when string) {
		t.Helper()
		began := time.Now()
		got := wants(t, when, list(), refusalv1.Reason_REASON_CATALOG_UNAVAILABLE)
		if got.GetRetryAfterMs() <= 0 || time.Since(began) > 20*time.Second {
			t.Errorf("%s: %v after %v", when, got, time.Since(began))
		}
		if live, ready := r.status("/healthz"), r.status("/readyz"); live != http.StatusOK || ready != http.StatusServiceUnavailable {
			t.Errorf("%s: /healthz %d, /readyz %d", when, live, ready)
		}
	}
	refused("before the database is there")
	database.join()
	r.awaitReady()
	if err := list(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "readiness", func() bool { return r.status("/readyz") == http.StatusOK })

	agents := r.agents(r.key(accessv1.Role_ROLE_AGENT, ""))
	seen := observe(t, agents, register(t, agents, "agent-1", "default"))
	seen.until(t, "the first message", func() bool { return seen.message > 0 })
	database.cut()
	eventually(t, "unreadiness", func() bool { return r.status("/readyz") == http.StatusServiceUnavailable })
	refused("while it is away")
	err := seen.receive()
	for err == nil {
		err = seen.receive()
	}
	wants(t, "a watch without a database", err, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE)

	database.join()
	eventually(t, "recovery", func() bool { return list() == nil })
	again := observe(t, agents, register(t, agents, "agent-1", "default"))
	again.until(t, "the first message", func() bool { return again.message > 0 })
	database.cut() // and the process can be stopped without it
	if err := r.end(); err != nil {
		t.Errorf("Run said %v", err)
	}
}

// TestReplicasStartTogether has several replicas migrate one empty database at once.
func TestReplicasStartTogether(t *testing.T) {
	t.Parallel()
	config := configure(pgtest.EmptyURL(t))
	config.PoolSize = 4
	replicas := make([]*replica, 4)
	for i := range replicas {
		replicas[i] = launch(t, config)
	}
	for i, r := range replicas {
		r.awaitReady()
		list, err := r.keys(r.admin).ListKeys(t.Context(), &controlplanev1.ListKeysRequest{})
		if err != nil || len(list.GetKeys()) != 1 {
			t.Errorf("replica %d: the bootstrap key must be there once: %v, %v", i, list, err)
		}
	}
}

// TestWhatCannotPassEndsTheProcess starts on a database that does not exist, and on one without a schema.
func TestWhatCannotPassEndsTheProcess(t *testing.T) {
	t.Parallel()
	missing := configure(strings.Replace(pgtest.EmptyURL(t), "/test_", "/missing_", 1))
	unmigrated := configure(pgtest.EmptyURL(t))
	unmigrated.MigrateOnStart = false
	for name, c := range map[string]struct {
		config service.Config
		says   string
	}{
		"no database": {missing, "does not exist"}, "no schema": {unmigrated, "does not exist"},
	} {
		r := launch(t, c.config)
		select {
		case err := <-r.ended:
			r.ended <- err
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: got %v", name, err)
			}
		case <-time.After(20 * time.Second):
			t.Errorf("%s: still running", name)
		}
	}
}

func TestMigrateAlone(t *testing.T) {
	t.Parallel()
	config := configure(pgtest.EmptyURL(t))
	logger := quiet(t)
	for range 2 { // idempotent
		if err := service.Migrate(t.Context(), config, logger); err != nil {
			t.Fatal(err)
		}
	}
	config.MigrateOnStart = false
	r := serve(t, config)
	if _, err := r.topics(r.admin).ListTopics(t.Context(), &controlplanev1.ListTopicsRequest{}); err != nil {
		t.Error(err)
	}
	config.DatabaseURL = secret.New("postgres:///none?host=" + t.TempDir())
	if err := service.Migrate(t.Context(), config, logger); err == nil {
		t.Error("there is no database, and migrate says nothing")
	}
}
