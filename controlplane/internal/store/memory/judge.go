package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// pulse is the judges' sign of life.
type pulse struct{ beatAt, quietUntil time.Time }

// pulseAge is how old the pulse may be before the judges count as absent.
const pulseAge = 3 * time.Second

// absent: the pulse is old, or in the future.
func (p pulse) absent(now time.Time) bool { return now.Sub(p.beatAt) > pulseAge || p.beatAt.After(now) }

// Beat is a judge's sign of life. After an absence of all judges nobody is judged for one session duration.
func (s *Store) Beat(context.Context) (store.Pulse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.pulse.absent(now) {
		s.pulse.quietUntil = now
		for _, n := range s.sessions {
			if n.lives() && s.pulse.quietUntil.Before(now.Add(n.duration)) {
				s.pulse.quietUntil = now.Add(n.duration)
			}
			if n.heardAt.After(now) { // the clock has jumped back: nobody is heard of in the future
				n.heardAt = now
			}
		}
	}
	s.pulse.beatAt = now
	s.attest()
	return store.Pulse{BeatAt: now, QuietUntil: s.pulse.quietUntil, Now: now}, nil
}

// EndSilent ends who was silent for longer than its session's duration.
func (s *Store) EndSilent(context.Context) (int, error) {
	return s.judge(func(n *session, silence time.Duration) bool {
		if silence <= n.duration {
			return false
		}
		s.end(n, expired)
		return true
	}), nil
}

// SuspectSilent suspects who was silent for longer than after.
func (s *Store) SuspectSilent(_ context.Context, after time.Duration) (int, error) {
	return s.judge(func(n *session, silence time.Duration) bool {
		if silence <= after || n.suspect {
			return false
		}
		n.suspect = true
		return true
	}), nil
}

// UntilSilent says when the first one will have been silent for so long.
func (s *Store) UntilSilent(_ context.Context, after time.Duration) (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, now := after, time.Now()
	for _, n := range s.sessions {
		if n.lives() && !n.suspect {
			until = min(until, after-now.Sub(n.heardAt))
		}
	}
	return until, nil
}

// SessionAddress answers where the agent of a session that lives is.
func (s *Store) SessionAddress(_ context.Context, name store.AgentGroup, id uuid.UUID) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.known(name, id)
	if refusal := refuseEnded(n); refusal != nil {
		return "", &store.Refused{Refusal: refusal}
	}
	return n.address, nil
}

// SuspectRefused suspects whose address refuses connections, whatever the pulse says.
func (s *Store) SuspectRefused(_ context.Context, name store.AgentGroup, id uuid.UUID) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.known(name, id)
	if n == nil || !n.lives() || n.suspect {
		return false, nil
	}
	n.suspect = true
	s.sessionsChanged(n.group)
	return true, nil
}

// judge passes a judgement on every session that lives, unless the judges were absent; it answers how many were condemned.
func (s *Store) judge(judgement func(n *session, silence time.Duration) bool) (condemned int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.pulse.absent(now) || now.Before(s.pulse.quietUntil) {
		return 0
	}
	for _, n := range s.sessions {
		if n.lives() && judgement(n, now.Sub(n.heardAt)) {
			s.sessionsChanged(n.group)
			condemned++
		}
	}
	return condemned
}

// UnsettledAgentGroups lists agent groups whose partitions may need another agent, by name.
func (s *Store) UnsettledAgentGroups(context.Context) (names []store.AgentGroup, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, g := range s.groups {
		if g.unsettled {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// partitions of live topics of the agent group, by topic id and number.
func (s *Store) partitions(g *group) (all []*partition) {
	for _, t := range s.topics {
		if t.group == g && !t.deleted {
			all = append(all, t.partitions...)
		}
	}
	slices.SortFunc(all, func(a, b *partition) int {
		return cmp.Or(slices.Compare(a.topic.id[:], b.topic.id[:]), cmp.Compare(a.number, b.number))
	})
	return all
}

// present says whether partitions of the topic may be placed on this agent, or stay there. Where buffered acks are allowed a suspect
// counts: what it acknowledged may be in its memory alone.
func (n *session) present(t *topic) bool {
	return n.lives() && !n.leaving() && !n.unfit && (!n.suspect || t.buffered)
}

func (s *Store) assigneeIsPresent(p *partition) bool {
	n := s.live(p.assigned)
	return n != nil && n.present(p.topic)
}

// PurgeDeleted removes what deleted topics left.
func (s *Store) PurgeDeleted(context.Context) (purged int, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuseUnserved() != nil {
		return 0, false, nil
	}
	for _, t := range s.topics {
		if t.deleted {
			purged += len(t.partitions)
			for _, p := range t.partitions {
				for _, segment := range p.segments {
					s.unrefer(segment.key)
				}
			}
			t.partitions = nil
		}
	}
	return purged, false, nil
}
