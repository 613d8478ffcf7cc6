package postgres_test

import (
	"testing"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// suspects says how many sessions are suspect.
func (w *world) suspects() int64 { return w.number("SELECT count(*) FROM sessions WHERE suspect") }

func (a *agent) suspectRefused() bool {
	a.t.Helper()
	suspected, err := a.SuspectRefused(a.t.Context(), a.group, a.session)
	a.must(err)
	return suspected
}

// A refused call counts at once, also while silence proves nothing; the next heartbeat clears the suspicion.
func TestSuspectRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	if address, err := w.SessionAddress(t.Context(), group, a.session); err != nil || address != "http://a:8080" {
		t.Fatalf("address %q, %v", address, err)
	}
	w.sql("UPDATE pulse SET beat_at = clock_timestamp() - interval '1 hour', quiet_until = clock_timestamp() + interval '1 hour'")
	if !a.suspectRefused() || w.suspects() != 1 {
		t.Fatal("not suspect")
	}
	if a.suspectRefused() {
		t.Fatal("suspect twice")
	}
	w.must(a.heartbeat())
	if w.suspects() != 0 {
		t.Fatal("a heartbeat clears the suspicion")
	}
}

// Guarded: a session that has ended, that another process has superseded, or that is another agent group's, stays as it is.
func TestP7_SuspectRefusedIsGuarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	w.must(w.EnsureAgentGroup(t.Context(), "other"))
	ended, before, stranger := w.register("a"), w.register("b"), w.registerIn("other", "c", "z")
	ended.deregister()
	again := w.register("b")
	stranger.group = group
	for _, a := range []*agent{ended, before, stranger} {
		if a.suspectRefused() {
			t.Errorf("agent %s became suspect", a.id)
		}
		if _, err := w.SessionAddress(t.Context(), group, a.session); reasonOf(err) == refusalv1.Reason_REASON_UNSPECIFIED {
			t.Errorf("agent %s is asked after", a.id)
		}
	}
	if w.suspects() != 0 {
		t.Error("somebody is suspect")
	}
	w.must(again.heartbeat())
}

// What the suspect leads is granted elsewhere at once; where buffered acks are allowed, when its session ends.
func TestSuspectRefusedMovesPartitions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	durable, buffered := w.topic("durable", 2), w.topicWith(&controlplanev1.CreateTopicRequest{
		Name: "buffered", PartitionCount: 2, Config: &controlplanev1.TopicConfig{AllowBufferedAcks: new(true)},
	})
	for p := range int32(2) {
		a.lead(durable, p)
		a.lead(buffered, p)
	}
	b := w.register("b")
	if !a.suspectRefused() {
		t.Fatal("not suspect")
	}
	_, _, err := w.AssignOrphans(t.Context(), group)
	w.must(err)
	for p := range int32(2) {
		if grant := b.lead(durable, p); grant.GetEpoch() != 2 {
			t.Errorf("epoch %d", grant.GetEpoch())
		}
		_, refusal := b.acquire(buffered, p, 0)
		wantRefusal(t, refusal, refusalv1.Reason_REASON_LEASE_HELD)
	}
	w.must(a.heartbeat()) // it comes back, and carries on with what it still holds
	if grant := a.lead(buffered, 0); grant.GetEpoch() != 1 {
		t.Errorf("epoch %d of what it still holds", grant.GetEpoch())
	}
}

func TestUntilSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	until := func() time.Duration {
		t.Helper()
		until, err := w.UntilSilent(t.Context(), 2*time.Second)
		w.must(err)
		return until
	}
	if got := until(); got != 2*time.Second {
		t.Errorf("nobody lives: %v", got)
	}
	w.register("a")
	b := w.register("b")
	b.silence(10)
	if got := until(); got > -8*time.Second || got < -30*time.Second {
		t.Errorf("one is silent: %v", got)
	}
	if !b.suspectRefused() {
		t.Fatal("not suspect")
	}
	if got := until(); got > 2*time.Second || got < -time.Second {
		t.Errorf("a suspect is not waited for: %v", got)
	}
}
