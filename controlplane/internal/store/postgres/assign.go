package postgres

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/streamhouse/streamhouse/controlplane/internal/placement"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// orphanPage is how many partitions are assigned in one transaction: it bounds how long the agent group's row and theirs stay locked.
const orphanPage = 5000

// presence is which agents of an agent group count as present.
type presence struct {
	// candidates may be given partitions.
	candidates []placement.Agent
	// present keep theirs; presentOrSuspect those of topics that allow buffered acks.
	present, presentOrSuspect []string
}

// AssignOrphans gives a page of partitions without a present agent to the agents that have the fewest.
func (s *Store) AssignOrphans(ctx context.Context, agentGroup store.AgentGroup) (assigned int, more bool, err error) {
	err = s.inPlace(ctx, harmless, agentGroup, func(ctx context.Context, p *place) error {
		assigned, more, err = assignOrphans(ctx, p)
		return err
	})
	return assigned, more, err
}

func assignOrphans(ctx context.Context, p *place) (assigned int, more bool, err error) {
	who, err := readPresence(ctx, p)
	if err != nil {
		return 0, false, err
	}
	if len(who.candidates) == 0 { // the next registration unsettles the agent group again
		_, err := p.Settle(ctx, string(p.agentGroup))
		return 0, false, err
	}
	orphans, err := p.LockOrphans(ctx, db.LockOrphansParams{
		AgentGroup: string(p.agentGroup), PresentOrSuspect: who.presentOrSuspect, Present: who.present, Page: orphanPage,
	})
	if err != nil {
		return 0, false, fmt.Errorf("lock orphans: %w", err)
	}
	more = len(orphans) == orphanPage
	if !more {
		if _, err := p.Settle(ctx, string(p.agentGroup)); err != nil {
			return 0, false, fmt.Errorf("settle agent group: %w", err)
		}
	}
	return len(orphans), more, p.assign(ctx, who, orphans)
}

func readPresence(ctx context.Context, p *place) (presence, error) {
	rows, err := p.LiveSessions(ctx, string(p.agentGroup))
	if err != nil {
		return presence{}, fmt.Errorf("read live sessions: %w", err)
	}
	who := presence{present: []string{}, presentOrSuspect: []string{}} // not nil: NULL is no empty list
	for _, row := range rows {
		session := leaseSession(row)
		if session.Present(true) {
			who.presentOrSuspect = append(who.presentOrSuspect, session.AgentID)
		}
		if session.Present(false) {
			who.present = append(who.present, session.AgentID)
			who.candidates = append(who.candidates, placement.Agent{ID: session.AgentID, Zone: session.Zone})
		}
	}
	return who, nil
}

func (p *place) assign(ctx context.Context, who presence, orphans []db.LockOrphansRow) error {
	n := len(orphans)
	if n == 0 {
		return nil
	}
	ids, wanted := make([]int64, n), make([]placement.Wanted, n)
	for i, row := range orphans {
		ids[i], wanted[i] = row.PartitionID, placement.Wanted{Topic: row.TopicID, Number: row.Partition}
	}
	loads, err := p.loads(ctx, wanted)
	if err != nil {
		return err
	}
	rows, err := p.AssignPartitions(ctx, ids, placement.Choose(who.candidates, loads, wanted), p.takeEach(n))
	return verdict("assign partitions", rows, n, err)
}

// loads are the assignments that there are. Orphans count for agents that are no candidates, hence for nothing.
func (p *place) loads(ctx context.Context, wanted []placement.Wanted) (placement.Loads, error) {
	loads := placement.Loads{All: map[string]int{}, Topics: map[uuid.UUID]map[string]int{}}
	all, err := p.AgentLoads(ctx, string(p.agentGroup))
	if err != nil {
		return loads, fmt.Errorf("read loads: %w", err)
	}
	for _, row := range all {
		loads.All[row.AgentID] = int(row.Partitions)
	}
	var topics []uuid.UUID
	for _, partition := range wanted {
		if _, seen := loads.Topics[partition.Topic]; !seen {
			loads.Topics[partition.Topic] = map[string]int{}
			topics = append(topics, partition.Topic)
		}
	}
	perTopic, err := p.TopicLoads(ctx, topics)
	if err != nil {
		return loads, fmt.Errorf("read loads of topics: %w", err)
	}
	for _, row := range perTopic {
		loads.Topics[row.TopicID][row.AgentID] = int(row.Partitions)
	}
	return loads, nil
}
