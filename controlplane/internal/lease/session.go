package lease

import (
	"github.com/google/uuid"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Session is a session's row, as leases see it.
type Session struct {
	ID      uuid.UUID
	AgentID string
	Address string
	Zone    string
	// Ended, and Superseded by another process under the same agent id.
	Ended, Superseded bool
	Draining          bool
	Unfit             bool
	Suspect           bool
}

// Present says whether partitions may be placed on the session's agent, or stay there. For topics that allow buffered acks a suspect
// still counts: what it has acknowledged may live in its memory alone.
func (s *Session) Present(allowBufferedAcks bool) bool {
	return s != nil && !s.Ended && !s.Draining && !s.Unfit && (!s.Suspect || allowBufferedAcks)
}

// leader names the session's agent, with the epoch of its tenure (0: none).
func (s *Session) leader(epoch int32) *refusalv1.Leader {
	return &refusalv1.Leader{AgentId: s.AgentID, Address: s.Address, Zone: s.Zone, Epoch: epoch}
}

// RefuseEnded is the refusal that a session which has ended gets; nil: it lives.
func RefuseEnded(s *Session) *refusalv1.Refusal {
	switch {
	case s == nil:
		return &refusalv1.Refusal{Reason: refusalv1.Reason_REASON_SESSION_EXPIRED, Message: "this session is not known: register anew"}
	case s.Superseded:
		return &refusalv1.Refusal{
			Reason:  refusalv1.Reason_REASON_SESSION_SUPERSEDED,
			Message: "another process has registered as agent " + s.AgentID + ": this one must exit",
		}
	case s.Ended:
		return &refusalv1.Refusal{Reason: refusalv1.Reason_REASON_SESSION_EXPIRED, Message: "this session has ended: drop its leases and register anew"}
	default:
		return nil
	}
}
