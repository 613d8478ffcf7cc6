package fetch

import (
	"math/rand/v2"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// leavingWait is the longest wait of a fetch at an agent that is leaving: it shall look for another one, but not ask in a loop.
const leavingWait = 500 * time.Millisecond

func (s *Service) isLeaving() bool {
	select {
	case <-s.leaving:
		return true
	default:
		return false
	}
}

// moved sends a stream's reader to another agent.
func (s *Service) moved() error {
	r := refusal.New(refusalv1.Reason_REASON_MOVED, "this agent is leaving: resume at another one, from the next offset")
	if a, ok := s.elsewhere(); ok {
		r.Leader = &refusalv1.Leader{AgentId: a.ID, Address: a.Address, Zone: a.Zone}
	}
	return refusal.Error(r)
}

// elsewhere is an agent to read at instead: of this zone if there is one.
func (s *Service) elsewhere() (route.Agent, bool) {
	var near, far []route.Agent
	for _, a := range s.routes.Agents() {
		switch {
		case a.ID == s.config.Self || a.Draining || a.Address == "":
		case a.Zone == s.config.Zone:
			near = append(near, a)
		default:
			far = append(far, a)
		}
	}
	if len(near) == 0 {
		near = far
	}
	if len(near) == 0 {
		return route.Agent{}, false
	}
	return near[rand.N(len(near))], true // another one for each, to spread them
}
