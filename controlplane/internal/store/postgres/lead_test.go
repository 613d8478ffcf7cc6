package postgres_test

import (
	"testing"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

func leads(t *testing.T, candidate store.PlacementCandidate) bool {
	t.Helper()
	leads, err := candidate.Leads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return leads
}

// TestPlacementLeadIsLostBySilence: a replica that is stopped, or cut off, holds the lead for no longer than PostgreSQL lets it be silent.
func TestPlacementLeadIsLostBySilence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	p, q := w.PlacementCandidate("p"), w.replica(postgres.Config{}).PlacementCandidate("q")
	defer p.Close()
	defer q.Close()
	if !leads(t, p) || leads(t, q) {
		t.Fatal("the first who asks does not lead alone")
	}
	view, err := w.ClusterView(t.Context(), store.EveryAgentGroup)
	w.must(err)
	if view.PlacementBy != "p" {
		t.Errorf("placement by %q", view.PlacementBy)
	}
	silent := time.Now() // at the latest: its next answer may take a while
	if !leads(t, p) {
		t.Fatal("the first who asks does not go on to lead")
	}
	for !leads(t, q) {
		if time.Since(silent) > 20*store.CandidateSilence {
			t.Fatalf("the lead is still taken after %v", time.Since(silent))
		}
		time.Sleep(50 * time.Millisecond)
	}
	if after := time.Since(silent); after < store.CandidateSilence/2 {
		t.Errorf("the lead was lost after %v of silence", after)
	}
	if leads, err := p.Leads(t.Context()); leads || err == nil {
		t.Errorf("who was silent leads: %v, %v", leads, err)
	}
	if leads(t, p) { // it connects anew, and stands by
		t.Error("two lead")
	}
}

// TestPlacementLeadIsGivenUp: a replica that stops in good order leaves the lead to others at once.
func TestPlacementLeadIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	p, q := w.PlacementCandidate("p"), w.PlacementCandidate("q")
	defer q.Close()
	if !leads(t, p) || leads(t, q) {
		t.Fatal("the first who asks leads")
	}
	p.Close()
	for begin := time.Now(); !leads(t, q); time.Sleep(10 * time.Millisecond) { // the server closes the connection in its own time
		if time.Since(begin) > store.CandidateSilence {
			t.Fatal("nobody leads")
		}
	}
}

// TestReportsAreOverwrittenInPlace: one row a session, and no index to change.
func TestReportsAreOverwrittenInPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 3)
	for i := range 20 {
		_, err := w.Heartbeat(t.Context(), group, &controlplanev1.HeartbeatRequest{SessionId: a.session.String(), Report: &controlplanev1.AgentReport{
			InBytesPerSecond: int64(i), Partitions: []*controlplanev1.PartitionLoad{{TopicId: orders[:], Partition: 1, BytesPerSecond: int64(i)}},
		}})
		w.must(err)
	}
	loads, err := w.PartitionLoads(t.Context(), group)
	w.must(err)
	if got := loads[store.PartitionID{Topic: [16]byte(orders), Number: 1}]; got != 19 || len(loads) != 1 {
		t.Errorf("loads %v", loads)
	}
	w.Close() // statistics arrive when a connection ends
	eventually(t, "statistics", func() bool {
		return w.number("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'agent_reports'") >= 19
	})
	if rows := w.number(`SELECT count(*) FROM agent_reports`); rows != 1 {
		t.Errorf("%d rows", rows)
	}
	if cold := w.number(`SELECT n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'agent_reports'`); cold != 0 {
		t.Errorf("%d reports were not written in place", cold)
	}
}
