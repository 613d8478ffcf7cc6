package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/streamhouse/streamhouse/controlplane/internal/placement"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// Shapes reads what tells whether a plan still holds: one statement for all agent groups.
func (s *Store) Shapes(ctx context.Context) (map[store.AgentGroup]store.Shape, error) {
	shapes := map[store.AgentGroup]store.Shape{}
	err := s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		rows, err := q.Shapes(ctx)
		for _, row := range rows {
			shape := store.Shape{Revision: row.Revision, Changed: row.ShapeRevision}
			if row.ReportedUs > 0 {
				shape.ReportedAt = time.UnixMicro(row.ReportedUs)
			}
			shapes[store.AgentGroup(row.AgentGroup)] = shape
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return shapes, nil
}

// PlacementInput reads an agent group: four statements, whatever its size.
func (s *Store) PlacementInput(ctx context.Context, agentGroup store.AgentGroup) (*store.PlacementInput, error) {
	var in *store.PlacementInput
	err := s.snapshot(ctx, func(ctx context.Context, q *db.Queries) (err error) {
		in, err = readPlacementInput(ctx, q, agentGroup)
		return err
	})
	return in, err
}

func readPlacementInput(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup) (*store.PlacementInput, error) {
	revision, err := newestRevision(ctx, q, agentGroup)
	if err != nil {
		return nil, err
	}
	changed, err := q.GetShapeRevision(ctx, string(agentGroup))
	if err != nil {
		return nil, fmt.Errorf("read shape: %w", err)
	}
	in := &store.PlacementInput{Shape: store.Shape{Revision: revision, Changed: changed}}
	sessions, err := q.LiveSessions(ctx, string(agentGroup))
	if err != nil {
		return nil, fmt.Errorf("read live sessions: %w", err)
	}
	agents := make(map[string]int32, len(sessions))
	for i, row := range sessions {
		agents[row.AgentID] = int32(i)
		in.Agents = append(in.Agents, planAgent(row))
	}
	topics, err := readPlanTopics(ctx, q, agentGroup, in)
	if err != nil {
		return nil, err
	}
	return in, readPlanPartitions(ctx, q, agentGroup, in, agents, topics)
}

func readPlanTopics(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup, in *store.PlacementInput) (map[uuid.UUID]int32, error) {
	rows, err := q.PlanTopics(ctx, string(agentGroup))
	if err != nil {
		return nil, fmt.Errorf("read topics: %w", err)
	}
	index := make(map[uuid.UUID]int32, len(rows))
	in.Topics = make([]placement.Topic, len(rows))
	for i, row := range rows {
		index[row.TopicID] = int32(i)
		in.Topics[i] = placement.Topic{
			ID: row.TopicID, Name: row.Name, PreferredZones: row.PreferredZones, AllowBufferedAcks: row.AllowBufferedAcks,
		}
	}
	return index, nil
}

func readPlanPartitions(
	ctx context.Context, q *db.Queries, agentGroup store.AgentGroup, in *store.PlacementInput, agents map[string]int32, topics map[uuid.UUID]int32,
) error {
	rows, err := q.PlanPartitions(ctx, string(agentGroup))
	if err != nil {
		return fmt.Errorf("read partitions: %w", err)
	}
	at := func(agentID string) int32 {
		if i, lives := agents[agentID]; lives {
			return i
		}
		return placement.Nobody
	}
	in.Partitions, in.Leaders = make([]placement.Partition, len(rows)), make([]int32, len(rows))
	for i, row := range rows {
		in.Partitions[i] = placement.Partition{
			Topic: topics[row.TopicID], Number: row.Partition, Agent: at(row.AssignedAgentID), Pinned: row.Pinned,
		}
		in.Leaders[i] = at(row.LeaderAgentID)
	}
	return nil
}

// PartitionLoads reads what agents that live reported.
func (s *Store) PartitionLoads(ctx context.Context, agentGroup store.AgentGroup) (map[store.PartitionID]int64, error) {
	var columns [][]byte
	err := s.read(ctx, func(ctx context.Context, q *db.Queries) (err error) {
		columns, err = q.PartitionReports(ctx, string(agentGroup))
		return err
	})
	if err != nil {
		return nil, err
	}
	loads := map[store.PartitionID]int64{}
	for _, column := range columns {
		report, err := decodeReport(column)
		if err != nil {
			return nil, err
		}
		for _, p := range report.GetPartitions() {
			if id, err := uuid.FromBytes(p.GetTopicId()); err == nil {
				// After a move both agents may have reported it: the busier one leads it.
				key := store.PartitionID{Topic: id, Number: p.GetPartition()}
				loads[key] = max(loads[key], p.GetBytesPerSecond())
			}
		}
	}
	return loads, nil
}
