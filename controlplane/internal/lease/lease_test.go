package lease

import (
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

const green = "green"

func session(id string) *Session {
	return &Session{ID: uuid.NewSHA1(uuid.Nil, []byte(id)), AgentID: id}
}

func with(s *Session, change func(*Session)) *Session { change(s); return s }

func TestAcquire(t *testing.T) {
	t.Parallel()
	ended := func(s *Session) { s.Ended = true }
	suspect := func(s *Session) { s.Suspect = true }
	cases := map[string]struct {
		me        *Session
		p         Partition
		lastEnded int32
		refusal   refusalv1.Reason
		epoch     int32
		isNew     bool
		before    string
	}{
		"free":        {session("a"), Partition{}, 0, 0, 1, true, ""},
		"free again":  {session("a"), Partition{Epoch: 4}, 0, 0, 5, true, ""},
		"mine":        {session("a"), Partition{Epoch: 4, Leader: session("a")}, 3, 0, 4, false, ""},
		"mine, moved": {session("a"), Partition{Epoch: 4, Leader: session("a"), Assigned: session("b")}, 0, 0, 4, false, ""},
		"mine, ended": {session("a"), Partition{Epoch: 4, Leader: session("a")}, 4, 0, 5, true, EndResigned},
		"mine, ended, moved": {
			session("a"), Partition{Epoch: 4, Leader: session("a"), Assigned: session("b")}, 4, refusalv1.Reason_REASON_NOT_ASSIGNED, 0, false, "",
		},
		"held": {session("a"), Partition{Epoch: 4, Leader: session("b")}, 0, refusalv1.Reason_REASON_LEASE_HELD, 0, false, ""},
		"held, mine to take": {
			session("a"), Partition{Epoch: 4, Leader: session("b"), Assigned: session("a")}, 0, refusalv1.Reason_REASON_LEASE_HELD, 0, false, "",
		},
		"holder ended":   {session("a"), Partition{Epoch: 4, Leader: with(session("b"), ended)}, 0, 0, 5, true, EndSessionEnded},
		"holder suspect": {session("a"), Partition{Epoch: 4, Leader: with(session("b"), suspect)}, 0, 0, 5, true, EndTakenOver},
		"holder suspect, buffered": {
			session("a"), Partition{Epoch: 4, Leader: with(session("b"), suspect), AllowBufferedAcks: true}, 0, refusalv1.Reason_REASON_LEASE_HELD, 0, false, "",
		},
		"assigned to another": {session("a"), Partition{Assigned: session("b")}, 0, refusalv1.Reason_REASON_NOT_ASSIGNED, 0, false, ""},
		"assigned to a suspect": {
			session("a"), Partition{Assigned: with(session("b"), suspect)}, 0, 0, 1, true, "",
		},
		"assigned to one that drains": {
			session("a"), Partition{Assigned: with(session("b"), func(s *Session) { s.Draining = true })}, 0, 0, 1, true, "",
		},
		"drains": {
			with(session("a"), func(s *Session) { s.Draining = true }), Partition{}, 0, refusalv1.Reason_REASON_AGENT_DRAINING, 0, false, "",
		},
		"ended": {with(session("a"), ended), Partition{}, 0, refusalv1.Reason_REASON_SESSION_EXPIRED, 0, false, ""},
		"superseded": {
			with(session("a"), func(s *Session) { s.Ended, s.Superseded = true, true }), Partition{}, 0, refusalv1.Reason_REASON_SESSION_SUPERSEDED, 0, false, "",
		},
		"never was": {nil, Partition{}, 0, refusalv1.Reason_REASON_SESSION_EXPIRED, 0, false, ""},
		"another agent group's": {
			session("a"), Partition{AgentGroup: "blue"}, 0, refusalv1.Reason_REASON_WRONG_AGENT_GROUP, 0, false, "",
		},
	}
	for name, c := range cases {
		if c.p.AgentGroup == "" {
			c.p.AgentGroup = green
		}
		got, err := Acquire(c.me, green, c.p, c.lastEnded, 0)
		if err != nil || got.Refusal.GetReason() != c.refusal || got.Epoch != c.epoch || got.New != c.isNew || got.EndBefore != c.before {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestRelease(t *testing.T) {
	t.Parallel()
	leads := func(assigned *Session) Partition {
		return Partition{AgentGroup: green, Epoch: 3, Leader: session("a"), Assigned: assigned}
	}
	me := session("a").ID
	cases := map[string]struct {
		p         Partition
		epoch     int32
		released  bool
		successor string
	}{
		"to the assignee":  {leads(session("b")), 3, true, "b"},
		"to nobody":        {leads(nil), 3, true, ""},
		"to oneself":       {leads(session("a")), 3, true, ""},
		"assignee drains":  {leads(with(session("b"), func(s *Session) { s.Draining = true })), 3, true, ""},
		"assignee suspect": {leads(with(session("b"), func(s *Session) { s.Suspect = true })), 3, true, ""},
		"another epoch":    {leads(session("b")), 2, false, ""},
		"another's":        {Partition{AgentGroup: green, Epoch: 3, Leader: session("b")}, 3, false, ""},
		"nobody's":         {Partition{AgentGroup: green, Epoch: 3}, 3, false, ""},
		"another group's":  {Partition{AgentGroup: "blue", Epoch: 3, Leader: session("a")}, 3, false, ""},
	}
	for name, c := range cases {
		got, err := Release(me, green, c.p, c.epoch, 0)
		successor := ""
		if got.Successor != nil {
			successor = got.Successor.AgentID
		}
		if err != nil || got.Released != c.released || successor != c.successor || (successor != "" && got.Epoch != 4) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestP3_NextEpochIsAboveAllBefore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		incarnation := rapid.Int32Range(0, 255).Draw(t, "incarnation")
		epoch := rapid.Int32Range(0, incarnation<<tenureBits|(1<<tenureBits-1)).Draw(t, "epoch")
		next, err := NextEpoch(epoch, incarnation)
		if err != nil {
			if epoch != incarnation<<tenureBits|(1<<tenureBits-1) {
				t.Fatalf("epoch %d, incarnation %d: %v", epoch, incarnation, err)
			}
			return
		}
		if next <= epoch || next <= 0 || next>>tenureBits != incarnation {
			t.Fatalf("epoch %d, incarnation %d: next %d", epoch, incarnation, next)
		}
	})
	if first, err := NextEpoch(0, 0); first != 1 || err != nil {
		t.Fatalf("the first epoch is %d, %v", first, err)
	}
}
