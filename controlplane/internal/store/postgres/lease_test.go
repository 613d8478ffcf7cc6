package postgres_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// assign writes an assignment past the chooser.
func (w *world) assign(t topic, partition int32, agentID string) {
	w.t.Helper()
	var assigned *string
	if agentID != "" {
		assigned = &agentID
	}
	w.sql("UPDATE partitions SET assigned_agent_id = $3 WHERE topic_id = $1 AND partition = $2", t[:], partition, assigned)
}

// settle lets the chooser work until all is settled.
func (w *world) settle() {
	w.t.Helper()
	for more := true; more; {
		var err error
		_, more, err = w.AssignOrphans(w.t.Context(), group)
		w.must(err)
	}
}

func TestAcquire_Refusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	w.must(w.EnsureAgentGroup(t.Context(), "blue"))
	a, b := w.register("a"), w.register("b")
	held, assigned := w.topic("held", 1), w.topic("assigned", 1)
	blue := w.topicWith(&controlplanev1.CreateTopicRequest{Name: "blue", PartitionCount: 1, AgentGroup: "blue"})
	w.assign(held, 0, "a")
	a.lead(held, 0)
	w.assign(assigned, 0, "b")
	draining, expired, superseded := w.register("draining"), w.register("expired"), w.register("superseded")
	w.must(draining.beat(true, false))
	expired.deregister()
	w.register("superseded")

	cases := []struct {
		name      string
		agent     *agent
		topic     topic
		partition int32
		want      refusalv1.Reason
		leader    string
	}{
		{"held by another", b, held, 0, refusalv1.Reason_REASON_LEASE_HELD, "a"},
		{"assigned to another", a, assigned, 0, refusalv1.Reason_REASON_NOT_ASSIGNED, "b"},
		{"another agent group's", a, blue, 0, refusalv1.Reason_REASON_WRONG_AGENT_GROUP, ""},
		{"no such partition", a, held, 1, refusalv1.Reason_REASON_UNKNOWN_PARTITION, ""},
		{"no such topic", a, topic(uuid.New()), 0, refusalv1.Reason_REASON_UNKNOWN_TOPIC, ""},
		{"draining", draining, assigned, 0, refusalv1.Reason_REASON_AGENT_DRAINING, ""},
		{"expired", expired, assigned, 0, refusalv1.Reason_REASON_SESSION_EXPIRED, ""},
		{"superseded", superseded, assigned, 0, refusalv1.Reason_REASON_SESSION_SUPERSEDED, ""},
		{"never registered", &agent{world: w, group: group, session: uuid.New()}, assigned, 0, refusalv1.Reason_REASON_SESSION_EXPIRED, ""},
		{"another agent group's session", &agent{world: w, group: "blue", session: a.session}, blue, 0, refusalv1.Reason_REASON_SESSION_EXPIRED, ""},
	}
	for _, c := range cases {
		_, refusal := c.agent.acquire(c.topic, c.partition, 0)
		if refusal.GetReason() != c.want || refusal.GetLeader().GetAgentId() != c.leader {
			t.Errorf("%s: %v", c.name, refusal)
		}
	}
}

func TestAcquire_OfTheHolderIsTheSameLease(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 1)
	first := a.lead(orders, 0)
	a.committed(segment(orders, 0, first.GetEpoch(), 0, 5))
	again := a.lead(orders, 0)
	if again.GetEpoch() != 1 || again.GetTenureFirstOffset() != 0 || again.GetHighWatermark() != 5 {
		t.Fatalf("again: %v", again)
	}
	// Once it says that it has ended that tenure, it gets a new one, and the old one is fenced.
	renewed, refusal := a.acquire(orders, 0, 1)
	if refusal != nil || renewed.GetEpoch() != 2 || renewed.GetTenureFirstOffset() != 5 {
		t.Fatalf("new tenure: %v, %v", renewed, refusal)
	}
	if out := a.committed(segment(orders, 0, 1, 5, 1)); out.GetResult() != controlplanev1.SegmentResult_SEGMENT_RESULT_FENCED || out.GetCurrentEpoch() != 2 {
		t.Fatalf("old epoch: %v", out)
	}
	if n := w.number("SELECT count(*) FROM tenures WHERE epoch = 1 AND end_reason = 'resigned'"); n != 1 {
		t.Fatal("the first tenure's end is not written down")
	}
}

func TestAcquire_TakesOverFromTheDeadAndTheSuspect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	plain := w.topic("plain", 1)
	allow := true
	buffered := w.topicWith(&controlplanev1.CreateTopicRequest{
		Name: "buffered", PartitionCount: 1, Config: &controlplanev1.TopicConfig{AllowBufferedAcks: &allow},
	})
	a.lead(plain, 0)
	a.lead(buffered, 0)
	b := w.register("b")
	a.silence(3)
	w.present()
	_, err := w.SuspectSilent(t.Context(), 2*time.Second)
	w.must(err)
	if grant := b.lead(plain, 0); grant.GetEpoch() != 2 {
		t.Fatalf("takeover from a suspect: %v", grant)
	}
	_, refusal := b.acquire(buffered, 0, 0)
	wantRefusal(t, refusal, refusalv1.Reason_REASON_LEASE_HELD) // what it acknowledged lives in its memory
	a.silence(60)
	w.present()
	_, err = w.EndSilent(t.Context())
	w.must(err)
	if grant := b.lead(buffered, 0); grant.GetEpoch() != 2 {
		t.Fatalf("takeover from the dead: %v", grant)
	}
	if n := w.number("SELECT count(*) FROM tenures WHERE epoch = 1 AND end_reason IN ('taken over', 'session ended')"); n != 2 {
		t.Fatal("the ends of the first tenures are not written down")
	}
}

