package postgres_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

const (
	serving   = controlplanev1.CatalogState_CATALOG_STATE_SERVING
	verifying = controlplanev1.CatalogState_CATALOG_STATE_VERIFYING
	halted    = controlplanev1.CatalogState_CATALOG_STATE_HALTED
)

func (w *world) status() *controlplanev1.GetCatalogStatusResponse {
	w.t.Helper()
	status, err := w.CatalogStatus(w.t.Context())
	w.must(err)
	return status
}

// show is a heartbeat with evidence.
func (a *agent) show(evidence *controlplanev1.Evidence) *controlplanev1.HeartbeatResponse {
	a.t.Helper()
	response, err := a.Heartbeat(a.t.Context(), a.group, &controlplanev1.HeartbeatRequest{SessionId: a.session.String(), Evidence: evidence})
	a.must(err)
	return response
}

// loses halts the catalog: the agent speaks of an epoch that was never given out.
func (a *agent) loses(t topic, partition, incarnation int32) {
	a.t.Helper()
	response := a.show(&controlplanev1.Evidence{Incarnation: incarnation, Partitions: []*controlplanev1.PartitionEvidence{
		{TopicId: t[:], Partition: partition, Epoch: 1<<31 - 1},
	}})
	if response.GetCatalogState() != halted {
		a.t.Fatalf("the catalog is %v", response.GetCatalogState())
	}
}

// restarted has the catalog remember another life than the server's.
func (w *world) restarted() {
	w.t.Helper()
	w.sql("UPDATE sessions SET evidence_for = 'before' WHERE evidence_for IS NOT NULL")
	w.sql("UPDATE catalog SET life = 'before'")
}

func (w *world) beatPulse() {
	w.t.Helper()
	_, err := w.Beat(w.t.Context())
	w.must(err)
}

func TestHalt_OfSeveralAtOnceIsOneHaltWithAllReasons(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	orders := w.topic("orders", 1)
	var wg sync.WaitGroup
	for i := range 6 {
		a := w.register(string(rune('a' + i)))
		wg.Go(func() {
			for range 3 {
				a.loses(orders, 0, 0)
			}
		})
	}
	wg.Wait()
	status := w.status()
	if status.GetState() != halted || len(status.GetReasons()) != 6 || status.GetHaltedAt() == nil {
		t.Fatalf("%v", status)
	}
	for _, reason := range status.GetReasons() {
		if !strings.Contains(reason, "epoch 2147483647") {
			t.Errorf("%q", reason)
		}
	}
}

// A halted catalog is verified by nobody, whatever is shown and restarted.
func TestHalt_OutlivesRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	orders, a := w.topic("orders", 1), w.register("a")
	a.loses(orders, 0, 0)
	w.restarted()
	w.beatPulse()
	life := a.show(&controlplanev1.Evidence{}).GetCatalogStart()
	a.show(&controlplanev1.Evidence{CompleteFor: life})
	w.beatPulse()
	if got := w.status(); got.GetState() != halted {
		t.Fatalf("%v", got)
	}
	if w.number("SELECT count(*) FROM catalog WHERE verified") != 0 && w.number("SELECT count(*) FROM catalog WHERE halted_at IS NULL") != 0 {
		t.Fatal("verified")
	}
	if _, err := w.AdoptCatalog(t.Context(), &controlplanev1.AdoptCatalogRequest{}); err != nil {
		t.Fatal(err)
	}
	if got := w.status(); got.GetState() != serving || got.GetIncarnation() != 1 {
		t.Fatalf("%v", got)
	}
}

// Agents of the release before give no evidence: they are not awaited, or an upgrade would stop at the next restart.
func TestVerification_DoesNotAwaitWhoNeverGaveEvidence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	orders, old := w.topic("orders", 1), w.register("old")
	w.must(old.heartbeat())
	w.restarted()
	w.must(old.heartbeat())
	if got := w.status(); got.GetState() != serving {
		t.Fatalf("%v", got)
	}
	old.lead(orders, 0)
}

// Evidence for one life of the server is none for the next, and a session that has ended shows nothing.
func TestVerification_CountsOnlyThisLifeAndTheLiving(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a, b := w.register("a"), w.register("b")
	before := a.show(&controlplanev1.Evidence{}).GetCatalogStart()
	a.show(&controlplanev1.Evidence{CompleteFor: before})
	b.show(&controlplanev1.Evidence{CompleteFor: before})
	w.restarted()
	a.show(&controlplanev1.Evidence{CompleteFor: "before"})
	a.show(&controlplanev1.Evidence{CompleteFor: "another"})
	if got := w.status(); got.GetState() != verifying || len(got.GetAwaitedAgentIds()) != 2 {
		t.Fatalf("%v", got)
	}
	a.show(&controlplanev1.Evidence{CompleteFor: before})
	if got := w.status(); got.GetState() != verifying || len(got.GetAwaitedAgentIds()) != 1 || got.GetAwaitedAgentIds()[0] != "b" {
		t.Fatalf("%v", got)
	}
	_, err := b.Deregister(t.Context(), group, &controlplanev1.DeregisterRequest{SessionId: b.session.String()})
	w.must(err)
	w.beatPulse()
	if got := w.status(); got.GetState() != serving {
		t.Fatalf("%v", got)
	}
}

