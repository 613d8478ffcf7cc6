package lease

import (
	"fmt"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Partition is a partition's row, its lock held, with the sessions that matter read in a later statement.
type Partition struct {
	// Topic names it in refusals.
	Topic             string
	Number            int32
	AgentGroup        string
	AllowBufferedAcks bool
	Epoch             int32
	// Leader is the session of the newest tenure, ended or not; nil: none.
	Leader *Session
	// Assigned is the session that lives of the agent which should lead; nil: none is assigned, or none lives.
	Assigned *Session
}

// Why a tenure ended; as tenures.end_reason has it.
const (
	EndReleased     = "released"
	EndResigned     = "resigned"
	EndTakenOver    = "taken over"
	EndSessionEnded = "session ended"
)

// Verdict is the outcome of an acquire.
type Verdict struct {
	// Refusal: nothing is granted. The other fields are empty then.
	Refusal *refusalv1.Refusal
	// Epoch is the tenure's.
	Epoch int32
	// New: the tenure must be written; else it is the one that the session has.
	New bool
	// EndBefore says why the tenure before ended; empty: there is none that has not been ended.
	EndBefore string
}

// Acquire decides by the rules of section 3 of the protocol, in their order. me is the asking session, agentGroup its agent group.
// lastEnded is the highest epoch of the partition that the session says it has ended. An error: the epochs are used up.
func Acquire(me *Session, agentGroup string, p Partition, lastEnded, incarnation int32) (Verdict, error) {
	if refusal := refuseAcquirer(me); refusal != nil {
		return Verdict{Refusal: p.about(refusal)}, nil
	}
	if p.AgentGroup != agentGroup {
		return p.refuse(refusalv1.Reason_REASON_WRONG_AGENT_GROUP, nil, "topic %s belongs to another agent group than %s", p.Topic, agentGroup), nil
	}
	mine := p.Leader != nil && p.Leader.ID == me.ID
	if mine && p.Epoch > lastEnded {
		return Verdict{Epoch: p.Epoch}, nil
	}
	if !mine && p.held() {
		return p.refuse(refusalv1.Reason_REASON_LEASE_HELD, p.Leader.leader(p.Epoch), "agent %s leads it", p.Leader.AgentID), nil
	}
	if p.Assigned.Present(p.AllowBufferedAcks) && p.Assigned.AgentID != me.AgentID {
		return p.refuse(refusalv1.Reason_REASON_NOT_ASSIGNED, p.Assigned.leader(0), "it is assigned to agent %s", p.Assigned.AgentID), nil
	}
	epoch, err := NextEpoch(p.Epoch, incarnation)
	if err != nil {
		return Verdict{}, fmt.Errorf("%s/%d: %w", p.Topic, p.Number, err)
	}
	return Verdict{Epoch: epoch, New: true, EndBefore: p.endBefore(mine)}, nil
}

func refuseAcquirer(me *Session) *refusalv1.Refusal {
	if refusal := RefuseEnded(me); refusal != nil {
		return refusal
	}
	if me.Draining {
		return &refusalv1.Refusal{Reason: refusalv1.Reason_REASON_AGENT_DRAINING, Message: "this agent is draining and gets no new lease"}
	}
	return nil
}

// held says whether the leader keeps everyone else out: it has not ended, and is not a suspect whom one may pass over. What a suspect
// has acknowledged as buffered would be lost with its tenure, so there one waits for the end of its session.
func (p Partition) held() bool {
	return p.Leader != nil && !p.Leader.Ended && (!p.Leader.Suspect || p.AllowBufferedAcks)
}

func (p Partition) endBefore(mine bool) string {
	switch {
	case p.Leader == nil:
		return ""
	case mine:
		return EndResigned
	case p.Leader.Ended:
		return EndSessionEnded
	default:
		return EndTakenOver
	}
}

func (p Partition) refuse(reason refusalv1.Reason, leader *refusalv1.Leader, format string, args ...any) Verdict {
	refusal := p.about(&refusalv1.Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)})
	refusal.Leader = leader
	return Verdict{Refusal: refusal}
}

// about says which partition the refusal is about.
func (p Partition) about(refusal *refusalv1.Refusal) *refusalv1.Refusal {
	refusal.Topic, refusal.Partition = p.Topic, new(p.Number)
	return refusal
}
