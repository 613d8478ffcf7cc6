package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/lease"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// superseded is the end_reason that means that another process took over the agent id.
const superseded = "superseded"

// defaultCapacity is the weight of an agent that names none: 100 MiB/s.
const defaultCapacity = 100 << 20

// Register starts a session. Run twice, the second run finds the session of the first by its registration id; without one it supersedes
// it, of which nobody has heard.
func (s *Store) Register(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.RegisterRequest) (
	*controlplanev1.RegisterResponse, error,
) {
	if store.AgentGroup(request.GetAgentGroup()) != agentGroup {
		return nil, store.Refuse(refusalv1.Reason_REASON_WRONG_AGENT_GROUP, "this key is for agents of another agent group than %q", request.GetAgentGroup())
	}
	response := &controlplanev1.RegisterResponse{
		SessionDurationMs: s.config.SessionDuration.Milliseconds(), HeartbeatIntervalMs: s.config.HeartbeatInterval.Milliseconds(),
	}
	registration, err := parseRegistration(request.GetRegistrationId())
	if err != nil {
		return nil, err
	}
	err = s.inPlace(ctx, harmless, agentGroup, func(ctx context.Context, p *place) error {
		state, err := p.CatalogState(ctx)
		if err != nil {
			return fmt.Errorf("read catalog state: %w", err)
		}
		response.Incarnation = int32(state.Incarnation)
		before, err := findRegistration(ctx, p, registration, request)
		if err != nil || before != uuid.Nil {
			response.SessionId = before.String()
			return err
		}
		session := uuid.New()
		response.SessionId = session.String()
		return s.register(ctx, p, session, registration, request)
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// findRegistration answers the session that this very registration has begun, or none. What has become of it is no matter: a repeat that
// comes late must not end the session that its agent has begun meanwhile.
func findRegistration(ctx context.Context, p *place, registration *uuid.UUID, request *controlplanev1.RegisterRequest) (uuid.UUID, error) {
	if registration == nil {
		return uuid.Nil, nil
	}
	rows, err := p.FindRegistration(ctx, *registration)
	if err != nil {
		return uuid.Nil, fmt.Errorf("find registration: %w", err)
	}
	if len(rows) == 0 {
		return uuid.Nil, nil
	}
	if rows[0].AgentID != request.GetAgentId() || rows[0].AgentGroup != string(p.agentGroup) {
		return uuid.Nil, refuseField("registration_id", "must be a new random UUID: another agent has used it")
	}
	return rows[0].SessionID, nil
}

func (s *Store) register(ctx context.Context, p *place, session uuid.UUID, registration *uuid.UUID, request *controlplanev1.RegisterRequest) error {
	if err := claimAgent(ctx, p, request.GetAgentId()); err != nil {
		return err
	}
	if _, err := p.SupersedeSession(ctx, request.GetAgentId()); err != nil {
		return fmt.Errorf("supersede session: %w", err)
	}
	p.sessionsChanged()
	err := p.InsertSession(ctx, db.InsertSessionParams{
		SessionID: session, AgentID: request.GetAgentId(), AgentGroup: string(p.agentGroup), Zone: request.GetZone(),
		Address: request.GetAddress(), Version: request.GetVersion(), DurationMs: s.config.SessionDuration.Milliseconds(),
		CapacityBytesPerSecond: cmp.Or(request.GetCapacityBytesPerSecond(), defaultCapacity), RegistrationID: registration,
	})
	if violates(err, "sessions_registration_id_key") { // another agent group's agent was quicker
		return refuseField("registration_id", "must be a new random UUID: another agent has used it")
	}
	if err != nil {
		return fmt.Errorf("insert session: %w", err)
	}
	return nil
}

// claimAgent makes the agent id known, or refuses it: an agent id never changes its agent group (P7).
func claimAgent(ctx context.Context, p *place, agentID string) error {
	rows, err := p.InsertAgent(ctx, agentID, string(p.agentGroup))
	if err != nil {
		return fmt.Errorf("insert agent: %w", err)
	}
	if rows == 1 {
		return nil
	}
	owner, err := p.GetAgent(ctx, agentID)
	if err != nil {
		return fmt.Errorf("get agent: %w", err)
	}
	if store.AgentGroup(owner) != p.agentGroup {
		return store.Refuse(refusalv1.Reason_REASON_WRONG_AGENT_GROUP, "agent id %q is taken in another agent group: choose another id", agentID)
	}
	return nil
}

// Heartbeat looks at what the agent was told before and renews the session, in one round trip with one small update, except where it changes what
// others should know, or the placement is another than the agent knows.
func (s *Store) Heartbeat(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.HeartbeatRequest) (
	*controlplanev1.HeartbeatResponse, error,
) {
	session, err := parseSession(request.GetSessionId())
	if err != nil {
		return nil, err
	}
	b, err := s.beat(ctx, agentGroup, session, request)
	if err != nil {
		return nil, err
	}
	life, state, err := s.attend(ctx, agentGroup, session, request, b)
	if err != nil {
		return nil, err
	}
	drain, err := s.renewed(ctx, agentGroup, session, request, b)
	if err != nil {
		return nil, err
	}
	s.saveReport(ctx, agentGroup, session, request.GetReport())
	placement, err := s.placementAt(ctx, agentGroup, request.GetRevision(), b)
	if err != nil {
		return nil, err
	}
	return &controlplanev1.HeartbeatResponse{
		SessionDurationMs: s.config.SessionDuration.Milliseconds(), Placement: placement, CatalogStart: life, CatalogState: state,
		Drain: drain,
	}, nil
}

func renewal(agentGroup store.AgentGroup, session uuid.UUID, request *controlplanev1.HeartbeatRequest) db.RenewSessionParams {
	return db.RenewSessionParams{
		SessionID: session, AgentGroup: string(agentGroup), Draining: request.GetDraining(), Unfit: request.GetUnfit(),
		SettledObjectCounter: request.GetSettledObjectCounter(),
	}
}

// renewed renews the session where the beat could not, and says whether an operator wants it drained.
func (s *Store) renewed(ctx context.Context, agentGroup store.AgentGroup, session uuid.UUID, request *controlplanev1.HeartbeatRequest, b *beat) (
	drain bool, err error,
) {
	if len(b.renewed) == 1 {
		return b.renewed[0], nil
	}
	err = s.inPlace(ctx, harmless, agentGroup, func(ctx context.Context, p *place) error {
		rows, err := p.RenewSessionAndState(ctx, db.RenewSessionAndStateParams{
			SessionID: session, AgentGroup: string(agentGroup), Draining: request.GetDraining(), Unfit: request.GetUnfit(),
			SettledObjectCounter: request.GetSettledObjectCounter(),
		})
		if err != nil {
			return fmt.Errorf("renew session: %w", err)
		}
		if len(rows) == 0 {
			return refuseUnlessLive(ctx, p.Queries, agentGroup, session)
		}
		drain = rows[0]
		p.sessionsChanged()
		return nil
	})
	return drain, err
}

// Deregister ends the session; the leases that it still holds are free by that.
func (s *Store) Deregister(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.DeregisterRequest) (
	*controlplanev1.DeregisterResponse, error,
) {
	session, err := parseSession(request.GetSessionId())
	if err != nil {
		return nil, err
	}
	err = s.inPlace(ctx, harmless, agentGroup, func(ctx context.Context, p *place) error {
		rows, err := p.DeregisterSession(ctx, session, string(agentGroup))
		if err != nil {
			return fmt.Errorf("deregister session: %w", err)
		}
		if rows == 1 {
			p.sessionsChanged()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.DeregisterResponse{}, nil
}

// CheckSession refuses a session that does not live.
func (s *Store) CheckSession(ctx context.Context, agentGroup store.AgentGroup, sessionID uuid.UUID) error {
	return s.read(ctx, func(ctx context.Context, q *db.Queries) error { return refuseUnlessLive(ctx, q, agentGroup, sessionID) })
}

func refuseUnlessLive(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup, sessionID uuid.UUID) error {
	_, err := liveSession(ctx, q, agentGroup, sessionID)
	return err
}

// liveSession reads a session that lives; else its refusal.
func liveSession(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup, sessionID uuid.UUID) (*lease.Session, error) {
	row, err := q.GetSession(ctx, sessionID, string(agentGroup))
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("get session: %w", err)
	}
	var session *lease.Session
	if err == nil {
		session = leaseSession(row)
	}
	if refusal := lease.RefuseEnded(session); refusal != nil {
		return nil, &store.Refused{Refusal: refusal}
	}
	return session, nil
}

func leaseSession(row db.Session) *lease.Session {
	return &lease.Session{
		ID: row.SessionID, AgentID: row.AgentID, Address: row.Address, Zone: row.Zone,
		Ended: row.EndedAt != nil, Superseded: row.EndReason != nil && *row.EndReason == superseded,
		Draining: row.Draining || row.DrainRequested, Unfit: row.Unfit, Suspect: row.Suspect,
	}
}

func parseSession(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, refuseField("session_id", "must be a UUID")
	}
	return id, nil
}

// parseRegistration answers nil for an agent that gives none.
func parseRegistration(text string) (*uuid.UUID, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // as the column has it
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return nil, refuseField("registration_id", "must be a UUID")
	}
	return &id, nil
}

// refuseField refuses with INVALID for what is wrong with one field.
func refuseField(field, problem string) *store.Refused {
	refused := store.Refuse(refusalv1.Reason_REASON_INVALID, "%s %s", field, problem)
	refused.Refusal.Field = field
	return refused
}