// Commits and lookups wait for the verification, but not for the end of a dead agent's session.
func TestVerification_HoldsCommitsBackForAWhileOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	orders, a, dead := w.topic("orders", 1), w.register("a"), w.register("dead")
	epoch := a.lead(orders, 0).GetEpoch()
	dead.show(&controlplanev1.Evidence{CompleteFor: a.show(&controlplanev1.Evidence{}).GetCatalogStart()})
	w.restarted()
	w.beatPulse()
	object := a.object(segment(orders, 0, epoch, 0, 3))
	request := &controlplanev1.CommitRequest{SessionId: a.session.String(), Objects: []*controlplanev1.ObjectCommit{object}}
	_, err := w.Commit(t.Context(), group, request)
	wantReason(t, err, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE)
	if w.number("SELECT count(*) FROM object_keys") != 0 {
		t.Fatal("an outcome was stored")
	}
	w.sql("UPDATE catalog SET life_since = life_since - interval '6 seconds'")
	response, err := w.Commit(t.Context(), group, request)
	w.must(err)
	if got := response.GetObjects()[0].GetSegments()[0].GetResult(); got != committed {
		t.Fatalf("%v", got)
	}
	if w.status().GetState() != verifying {
		t.Fatal("verified without the dead agent")
	}
	if _, refusal := dead.acquire(orders, 0, 0); refusal.GetReason() != refusalv1.Reason_REASON_LEASE_HELD {
		t.Fatalf("%v", refusal)
	}
	if _, refusal := a.acquire(orders, 0, epoch); refusal.GetReason() != refusalv1.Reason_REASON_CATALOG_UNAVAILABLE {
		t.Fatalf("a tenure began: %v", refusal)
	}
}

// Adoptions in the middle of commits and grants: nothing hangs, what was granted before is fenced, offsets stay dense, epochs are above the floor.
func TestP3_AdoptionFencesWhateverIsOnItsWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{MaxConns: 20})
	const partitions, adoptions = 8, 6
	orders := w.topic("orders", partitions)
	var writing sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		writing.Go(func() {
			for id := string(rune('a' + i)); ; {
				select {
				case <-stop:
					return
				default:
					w.writeOnce(id, orders, partitions)
				}
			}
		})
	}
	defer writing.Wait()
	defer close(stop)
	for i := range int32(adoptions) {
		judge := w.register("judge")
		judge.loses(orders, 0, i)
		adopted, err := w.AdoptCatalog(t.Context(), &controlplanev1.AdoptCatalogRequest{Incarnation: i})
		w.must(err)
		if adopted.GetIncarnation() != i+1 || w.number("SELECT min(epoch) FROM partitions") < int64(i+1)<<23 {
			t.Errorf("incarnation %d, lowest epoch %d", adopted.GetIncarnation(), w.number("SELECT min(epoch) FROM partitions"))
		}
	}
	w.checkCatalog(t)
	if n := w.number("SELECT count(*) FROM segments s JOIN segments l ON l.partition_id = s.partition_id AND l.base_offset > s.base_offset AND l.epoch < s.epoch"); n != 0 {
		t.Errorf("%d segments of an older epoch lie above those of a newer one", n)
	}
}

// writeOnce registers, acquires what it can and commits to it once; a halted catalog refuses, and nobody minds.
func (w *world) writeOnce(id string, orders topic, partitions int32) {
	registered, err := w.Register(w.t.Context(), group, &controlplanev1.RegisterRequest{
		AgentId: id, AgentGroup: string(group), Zone: "z", Address: "http://" + id, Version: "test",
	})
	if err != nil {
		return
	}
	a := &agent{world: w, id: id, group: group, session: uuid.MustParse(registered.GetSessionId())}
	request := &controlplanev1.AcquireRequest{SessionId: a.session.String()}
	for p := range partitions {
		request.Partitions = append(request.Partitions, &controlplanev1.AcquirePartition{TopicId: orders[:], Partition: p})
	}
	response, err := a.Acquire(a.t.Context(), group, request)
	if err != nil {
		return
	}
	var segments []*controlplanev1.SegmentCommit
	for _, o := range response.GetOutcomes() {
		if g := o.GetGrant(); g != nil {
			segments = append(segments, segment(orders, o.GetPartition(), g.GetEpoch(), g.GetHighWatermark(), 3))
		}
	}
	if len(segments) > 0 {
		_, _ = a.Commit(a.t.Context(), group, &controlplanev1.CommitRequest{SessionId: a.session.String(), Objects: []*controlplanev1.ObjectCommit{a.object(segments...)}})
	}
}

// A role that may not ask for the timeline sees the start of the server at least.
func TestServerLife_WithOrdinaryAndWithFewerPrivileges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	conn := w.connection()
	role := "plain_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	life := func() (life string) {
		w.must(conn.QueryRow(t.Context(), "SELECT server_life()").Scan(&life))
		return life
	}
	for _, statement := range []string{"CREATE ROLE " + role, "SET ROLE " + role} {
		_, err := conn.Exec(t.Context(), statement)
		w.must(err)
	}
	ordinary := life()
	if start, timeline, found := strings.Cut(ordinary, "-"); !found || len(timeline) != 8 || len(start) < 15 {
		t.Errorf("%q", ordinary)
	}
	w.sql("REVOKE EXECUTE ON FUNCTION pg_walfile_name(pg_lsn) FROM PUBLIC")
	if got := life(); got == ordinary || !strings.HasPrefix(ordinary, got) {
		t.Errorf("%q, with every privilege %q", got, ordinary)
	}
	_, err := conn.Exec(t.Context(), "RESET ROLE; DROP ROLE "+role)
	w.must(err)
}
