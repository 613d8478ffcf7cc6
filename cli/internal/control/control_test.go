package control

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type recorder struct{ stopped chan struct{} }

func (recorder) Status() []Part { return []Part{{Name: "postgres", State: "running", PID: 7}} }

func (r recorder) Stop() { close(r.stopped) }

func (recorder) StartAgent(_ context.Context, agent NewAgent) (Part, error) {
	if agent.ID == "bad" {
		return Part{}, errors.New("bad runs already: choose another --id")
	}
	return Part{Name: agent.ID, Zone: agent.Zone}, nil
}

func serve(t *testing.T, path string) (Caller, recorder) {
	t.Helper()
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	r := recorder{stopped: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan struct{})
	go func() {
		defer close(served)
		Serve(ctx, l, r, func(err error) { t.Error(err) })
	}()
	t.Cleanup(func() { cancel(); <-served })
	return Caller{Socket: l.Addr().String()}, r
}

// shortDir has paths that fit a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sh") //nolint:usetesting // t.TempDir is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestOrders(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "control.sock")
	caller, r := serve(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may give orders: %v, %v", info.Mode(), err)
	}
	parts, err := caller.Status(t.Context())
	if err != nil || len(parts) != 1 || parts[0].PID != 7 {
		t.Errorf("status: %v, %v", parts, err)
	}
	if p, err := caller.StartAgent(t.Context(), NewAgent{ID: "x", Zone: "z"}); err != nil || p.Name != "x" || p.Zone != "z" {
		t.Errorf("start: %+v, %v", p, err)
	}
	if _, err := caller.StartAgent(t.Context(), NewAgent{ID: "bad"}); err == nil || err.Error() != "bad runs already: choose another --id" {
		t.Errorf("a refusal arrives as %v", err)
	}
	if err := caller.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	<-r.stopped
}

func TestLongPathsGetAnotherSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), strings.Repeat("d", 120), "control.sock")
	caller, _ := serve(t, path)
	if caller.Socket == path {
		t.Fatal("no system takes such a path")
	}
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(caller.Socket)) })
	if info, err := os.Stat(filepath.Dir(caller.Socket)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may look for it: %v, %v", info.Mode(), err)
	}
	if _, err := caller.Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSocketOfTheDeadIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(shortDir(t), "control.sock")
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = dead.Close()
	if _, err := (Caller{Socket: path}).Status(t.Context()); err == nil {
		t.Error("a dead one answers")
	}
	caller, _ := serve(t, path)
	if _, err := caller.Status(t.Context()); err != nil {
		t.Error(err)
	}
}
