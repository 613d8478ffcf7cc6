package lease

import (
	"fmt"

	"github.com/google/uuid"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Handover is the outcome of a release.
type Handover struct {
	// Released: the tenure was the session's, and ends now.
	Released bool
	// Successor gets the partition in epoch Epoch; nil: nobody does.
	Successor *Session
	Epoch     int32
}

// Release decides section 5, rule 2: an epoch that is not the session's current one is a no-op; else the tenure ends and the assigned
// agent gets the partition at once, if it is present and another. An error: the epochs are used up.
func Release(session uuid.UUID, agentGroup string, p Partition, epoch, incarnation int32) (Handover, error) {
	if p.AgentGroup != agentGroup || p.Leader == nil || p.Leader.ID != session || p.Epoch != epoch {
		return Handover{}, nil
	}
	if !p.Assigned.Present(false) || p.Assigned.AgentID == p.Leader.AgentID {
		return Handover{Released: true}, nil
	}
	next, err := NextEpoch(p.Epoch, incarnation)
	if err != nil {
		return Handover{}, fmt.Errorf("%s/%d: %w", p.Topic, p.Number, err)
	}
	return Handover{Released: true, Successor: p.Assigned, Epoch: next}, nil
}

// LeaderNow names who leads, for people and routes; nil: nobody who lives.
func (p Partition) LeaderNow() *refusalv1.Leader {
	if p.Leader == nil || p.Leader.Ended {
		return nil
	}
	return p.Leader.leader(p.Epoch)
}

// LeaderAfter names who leads after the handover.
func (h Handover) LeaderAfter() *refusalv1.Leader {
	if h.Successor == nil {
		return nil
	}
	return h.Successor.leader(h.Epoch)
}
