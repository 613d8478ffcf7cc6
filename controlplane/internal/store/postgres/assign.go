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
const orphanPage = 20_000

// presence is which agents of an agent group count as present.
type presence struct {
	// agents are all that live, at their index.
	agents []placement.Agent
	index  map[string]int32
	// candidates of them may be given partitions.
	candidates int
	// present keep theirs; presentOrSuspect those of topics that allow buffered acks.
	present, presentOrSuspect []string
}

// AssignOrphans gives a page of partitions without a present agent to others. Takeovers wait for nothing and nobody; what an agent that drains
// still leads waits while many hand-offs are under way.
func (s *Store) AssignOrphans(ctx context.Context, agentGroup store.AgentGroup) (assigned int, more bool, err error) {
	err = s.inPlace(ctx, harmless, agentGroup, func(ctx context.Context, p *place) error {
		assigned, more, err = assignOrphans(ctx, p, s.config.MaxMoves)
		return err
	})
	return assigned, more, err
}

func assignOrphans(ctx context.Context, p *place, maxMoves int) (assigned int, more bool, err error) {
	who, err := readPresence(ctx, p)
	if err != nil {
		return 0, false, err
	}
	if who.candidates == 0 { // the next registration unsettles the agent group again
		_, err := p.Settle(ctx, string(p.agentGroup))
		return 0, false, err
	}
	orphans, err := p.FindOrphans(ctx, db.FindOrphansParams{
		AgentGroup: string(p.agentGroup), PresentOrSuspect: who.presentOrSuspect, Present: who.present, Page: orphanPage,
	})
	if err != nil {
		return 0, false, fmt.Errorf("find orphans: %w", err)
	}
	more = len(orphans) == orphanPage
	now, err := p.affordable(ctx, orphans, maxMoves)
	if err != nil {
		return 0, false, err
	}
	if more = more || len(now) < len(orphans); !more {
		if _, err := p.Settle(ctx, string(p.agentGroup)); err != nil {
			return 0, false, fmt.Errorf("settle agent group: %w", err)
		}
	}
	return len(now), more, p.rehome(ctx, who, now)
}

// affordable leaves out what would be a hand-off too many. Those that nobody leads in good order come first.
func (p *place) affordable(ctx context.Context, orphans []db.FindOrphansRow, maxMoves int) ([]db.FindOrphansRow, error) {
	if len(orphans) == 0 || !orphans[len(orphans)-1].Led {
		return orphans, nil
	}
	moving, err := p.CountMoving(ctx, string(p.agentGroup))
	if err != nil {
		return nil, fmt.Errorf("count hand-offs: %w", err)
	}
	budget := maxMoves - int(moving)
	for i, row := range orphans {
		if row.Led {
			if budget--; budget < 0 {
				return orphans[:i], nil
			}
		}
	}
	return orphans, nil
}

func readPresence(ctx context.Context, p *place) (presence, error) {
	rows, err := p.LiveSessions(ctx, string(p.agentGroup))
	if err != nil {
		return presence{}, fmt.Errorf("read live sessions: %w", err)
	}
	who := presence{index: map[string]int32{}, present: []string{}, presentOrSuspect: []string{}} // not nil: NULL is no empty list
	for i, row := range rows {
		session := leaseSession(row)
		if session.Present(true) {
			who.presentOrSuspect = append(who.presentOrSuspect, session.AgentID)
		}
		if session.Present(false) {
			who.present = append(who.present, session.AgentID)
			who.candidates++
		}
		who.agents = append(who.agents, planAgent(row))
		who.index[row.AgentID] = int32(i)
	}
	return who, nil
}

// planAgent is a session that lives as the planner sees it.
func planAgent(row db.Session) placement.Agent {
	agent := placement.Agent{ID: row.AgentID, Zone: row.Zone, CapacityBytesPerSecond: row.CapacityBytesPerSecond}
	switch {
	case row.Draining || row.DrainRequested:
		agent.State = placement.Draining
	case row.Unfit:
		agent.State = placement.Unfit
	case row.Suspect:
		agent.State = placement.Suspect
	}
	return agent
}

// at is the agent's index; Nobody: no session of it lives.
func (w presence) at(agentID string) int32 {
	if i, lives := w.index[agentID]; lives {
		return i
	}
	return placement.Nobody
}