// A suspect that comes back carries on with what it still holds.
func TestSuspect_CarriesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	a.silence(3)
	w.present()
	_, err := w.SuspectSilent(t.Context(), 2*time.Second)
	w.must(err)
	if out := a.committed(segment(orders, 0, 1, 0, 1)); out.GetResult() != controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED {
		t.Fatalf("commit of a suspect whom nobody replaced: %v", out)
	}
	w.must(a.heartbeat())
	if grant := a.lead(orders, 0); grant.GetEpoch() != 1 {
		t.Fatalf("lease of a suspect that came back: %v", grant)
	}
}

func TestP3_ConcurrentAcquiresGrantOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	const agents, partitions = 6, 20
	orders := w.topic("orders", partitions) // nobody lives yet: no assignment
	var all []*agent
	for i := range agents {
		all = append(all, w.register(string(rune('a'+i))))
	}
	asked := make([]*controlplanev1.AcquirePartition, partitions)
	for i := range asked {
		asked[i] = &controlplanev1.AcquirePartition{TopicId: orders[:], Partition: int32((i * 7) % partitions)} // not in lock order
	}
	var mu sync.Mutex
	granted := map[int32]int{}
	var wg sync.WaitGroup
	for _, a := range all {
		wg.Go(func() {
			response, err := a.Acquire(t.Context(), group, &controlplanev1.AcquireRequest{SessionId: a.session.String(), Partitions: asked})
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, o := range response.GetOutcomes() {
				if o.GetGrant() != nil {
					granted[o.GetPartition()]++
				}
			}
		})
	}
	wg.Wait()
	for partition := range int32(partitions) {
		if granted[partition] != 1 {
			t.Errorf("partition %d was granted %d times", partition, granted[partition])
		}
	}
}

func TestRelease_GrantsToTheAssignee(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a, b := w.register("a"), w.register("b")
	orders := w.topic("orders", 2)
	w.assign(orders, 0, "a")
	w.assign(orders, 1, "a")
	a.lead(orders, 0)
	a.lead(orders, 1)
	a.committed(segment(orders, 0, 1, 0, 4))
	w.must(a.beat(true, false))
	w.settle()
	if out := a.release(orders, 0, 7); out.GetReleased() || out.GetLeader().GetAgentId() != "a" {
		t.Fatalf("another epoch is a no-op: %v", out)
	}
	out := a.release(orders, 0, 1)
	if !out.GetReleased() || out.GetLeader().GetAgentId() != "b" || out.GetLeader().GetEpoch() != 2 {
		t.Fatalf("release: %v", out)
	}
	if out := a.release(orders, 0, 1); out.GetReleased() || out.GetLeader().GetAgentId() != "b" {
		t.Fatalf("release again: %v", out)
	}
	if grant := b.lead(orders, 0); grant.GetEpoch() != 2 || grant.GetTenureFirstOffset() != 4 {
		t.Fatalf("the successor has it already: %v", grant)
	}
	if out := a.committed(segment(orders, 0, 1, 4, 1)); out.GetResult() != controlplanev1.SegmentResult_SEGMENT_RESULT_FENCED {
		t.Fatalf("commit after release: %v", out)
	}
	b.deregister()
	out = a.release(orders, 1, 1)
	if !out.GetReleased() || out.GetLeader() != nil {
		t.Fatalf("the assignee is gone, so nobody gets it: %v", out)
	}
	if w.number("SELECT count(*) FROM partitions WHERE partition = 1 AND leader_session_id IS NULL AND epoch = 1") != 1 {
		t.Fatal("the partition must be without a leader, its epoch kept")
	}
	if w.number("SELECT count(*) FROM tenures WHERE end_reason = 'released'") != 2 {
		t.Fatal("the ends of the tenures are not written down")
	}
}

func TestAssignOrphans_FollowsSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	orders := w.topic("orders", 6)
	a := w.registerIn(group, "a", "zone-a")
	b := w.registerIn(group, "b", "zone-b")
	c := w.registerIn(group, "c", "zone-c")
	count := func(agentID string) int64 {
		return w.number("SELECT count(*) FROM partitions WHERE topic_id = $1 AND assigned_agent_id = $2", orders[:], agentID)
	}
	w.settle()
	if count("a") != 2 || count("b") != 2 || count("c") != 2 {
		t.Fatalf("uneven: %d, %d, %d", count("a"), count("b"), count("c"))
	}
	groups, err := w.UnsettledAgentGroups(t.Context())
	w.must(err)
	if len(groups) != 0 {
		t.Fatalf("unsettled: %v", groups)
	}
	w.must(a.beat(true, false))
	w.settle()
	if count("a") != 0 || count("b") != 3 || count("c") != 3 {
		t.Fatalf("a drains: %d, %d, %d", count("a"), count("b"), count("c"))
	}
	w.must(b.beat(false, true))
	w.settle()
	if count("c") != 6 {
		t.Fatalf("b is unfit: %d, %d, %d", count("a"), count("b"), count("c"))
	}
	c.deregister()
	w.settle()
	if count("c") != 6 {
		t.Fatal("with no candidate left, assignments stay")
	}
	w.must(b.beat(false, false))
	w.settle()
	if count("b") != 6 {
		t.Fatal("b is fit again")
	}
}
