package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/streamhouse/streamhouse/controlplane/internal/judge"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// Beat records that a judge is present, and looks whether the database was restarted: with every tick, so that grants go on also where the
// last one who was awaited has ended.
func (s *Store) Beat(ctx context.Context) (store.Pulse, error) {
	var pulse store.Pulse
	err := s.write(ctx, harmless, func(ctx context.Context, q *db.Queries) error {
		row, err := q.LockPulse(ctx)
		if err != nil {
			return fmt.Errorf("lock pulse: %w", err)
		}
		clock, err := q.ReadClock(ctx)
		if err != nil {
			return fmt.Errorf("read clock: %w", err)
		}
		before := store.Pulse{BeatAt: row.BeatAt, QuietUntil: row.QuietUntil, Now: clock.Now}
		pulse = judge.Beat(before, time.Duration(clock.LongestDurationMs)*time.Millisecond)
		if before.BeatAt.After(before.Now) {
			if _, err := q.ClampHeartbeats(ctx); err != nil {
				return fmt.Errorf("clamp heartbeats: %w", err)
			}
		}
		return q.SetPulse(ctx, pulse.BeatAt, pulse.QuietUntil)
	})
	if err != nil {
		return pulse, err
	}
	_, err = s.attest(ctx)
	return pulse, err
}

// EndSilent ends silent sessions, one transaction for each agent group that seems to have one.
func (s *Store) EndSilent(ctx context.Context) (ended int, err error) {
	defer func() { s.meters.judged(ctx, verdictEnded, ended) }()
	return s.judgeGroups(ctx,
		func(ctx context.Context, q *db.Queries) ([]string, error) { return q.AgentGroupsWithSilence(ctx) },
		func(ctx context.Context, p *place) (int, error) {
			rows, err := p.EndSilentSessions(ctx, string(p.agentGroup))
			for _, row := range rows {
				s.config.Logger.WarnContext(ctx, "session ends by silence", "agent_id", row.AgentID, "session_id", row.SessionID)
			}
			return len(rows), err
		})
}

// SuspectSilent marks silent sessions, likewise.
func (s *Store) SuspectSilent(ctx context.Context, after time.Duration) (suspected int, err error) {
	defer func() { s.meters.judged(ctx, verdictSuspected, suspected) }()
	return s.judgeGroups(ctx,
		func(ctx context.Context, q *db.Queries) ([]string, error) {
			return q.AgentGroupsWithUnsuspected(ctx, after.Seconds())
		},
		func(ctx context.Context, p *place) (int, error) {
			rows, err := p.SuspectSilentSessions(ctx, string(p.agentGroup), after.Seconds())
			for _, row := range rows {
				s.config.Logger.WarnContext(ctx, "session becomes suspect by silence", "agent_id", row.AgentID, "session_id", row.SessionID)
			}
			return len(rows), err
		})
}

// UntilSilent says when silence may have to be judged next.
func (s *Store) UntilSilent(ctx context.Context, after time.Duration) (until time.Duration, err error) {
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		first, err := q.UntilSilent(ctx, float64(after.Milliseconds()))
		until = after
		for _, ms := range first {
			until = time.Duration(ms * float64(time.Millisecond))
		}
		return err
	})
	return until, err
}

// SessionAddress answers where the agent of a session that lives is.
func (s *Store) SessionAddress(ctx context.Context, agentGroup store.AgentGroup, sessionID uuid.UUID) (address string, err error) {
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		session, err := liveSession(ctx, q, agentGroup, sessionID)
		if err == nil {
			address = session.Address
		}
		return err
	})
	return address, err
}

// SuspectRefused marks a session whose agent refuses connections.
func (s *Store) SuspectRefused(ctx context.Context, agentGroup store.AgentGroup, sessionID uuid.UUID) (suspected bool, err error) {
	err = s.inPlace(ctx, harmless, agentGroup, func(ctx context.Context, p *place) error {
		rows, err := p.SuspectRefusedSession(ctx, sessionID, string(agentGroup))
		if suspected = rows == 1; suspected {
			p.sessionsChanged()
		}
		return err
	})
	if suspected && err == nil {
		s.meters.judged(ctx, verdictSuspected, 1)
	}
	return suspected && err == nil, err
}

func (s *Store) judgeGroups(ctx context.Context, find func(context.Context, *db.Queries) ([]string, error),
	judgement func(context.Context, *place) (int, error),
) (total int, err error) {
	var agentGroups []string
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) (err error) {
		agentGroups, err = find(ctx, q)
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, agentGroup := range agentGroups {
		var judged int
		err := s.inPlace(ctx, harmless, store.AgentGroup(agentGroup), func(ctx context.Context, p *place) (err error) {
			if judged, err = judgement(ctx, p); err == nil && judged > 0 {
				p.sessionsChanged()
			}
			return err
		})
		if err != nil {
			return total, err
		}
		total += judged
	}
	return total, nil
}

// UnsettledAgentGroups lists agent groups whose partitions may need another agent.
func (s *Store) UnsettledAgentGroups(ctx context.Context) (agentGroups []store.AgentGroup, err error) {
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		names, err := q.UnsettledAgentGroups(ctx)
		agentGroups = make([]store.AgentGroup, len(names))
		for i, name := range names {
			agentGroups[i] = store.AgentGroup(name)
		}
		return err
	})
	return agentGroups, err
}
