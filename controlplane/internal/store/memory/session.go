package memory

import (
	"cmp"
	"context"
	"time"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// Why a session ended.
const (
	expired      = "expired"
	superseded   = "superseded"
	deregistered = "deregistered"
	adopted      = "adopted"
)

// session is an agent's liveness.
type session struct {
	id                          uuid.UUID
	agentID                     string
	group                       *group
	zone, address, version      string
	duration                    time.Duration
	startedAt, heardAt, endedAt time.Time
	draining, unfit, suspect    bool
	drain                       bool // an operator wants it drained
	registration                string
	capacity                    int64
	report                      *controlplanev1.AgentReport // nil: none yet
	reportedAt                  time.Time
	endReason                   string // empty: it lives
	settled                     int64  // objects with a counter below it will never be committed again
	evidenceFor                 string // life of the catalog for which all evidence was shown; empty: none ever
}

func (n *session) lives() bool { return n.endReason == "" }

// leaving: it wants to, or an operator wants it to.
func (n *session) leaving() bool { return n.draining || n.drain }

// end: death is a fact, written once.
func (s *Store) end(n *session, reason string) {
	n.endedAt, n.endReason = time.Now(), reason
}

// live is the session of this agent that lives; nil: none does.
func (s *Store) live(agentID string) *session {
	for _, n := range s.sessions {
		if n.agentID == agentID && n.lives() {
			return n
		}
	}
	return nil
}

// known is the session, if it is one of this agent group (P7); nil: it is not known to the caller.
func (s *Store) known(name store.AgentGroup, id uuid.UUID) *session {
	if n := s.sessions[id]; n != nil && n.group.name == name {
		return n
	}
	return nil
}

// Register starts a session and supersedes the one that lives.
func (s *Store) Register(_ context.Context, name store.AgentGroup, request *controlplanev1.RegisterRequest) (*controlplanev1.RegisterResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if store.AgentGroup(request.GetAgentGroup()) != name {
		return nil, store.Refuse(refusalv1.Reason_REASON_WRONG_AGENT_GROUP, "the key is for another agent group")
	}
	g, err := s.group(name)
	if err != nil {
		return nil, err
	}
	if before := s.registered(request.GetRegistrationId()); before != nil {
		if before.agentID != request.GetAgentId() || before.group != g {
			return nil, invalid("registration_id", "was used by another agent")
		}
		return s.registration(before), nil
	}
	if owner, seen := s.agents[request.GetAgentId()]; seen && owner != name {
		return nil, store.Refuse(refusalv1.Reason_REASON_WRONG_AGENT_GROUP, "the agent id is taken in another agent group")
	}
	s.agents[request.GetAgentId()] = name
	if before := s.live(request.GetAgentId()); before != nil {
		s.end(before, superseded)
	}
	n := &session{
		id: s.config.NewID(), agentID: request.GetAgentId(), group: g, zone: request.GetZone(), address: request.GetAddress(),
		version: request.GetVersion(), duration: s.config.SessionDuration, startedAt: time.Now(), heardAt: time.Now(),
		registration: request.GetRegistrationId(), capacity: cmp.Or(request.GetCapacityBytesPerSecond(), 100<<20),
	}
	s.sessions[n.id] = n
	s.sessionsChanged(g)
	return s.registration(n), nil
}

// registered is the session that this registration has begun; nil: none.
func (s *Store) registered(registration string) *session {
	for _, n := range s.sessions {
		if registration != "" && n.registration == registration {
			return n
		}
	}
	return nil
}

func (s *Store) registration(n *session) *controlplanev1.RegisterResponse {
	return &controlplanev1.RegisterResponse{
		SessionId: n.id.String(), SessionDurationMs: n.duration.Milliseconds(), HeartbeatIntervalMs: s.config.HeartbeatInterval.Milliseconds(),
		Incarnation: s.trust.incarnation,
	}
}

// Heartbeat renews a session that has not ended; it reads no clock but to write it down.
func (s *Store) Heartbeat(_ context.Context, name store.AgentGroup, request *controlplanev1.HeartbeatRequest) (*controlplanev1.HeartbeatResponse, error) {
	id, err := parseSession(request.GetSessionId())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.known(name, id)
	s.attend(name, n, request)
	if _, err := s.group(name); err != nil {
		return nil, err
	}
	if refusal := refuseEnded(n); refusal != nil {
		return nil, &store.Refused{Refusal: refusal}
	}
	n.heardAt = time.Now()
	n.settled = max(n.settled, request.GetSettledObjectCounter())
	if request.GetReport() != nil {
		n.report, n.reportedAt = request.GetReport(), n.heardAt
	}
	before := *n
	n.suspect = false
	n.draining = n.draining || request.GetDraining() // never goes back
	n.unfit = request.GetUnfit()
	if *n != before {
		s.sessionsChanged(n.group)
	}
	return &controlplanev1.HeartbeatResponse{
		SessionDurationMs: n.duration.Milliseconds(), Placement: s.placement(n.group, request.GetRevision(), store.PlacementPage),
		CatalogStart: s.trust.life, CatalogState: s.trust.state(),
		Drain: n.drain,
	}, nil
}

// Deregister ends a session that lives.
func (s *Store) Deregister(_ context.Context, name store.AgentGroup, request *controlplanev1.DeregisterRequest) (*controlplanev1.DeregisterResponse, error) {
	id, err := parseSession(request.GetSessionId())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.group(name); err != nil {
		return nil, err
	}
	if n := s.known(name, id); n != nil && n.lives() {
		s.end(n, deregistered)
		s.sessionsChanged(n.group)
	}
	return &controlplanev1.DeregisterResponse{}, nil
}

// CheckSession refuses a session that does not live.
func (s *Store) CheckSession(_ context.Context, name store.AgentGroup, id uuid.UUID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if refusal := refuseEnded(s.known(name, id)); refusal != nil {
		return &store.Refused{Refusal: refusal}
	}
	return nil
}

func refuseEnded(n *session) *refusalv1.Refusal {
	switch {
	case n == nil:
		return &refusalv1.Refusal{Reason: refusalv1.Reason_REASON_SESSION_EXPIRED, Message: "the session is not known"}
	case n.endReason == superseded:
		return &refusalv1.Refusal{Reason: refusalv1.Reason_REASON_SESSION_SUPERSEDED, Message: "another process has this agent id"}
	case !n.lives():
		return &refusalv1.Refusal{Reason: refusalv1.Reason_REASON_SESSION_EXPIRED, Message: "the session has ended"}
	default:
		return nil
	}
}

func parseSession(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, invalid("session_id", "must be a UUID")
	}
	return id, nil
}
