package produce

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

const (
	// lookAgain bounds how long a request waits for a change before it looks again.
	lookAgain = time.Second
	// successorPatience is how long a request that must not be forwarded waits at the agent that placement has chosen, before it is sent to the one
	// that still leads.
	successorPatience = 3 * time.Second
)

// place brings the entries of one partition, in order, to their outcomes: here if this agent leads, one hop further if another does; while
// nobody does it waits, within the request's deadline. Only what surely was not written is tried again.
func (s *Service) place(ctx context.Context, p partition.ID, entries []*entry, h hop) {
	var gone absence
	began := time.Now()
	for {
		terms, tenures := s.Desk.Changed()
		routes := s.Table.Changed()
		s.handIn(ctx, p, entries)
		if entries = open(entries); len(entries) == 0 {
			return
		}
		if h.successor = time.Since(began) < successorPatience; s.elsewhere(ctx, p, entries, h, &gone) {
			if entries = open(entries); len(entries) == 0 {
				return
			}
		}
		if !s.await(ctx, terms, tenures, routes) {
			s.noLeader(ctx, p, entries)
			return
		}
	}
}

func open(entries []*entry) []*entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e *entry) bool { return e.outcome != nil })
}

// handIn appends what can be appended here and waits for its fate.
func (s *Service) handIn(ctx context.Context, p partition.ID, entries []*entry) {
	for _, e := range entries {
		if e.pending != nil { // taken already
			continue
		}
		if e.appended && !e.batch.Plain { // an object that failed may still be on its way with the old bytes
			e.batch.Bytes = bytes.Clone(e.batch.Bytes)
		}
		if leads := s.admit(ctx, p, e); !leads {
			break
		}
	}
	for _, e := range entries {
		if e.pending != nil {
			s.fate(ctx, e)
		}
	}
}

// fate waits for what becomes of an entry that was taken.
func (s *Service) fate(ctx context.Context, e *entry) {
	select {
	case <-e.pending.Done():
		s.settle(e, e.pending.Outcome())
	case <-ctx.Done():
		e.outcome = s.unanswered(e)
	}
	e.pending = nil
}

// settle turns a batch's fate into its entry's outcome; none if it may be tried elsewhere.
func (s *Service) settle(e *entry, o ingest.Outcome) {
	switch {
	case o.Stored():
		e.outcome = s.stored(e, o.BaseOffset, e.repeat)
	case o.Written == refusalv1.Written_WRITTEN_SURELY_NOT && o.Reason == refusalv1.Reason_REASON_NOT_LEADER:
	case o.Written == refusalv1.Written_WRITTEN_SURELY_NOT:
		e.outcome = s.refused(e, fateRefusal(o.Reason))
	default:
		e.outcome = s.unanswered(e)
	}
}

// absence is a leader that could not be reached, and when. It is not tried again at every change while all wait for its successor.
type absence struct {
	leader route.Leader
	at     time.Time
}

func (a *absence) of(leader route.Leader) bool {
	return a.leader == leader && time.Since(a.at) < lookAgain
}

// elsewhere sees to entries that this agent cannot take: true if it did something about them.
func (s *Service) elsewhere(ctx context.Context, p partition.ID, entries []*entry, h hop, gone *absence) bool {
	if s.Table.Deleted(p.Topic) {
		for _, e := range entries {
			e.outcome = s.refused(e, fateRefusal(refusalv1.Reason_REASON_UNKNOWN_TOPIC))
		}
		return true
	}
	leader := s.Table.Leader(p)
	if leader.ID == s.Self || leader.ID == "" {
		s.Desk.Demand(p)
		return false
	}
	if leader.Address == "" || gone.of(leader) {
		return false
	}
	if h.first && (h.forward || s.Desk.Lately(p)) {
		if reached := s.forward(ctx, leader, entries); !reached {
			*gone = absence{leader, time.Now()}
		}
		return true
	}
	if h.first && h.successor && s.Table.Assignee(p).ID == s.Self { // it is on its way here: the client was told so early
		return false
	}
	for _, e := range entries {
		e.outcome = s.notLeader(e, leader)
	}
	return true
}

// Granted is a tenure that this agent is said to have been granted.
type Granted struct {
	Partition partition.ID
	Epoch     partition.Epoch
}

// Expect takes word that the catalog has granted partitions to this agent: it asks for the leases at once, and whoever wants to write there waits
// for them here.
func (s *Service) Expect(granted ...Granted) {
	words := make([]route.Heard, 0, len(granted))
	for _, g := range granted {
		if led, leads := s.Desk.Leads(g.Partition); leads && led >= g.Epoch {
			continue
		}
		if s.Table.Row(g.Partition).Epoch < g.Epoch && s.Desk.Expect(g.Partition, g.Epoch) {
			words = append(words, route.Heard{Partition: g.Partition, Leader: route.Leader{Agent: s.Me(), Epoch: g.Epoch}})
		}
	}
	s.Table.Hear(words...)
}

// await waits until something has changed; false: the deadline has passed, or this agent stops.
func (s *Service) await(ctx context.Context, changes ...<-chan struct{}) bool {
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	select {
	case <-changes[0]:
	case <-changes[1]:
	case <-changes[2]:
	case <-timer.C:
	case <-s.stopping:
		return false
	case <-ctx.Done():
		return false
	}
	return true
}
