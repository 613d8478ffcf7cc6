package postgres

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/streamhouse/streamhouse/controlplane/internal/commit"
	"github.com/streamhouse/streamhouse/controlplane/internal/lease"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// floor is what a decision about leases stands on: partitions whose locks are held, and the sessions that matter, read afterwards.
type floor struct {
	incarnation int32
	// verified: tenures may begin.
	verified bool
	rows     map[commit.PartitionKey]db.LockPartitionsRow
	// sessions by id: those asked for and all leaders, ended or not.
	sessions map[uuid.UUID]*lease.Session
	// agents by id: the sessions that live.
	agents map[string]*lease.Session
	// topics that exist, of the partitions that were not found.
	topics map[uuid.UUID]store.AgentGroup
}

// lockFloor locks the sessions, then the partitions, and reads in later statements what decides about them.
func (p *place) lockFloor(ctx context.Context, sessions []uuid.UUID, asked []commit.PartitionKey) (*floor, error) {
	if _, err := p.LockSessions(ctx, sessions); err != nil {
		return nil, fmt.Errorf("lock sessions: %w", err)
	}
	rows, err := lockPartitions(ctx, p.Queries, asked)
	if err != nil {
		return nil, err
	}
	f := &floor{rows: rows}
	if err := f.readSessions(ctx, p, sessions); err != nil {
		return nil, err
	}
	if f.topics, err = liveTopics(ctx, p.Queries, f.missing(asked)); err != nil {
		return nil, err
	}
	state, err := p.CatalogState(ctx)
	if err != nil {
		return nil, fmt.Errorf("read catalog state: %w", err)
	}
	f.incarnation, f.verified = int32(state.Incarnation), state.Verified
	return f, haltedRefusal(state)
}

func (f *floor) readSessions(ctx context.Context, p *place, sessions []uuid.UUID) error {
	leaders := map[uuid.UUID]bool{}
	for _, row := range f.rows {
		if id := row.LeaderSessionID; id != nil && !leaders[*id] {
			leaders[*id] = true
			sessions = append(sessions, *id)
		}
	}
	asked, err := p.SessionsByID(ctx, sessions)
	if err != nil {
		return fmt.Errorf("read sessions: %w", err)
	}
	live, err := p.LiveSessions(ctx, string(p.agentGroup))
	if err != nil {
		return fmt.Errorf("read live sessions: %w", err)
	}
	f.sessions, f.agents = make(map[uuid.UUID]*lease.Session, len(asked)), make(map[string]*lease.Session, len(live))
	for _, row := range asked {
		if row.AgentGroup == string(p.agentGroup) { // P7: another agent group's session is none that the caller may speak for
			f.sessions[row.SessionID] = leaseSession(row)
		}
	}
	for _, row := range live {
		f.agents[row.AgentID] = leaseSession(row)
	}
	return nil
}

func (f *floor) missing(asked []commit.PartitionKey) (topics []uuid.UUID) {
	for _, key := range asked {
		if _, found := f.rows[key]; !found {
			topics = append(topics, key.Topic)
		}
	}
	return topics
}

// partition is a row as package lease sees it.
func (f *floor) partition(key commit.PartitionKey) lease.Partition {
	row, found := f.rows[key]
	if !found {
		return lease.Partition{Topic: key.Topic.String(), Number: key.Number}
	}
	p := lease.Partition{
		Topic: row.TopicName, Number: row.Partition, AgentGroup: row.AgentGroup, AllowBufferedAcks: row.AllowBufferedAcks, Epoch: row.Epoch,
	}
	if row.LeaderSessionID != nil {
		p.Leader = f.sessions[*row.LeaderSessionID]
	}
	if row.AssignedAgentID != nil {
		p.Assigned = f.agents[*row.AssignedAgentID]
	}
	return p
}

// lockPartitions locks the rows of these partitions, in order.
func lockPartitions(ctx context.Context, q *db.Queries, keys []commit.PartitionKey) (map[commit.PartitionKey]db.LockPartitionsRow, error) {
	topics, numbers := columns(keys)
	rows, err := q.LockPartitions(ctx, topics, numbers)
	if err != nil {
		return nil, fmt.Errorf("lock partitions: %w", err)
	}
	byKey := make(map[commit.PartitionKey]db.LockPartitionsRow, len(rows))
	for _, row := range rows {
		byKey[commit.PartitionKey{Topic: row.TopicID, Number: row.Partition}] = row
	}
	return byKey, nil
}

func columns(keys []commit.PartitionKey) (topics []uuid.UUID, numbers []int32) {
	topics, numbers = make([]uuid.UUID, len(keys)), make([]int32, len(keys))
	for i, key := range keys {
		topics[i], numbers[i] = key.Topic, key.Number
	}
	return topics, numbers
}

// liveTopics are those of these topics that exist and are not deleted, with their agent groups.
func liveTopics(ctx context.Context, q *db.Queries, ids []uuid.UUID) (map[uuid.UUID]store.AgentGroup, error) {
	live := map[uuid.UUID]store.AgentGroup{}
	if len(ids) == 0 {
		return live, nil
	}
	rows, err := q.LiveTopics(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("read topics: %w", err)
	}
	for _, row := range rows {
		live[row.TopicID] = store.AgentGroup(row.AgentGroup)
	}
	return live, nil
}
