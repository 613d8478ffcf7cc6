package postgres_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// cutter stands between a store and PostgreSQL's socket. It lets a COMMIT through and cuts the connection in place of its answer.
type cutter struct {
	t        *testing.T
	listener net.Listener
	server   string
	// cuts is how many COMMITs are still to be cut.
	cuts atomic.Int32
	// last: after a cut nobody gets through any more, which gone says.
	last bool
	gone atomic.Bool
	wg   sync.WaitGroup
}

// newCutter answers a cutter and the URL of the database behind it.
func newCutter(t *testing.T, target string) (*cutter, string) {
	t.Helper()
	parsed, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	query := parsed.Query()
	c := &cutter{t: t, server: filepath.Join(query.Get("host"), ".s.PGSQL.5432")}
	dir := t.TempDir()
	if c.listener, err = net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432")); err != nil {
		t.Fatal(err)
	}
	c.wg.Go(c.accept)
	t.Cleanup(func() { _ = c.listener.Close(); c.wg.Wait() })
	query.Set("host", dir)
	parsed.RawQuery = query.Encode()
	return c, parsed.String()
}

func (c *cutter) accept() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", c.server)
		if err != nil {
			c.t.Error(err)
			return
		}
		var cut atomic.Bool
		c.wg.Go(func() { c.forward(client, server, &cut) })
		c.wg.Go(func() { c.answer(client, server, &cut) })
	}
}

// boundCommit is a prepared COMMIT on its way to be executed: the name that pgx gives it, after the portal's, which is empty.
var boundCommit = func() []byte {
	digest := sha256.Sum256([]byte("commit"))
	return []byte("\x00stmtcache_" + hex.EncodeToString(digest[:24]) + "\x00")
}()

func (c *cutter) forward(client, server net.Conn, cut *atomic.Bool) {
	defer server.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := client.Read(buffer)
		if err != nil || c.gone.Load() {
			return
		}
		if (bytes.Contains(buffer[:n], []byte("Q\x00\x00\x00\x0bcommit\x00")) || bytes.Contains(buffer[:n], boundCommit)) && c.cuts.Add(-1) >= 0 {
			cut.Store(true)
			c.gone.Store(c.last)
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// answer forwards what the server says; once a COMMIT is cut it waits for the answer, so that the COMMIT has happened, and hangs up.
func (c *cutter) answer(client, server net.Conn, cut *atomic.Bool) {
	defer client.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := server.Read(buffer)
		if err != nil || cut.Load() {
			return
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func TestP6_CommitWhoseAnswerWasLostIsRunAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	cut, url := newCutter(t, w.url)
	a := w.register("a")
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	behind := *a
	behind.world = &world{Store: pgtest.OpenURL(t, postgres.Config{URL: url}), t: t, url: w.url}
	cut.cuts.Store(2)
	wantOutcome(t, behind.committed(segment(orders, 0, 1, 0, 3, batch(1, 0, 0, 3, 0))), committed, 3, 1)
	if left := cut.cuts.Load(); left > 0 {
		t.Fatalf("%d cuts left: nothing was tried", left)
	}
	if n := w.number("SELECT count(*) FROM segments"); n != 1 {
		t.Fatalf("%d segments", n)
	}
	w.checkCatalog(t)

	// When it never is answered, the caller hears "possibly", and the same commit tells later.
	cut.cuts.Store(1000)
	o := behind.object(segment(orders, 0, 1, 3, 1))
	request := &controlplanev1.CommitRequest{SessionId: a.session.String(), Objects: []*controlplanev1.ObjectCommit{o}}
	_, err := behind.Commit(t.Context(), group, request)
	wantReason(t, err, refusalv1.Reason_REASON_UNANSWERED)
	if refusalOf(err).GetWritten() != refusalv1.Written_WRITTEN_POSSIBLY {
		t.Fatalf("refusal %v", refusalOf(err))
	}
	cut.cuts.Store(0)
	wantOutcome(t, behind.commit(o)[0].GetSegments()[0], committed, 4, 1)
	w.checkCatalog(t)
}

// Once a COMMIT was lost, a later attempt that cannot even connect makes nothing of it "surely not".
func TestP6_ALostCommitStaysPossibly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	cut, url := newCutter(t, w.url)
	cut.last = true
	a := w.register("a")
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	behind := pgtest.OpenURL(t, postgres.Config{URL: url})
	cut.cuts.Store(1)
	o := a.object(segment(orders, 0, 1, 0, 1))
	_, err := behind.Commit(t.Context(), group, &controlplanev1.CommitRequest{
		SessionId: a.session.String(), Objects: []*controlplanev1.ObjectCommit{o},
	})
	wantReason(t, err, refusalv1.Reason_REASON_UNANSWERED)
	wantOutcome(t, a.commit(o)[0].GetSegments()[0], committed, 1, 1)
}

func TestCreateTopic_WhoseAnswerWasLostIsNotRunAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	cut, url := newCutter(t, w.url)
	s := pgtest.OpenURL(t, postgres.Config{URL: url})
	cut.cuts.Store(1)
	_, err := s.CreateTopic(t.Context(), &controlplanev1.CreateTopicRequest{Name: "orders", PartitionCount: 1})
	wantReason(t, err, refusalv1.Reason_REASON_UNANSWERED) // "exists" would be a lie, "created" a guess
	_, err = s.CreateTopic(t.Context(), &controlplanev1.CreateTopicRequest{Name: "orders", PartitionCount: 1})
	wantReason(t, err, refusalv1.Reason_REASON_TOPIC_EXISTS)
}
