package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// place is a transaction that may change the placement of one agent group. It holds the lock of the agent group's row, so that whatever
// it publishes commits before any later revision is given out: commit order is revision order.
type place struct {
	*db.Queries
	agentGroup store.AgentGroup
	// before is the revision found, revision the last one given out by this transaction.
	before, revision int64
	// unsettled: partitions may need another agent. reshaped: placement may have an answer to what changed.
	unsettled, reshaped bool
	// granted counts new tenures by what ended the one before.
	granted map[string]int
}

// take gives out a revision.
func (p *place) take() int64 {
	p.revision++
	return p.revision
}

// takeEach gives out n revisions.
func (p *place) takeEach(n int) []int64 {
	revisions := make([]int64, n)
	for i := range revisions {
		revisions[i] = p.take()
	}
	return revisions
}

// sessionsChanged publishes that the list of agents is another one, and that partitions may need another agent.
func (p *place) sessionsChanged() {
	p.take()
	p.unsettled, p.reshaped = true, true
}

// inPlace runs fn under the agent group's lock, publishes the revisions that it took, and tells this process's hub, judge and
// controller.
func (s *Store) inPlace(ctx context.Context, again twice, agentGroup store.AgentGroup, fn func(ctx context.Context, p *place) error) error {
	var changed, unsettled, reshaped bool
	var granted map[string]int
	err := s.write(ctx, again, func(ctx context.Context, q *db.Queries) error {
		p, err := enterPlace(ctx, q, agentGroup)
		if err != nil {
			return err
		}
		if err := fn(ctx, p); err != nil {
			return err
		}
		changed, unsettled, reshaped = p.revision != p.before, p.unsettled, p.reshaped
		granted = p.granted
		return p.publish(ctx)
	})
	if err != nil {
		return err
	}
	s.meters.tenuresBegan(ctx, granted)
	if changed {
		signal(s.placementChanged)
	}
	if unsettled {
		signal(s.unsettled)
	}
	if reshaped {
		signal(s.reshaped)
	}
	return nil
}

func enterPlace(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup) (*place, error) {
	revision, err := q.LockAgentGroup(ctx, string(agentGroup))
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, store.Refuse(refusalv1.Reason_REASON_UNKNOWN_AGENT_GROUP, "there is no agent group %q", agentGroup)
	}
	if err != nil {
		return nil, fmt.Errorf("lock agent group: %w", err)
	}
	return &place{Queries: q, agentGroup: agentGroup, before: revision, revision: revision}, nil
}

func (p *place) publish(ctx context.Context) error {
	if p.revision == p.before && !p.unsettled {
		return nil
	}
	rows, err := p.AdvanceRevision(ctx, db.AdvanceRevisionParams{
		Revision: p.revision, Unsettled: p.unsettled, Reshaped: p.reshaped, AgentGroup: string(p.agentGroup),
	})
	return verdict("advance revision", rows, 1, err)
}

// verdict turns a row count into an error: a guarded statement that changed fewer rows than were found under their locks means that the
// catalog is not what this program takes it for; the transaction must not commit.
func verdict(what string, rows int64, want int, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if rows != int64(want) {
		return fmt.Errorf("%s: %d rows changed instead of %d", what, rows, want)
	}
	return nil
}
