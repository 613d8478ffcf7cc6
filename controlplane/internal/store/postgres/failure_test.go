package postgres_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

func TestMigrate_RacedByReplicas(t *testing.T) {
	t.Parallel()
	url := pgtest.EmptyURL(t)
	var wg sync.WaitGroup
	for range 3 {
		s := pgtest.OpenURL(t, postgres.Config{URL: url})
		wg.Go(func() {
			if err := s.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	w := &world{Store: pgtest.OpenURL(t, postgres.Config{URL: url}), t: t, url: url}
	w.must(w.Migrate(t.Context())) // idempotent
	w.must(w.Ping(t.Context()))
	a := w.register("a")
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	w.must(w.Migrate(t.Context())) // and harmless to what is there
	wantOutcome(t, a.committed(segment(orders, 0, 1, 0, 1)), committed, 1, 1)
}

// Connections are cut at any moment, also between COMMIT and its answer: each commit still gets its one definite outcome.
func TestP6_CutConnectionsLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	const agents, rounds = 3, 60
	orders := w.topic("orders", agents)
	stop := make(chan struct{})
	var cutting, writing sync.WaitGroup
	killer := w.connection()
	writers := make([]*agent, agents)
	for i := range writers {
		writers[i] = w.register(string('a' + rune(i)))
		w.assign(orders, int32(i), writers[i].id)
	}
	cutting.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(15 * time.Millisecond):
			}
			_, err := killer.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'streamhouse-controlplane' ORDER BY random() LIMIT 1`)
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i, a := range writers {
		writing.Go(func() { a.writeThrough(orders, int32(i), rounds) })
	}
	writing.Wait()
	close(stop)
	cutting.Wait()
	if n := w.number("SELECT sum(high_watermark) FROM partitions"); n != agents*rounds {
		t.Fatalf("%d records, want %d", n, agents*rounds)
	}
	w.checkCatalog(t)
}

// writeThrough commits record after record, repeating what was not answered, as an agent does.
func (a *agent) writeThrough(orders topic, partition int32, rounds int) {
	epoch := int32(0)
	for epoch == 0 {
		response, err := a.Acquire(a.t.Context(), group, &controlplanev1.AcquireRequest{
			SessionId: a.session.String(), Partitions: []*controlplanev1.AcquirePartition{{TopicId: orders[:], Partition: partition}},
		})
		if err == nil {
			epoch = response.GetOutcomes()[0].GetGrant().GetEpoch()
		}
	}
	for i := range rounds {
		base := int64(i)
		request := &controlplanev1.CommitRequest{SessionId: a.session.String(), Objects: []*controlplanev1.ObjectCommit{
			a.object(segment(orders, partition, epoch, base, 1, batch(int64(partition), 0, int32(i), 1, base))),
		}}
		for {
			response, err := a.Commit(a.t.Context(), group, request)
			if err != nil {
				if r := reasonOf(err); r != refusalv1.Reason_REASON_UNANSWERED && r != refusalv1.Reason_REASON_CATALOG_UNAVAILABLE {
					a.t.Errorf("round %d: %v", i, err)
					return
				}
				continue
			}
			if out := response.GetObjects()[0].GetSegments()[0]; out.GetResult() != committed || out.GetHighWatermark() != base+1 {
				a.t.Errorf("round %d: %v", i, out)
				return
			}
			break
		}
	}
}

// A replica that stops inside a transaction holds its locks no longer than PostgreSQL allows.
func TestStalledReplica_DoesNotHoldLocksForEver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	conn := w.connection()
	_, err := conn.Exec(t.Context(), "SET idle_in_transaction_session_timeout = '500ms'") // as the pool sets it, in seconds
	w.must(err)
	tx, err := conn.Begin(t.Context())
	w.must(err)
	_, err = tx.Exec(t.Context(), "SELECT FROM partitions FOR NO KEY UPDATE")
	w.must(err)
	wantOutcome(t, a.committed(segment(orders, 0, 1, 0, 1)), committed, 1, 1)
	if err := tx.Commit(t.Context()); err == nil {
		t.Fatal("the stalled transaction was not ended")
	}
}

func TestPool_SetsTimeouts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{StatementTimeout: 300 * time.Millisecond, LockTimeout: 100 * time.Millisecond, MaxConns: 2})
	tx, err := w.connection().Begin(t.Context())
	w.must(err)
	_, err = tx.Exec(t.Context(), "SELECT FROM agent_groups FOR UPDATE")
	w.must(err)
	begun := time.Now()
	_, err = w.Register(t.Context(), group, &controlplanev1.RegisterRequest{AgentId: "a", AgentGroup: "default"})
	wantReason(t, err, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE)
	if took := time.Since(begun); took > 20*time.Second {
		t.Fatalf("took %v", took)
	}
	w.must(tx.Rollback(t.Context()))
	w.register("a")
}

// Calls recover from panics (package refusal): nobody would end the transaction that one leaves behind, and each has a connection and locks.
func TestPanic_LeavesNoTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{MaxConns: 2})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range 3 {
		if cause := w.Panic(ctx); cause != "in a transaction" {
			t.Fatalf("panic with %v", cause)
		}
	}
	w.must(w.Ping(ctx))
}

func TestOutOfReach_IsUnavailable(t *testing.T) {
	t.Parallel()
	s := pgtest.OpenURL(t, postgres.Config{URL: "postgres://nobody@127.0.0.1:1/nothing?sslmode=disable"})
	_, err := s.ListKeys(t.Context())
	wantReason(t, err, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE)
	if err := s.Ping(t.Context()); reasonOf(err) != refusalv1.Reason_REASON_CATALOG_UNAVAILABLE {
		t.Fatalf("ping: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.ListKeys(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the caller's own end", err)
	}
}

func TestOpen_RefusesBadConfig(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]postgres.Config{
		"URL":                {URL: "http://x"},
		"pool":               {MaxConns: 1},
		"session duration":   {SessionDuration: time.Hour},
		"heartbeat interval": {SessionDuration: 2 * time.Second, HeartbeatInterval: time.Second},
		"lock timeout":       {LockTimeout: time.Millisecond},
	} {
		if s, err := postgres.Open(t.Context(), config); err == nil {
			s.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}