// rehome assigns orphans as the planner says.
func (p *place) rehome(ctx context.Context, who presence, orphans []db.FindOrphansRow) error {
	if len(orphans) == 0 {
		return nil
	}
	in, err := p.orphanInput(ctx, who, orphans)
	if err != nil {
		return err
	}
	ids, agents := make([]int64, 0, len(orphans)), make([]string, 0, len(orphans))
	for _, move := range placement.Repair(in).Moves {
		if int(move.Partition) < len(orphans) { // the others have their turn in a later page
			ids, agents = append(ids, orphans[move.Partition].PartitionID), append(agents, in.Agents[move.To].ID)
		}
	}
	return p.assign(ctx, ids, agents)
}

// assign locks and assigns. Requires: what the choice rests on was read under LockAgentGroup.
func (p *place) assign(ctx context.Context, ids []int64, agents []string) error {
	locked, err := p.LockPartitionsByID(ctx, ids)
	if err := verdict("lock partitions", int64(len(locked)), len(ids), err); err != nil {
		return err
	}
	rows, err := p.AssignPartitions(ctx, ids, agents, p.takeEach(len(ids)))
	return verdict("assign partitions", rows, len(ids), err)
}

// orphanInput has the orphans first, then as many nameless partitions of the same topics as agents keep: where a topic's partitions lie
// matters to its orphans, which they are does not. Orphans that are not given count for nothing.
func (p *place) orphanInput(ctx context.Context, who presence, orphans []db.FindOrphansRow) (placement.Input, error) {
	in := placement.Input{Agents: who.agents}
	topics := map[uuid.UUID]int32{}
	var ids []uuid.UUID
	for _, row := range orphans {
		t, known := topics[row.TopicID]
		if !known {
			t = int32(len(ids))
			topics[row.TopicID] = t
			ids = append(ids, row.TopicID)
		}
		in.Partitions = append(in.Partitions, placement.Partition{Topic: t, Number: row.Partition, Agent: who.at(row.AssignedAgentID)})
	}
	if err := p.addTopics(ctx, &in, ids, topics); err != nil {
		return in, err
	}
	loads, err := p.TopicLoads(ctx, string(p.agentGroup))
	if err != nil {
		return in, fmt.Errorf("read loads of topics: %w", err)
	}
	for _, row := range loads {
		agent := who.at(row.AgentID)
		if agent == placement.Nobody {
			continue
		}
		if t, concerned := topics[row.TopicID]; !concerned {
			in.Agents[agent].OtherPartitions += int32(row.Partitions)
		} else if who.keeps(agent, in.Topics[t]) {
			for range row.Partitions {
				in.Partitions = append(in.Partitions, placement.Partition{Topic: t, Number: -1, Agent: agent})
			}
		}
	}
	return in, nil
}

// keeps says whether the agent keeps partitions of the topic.
func (w presence) keeps(agent int32, topic placement.Topic) bool {
	if agent == placement.Nobody {
		return false
	}
	state := w.agents[agent].State
	return state == placement.Eligible || (state == placement.Suspect && topic.AllowBufferedAcks)
}

func (p *place) addTopics(ctx context.Context, in *placement.Input, ids []uuid.UUID, index map[uuid.UUID]int32) error {
	rows, err := p.TopicsByID(ctx, ids)
	if err := verdict("read topics", int64(len(rows)), len(ids), err); err != nil {
		return err
	}
	in.Topics = make([]placement.Topic, len(ids))
	for _, row := range rows {
		in.Topics[index[row.TopicID]] = planTopic(row)
	}
	return nil
}

func planTopic(row db.Topic) placement.Topic {
	return placement.Topic{ID: row.TopicID, Name: row.Name, PreferredZones: row.PreferredZones, AllowBufferedAcks: row.AllowBufferedAcks}
}

// addOthers counts what agents are assigned.
func (p *place) addOthers(ctx context.Context, in *placement.Input, who presence) error {
	all, err := p.AgentLoads(ctx, string(p.agentGroup))
	if err != nil {
		return fmt.Errorf("read loads: %w", err)
	}
	for _, row := range all {
		if i := who.at(row.AgentID); i != placement.Nobody {
			in.Agents[i].OtherPartitions = int32(row.Partitions)
		}
	}
	return nil
}
