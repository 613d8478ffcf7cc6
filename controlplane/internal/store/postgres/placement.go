package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// Revisions answers the newest revision of every agent group.
func (s *Store) Revisions(ctx context.Context) (map[store.AgentGroup]int64, error) {
	var rows []db.RevisionsRow
	err := s.read(ctx, func(ctx context.Context, q *db.Queries) (err error) {
		rows, err = q.Revisions(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	revisions := make(map[store.AgentGroup]int64, len(rows))
	for _, row := range rows {
		revisions[store.AgentGroup(row.AgentGroup)] = row.Revision
	}
	return revisions, nil
}

// PlacementAfter reads a page from one snapshot. Where nothing has changed, which is what idle heartbeats find, two statements without a
// transaction do: a list of agents that is newer than the revision comes again with the next one.
func (s *Store) PlacementAfter(ctx context.Context, agentGroup store.AgentGroup, revision int64, limit int) (*controlplanev1.Placement, error) {
	if limit <= 0 || limit > store.PlacementPage {
		limit = store.PlacementPage
	}
	var page *controlplanev1.Placement
	err := s.read(ctx, func(ctx context.Context, q *db.Queries) error {
		newest, err := newestRevision(ctx, q, agentGroup)
		if err != nil || newest != revision {
			return err
		}
		page = &controlplanev1.Placement{Revision: newest}
		return readAgents(ctx, q, agentGroup, page)
	})
	if err != nil || page != nil {
		return page, err
	}
	err = s.snapshot(ctx, func(ctx context.Context, q *db.Queries) (err error) {
		page, err = readPlacement(ctx, q, agentGroup, revision, limit)
		return err
	})
	return page, err
}

// placementAt is PlacementAfter for a heartbeat that has read the revision, and then the agents.
func (s *Store) placementAt(ctx context.Context, agentGroup store.AgentGroup, revision int64, b *beat) (*controlplanev1.Placement, error) {
	if b.found.Revision != revision || len(b.renewed) == 0 { // also: the session changes, and with it the list of agents
		return s.PlacementAfter(ctx, agentGroup, revision, store.PlacementPage)
	}
	return &controlplanev1.Placement{Revision: revision, Agents: placedAgents(b.agents)}, nil
}

func readPlacement(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup, after int64, limit int) (*controlplanev1.Placement, error) {
	newest, err := newestRevision(ctx, q, agentGroup)
	if err != nil {
		return nil, err
	}
	page := &controlplanev1.Placement{Revision: newest}
	if after != newest {
		if after > newest { // of a catalog that has gone back: begin anew
			after = 0
		}
		if err := readChanges(ctx, q, agentGroup, after, limit, page); err != nil {
			return nil, err
		}
	}
	return page, readAgents(ctx, q, agentGroup, page)
}

func newestRevision(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup) (int64, error) {
	newest, err := q.GetRevision(ctx, string(agentGroup))
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, store.Refuse(refusalv1.Reason_REASON_UNKNOWN_AGENT_GROUP, "there is no agent group %q", agentGroup)
	}
	if err != nil {
		return 0, fmt.Errorf("read revision: %w", err)
	}
	return newest, nil
}

// readAgents adds the agents whose session lives.
func readAgents(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup, page *controlplanev1.Placement) error {
	sessions, err := q.LiveSessions(ctx, string(agentGroup))
	if err != nil {
		return fmt.Errorf("read live sessions: %w", err)
	}
	page.Agents = placedAgents(sessions)
	return nil
}

func placedAgents(sessions []db.Session) (agents []*controlplanev1.PlacedAgent) {
	for _, row := range sessions {
		agents = append(agents, &controlplanev1.PlacedAgent{
			AgentId: row.AgentID, Zone: row.Zone, Address: row.Address, Draining: row.Draining || row.DrainRequested,
			Suspect: row.Suspect,
		})
	}
	return agents
}

func readChanges(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup, after int64, limit int, page *controlplanev1.Placement) error {
	topics, err := q.PlacedTopicsAfter(ctx, string(agentGroup), after, int32(limit))
	if err != nil {
		return fmt.Errorf("read placed topics: %w", err)
	}
	partitions, err := q.PlacedPartitionsAfter(ctx, string(agentGroup), after, int32(limit))
	if err != nil {
		return fmt.Errorf("read placed partitions: %w", err)
	}
	// A list that is full may go on: the page ends where the first of such lists ends.
	if len(topics) == limit {
		page.More, page.Revision = true, topics[limit-1].Revision
	}
	if len(partitions) == limit && (!page.GetMore() || partitions[limit-1].Revision < page.GetRevision()) {
		page.More, page.Revision = true, partitions[limit-1].Revision
	}
	for _, row := range topics {
		if row.Revision <= page.GetRevision() {
			page.Topics = append(page.Topics, placedTopic(row))
		}
	}
	for _, row := range partitions {
		if row.Revision <= page.GetRevision() {
			page.Partitions = append(page.Partitions, placedPartition(row))
		}
	}
	return nil
}

func placedTopic(row db.Topic) *controlplanev1.PlacedTopic {
	return &controlplanev1.PlacedTopic{
		TopicId: row.TopicID[:], Name: row.Name, PartitionCount: row.PartitionCount, Config: topicConfig(row),
		Deleted: row.DeletedAt != nil, Revision: row.Revision, Described: row.RecordedRevision > 0, CreatedAtMs: row.CreatedAt.UnixMilli(),
	}
}

func topicConfig(row db.Topic) *controlplanev1.TopicConfig {
	return &controlplanev1.TopicConfig{
		MaxRecordBytes: new(row.MaxRecordBytes), AllowBufferedAcks: new(row.AllowBufferedAcks),
		PreferredZones: &controlplanev1.PreferredZones{Zones: row.PreferredZones},
		RetentionMs:    new(row.RetentionMs), RetentionBytes: new(row.RetentionBytes),
		CleanupPolicy:     new(controlplanev1.CleanupPolicy(row.CleanupPolicy)),
		DeleteRetentionMs: new(row.DeleteRetentionMs), MinCompactionLagMs: new(row.MinCompactionLagMs),
	}
}

func placedPartition(row db.PlacedPartitionsAfterRow) *controlplanev1.PlacedPartition {
	placed := &controlplanev1.PlacedPartition{
		TopicId: row.TopicID[:], Partition: row.Partition, Epoch: row.Epoch, Revision: row.Revision,
		AssignedAgentId: text(row.AssignedAgentID), LeaderAgentId: text(row.LeaderAgentID),
	}
	if row.LeaderSessionID != nil {
		placed.LeaderSessionId = row.LeaderSessionID.String()
	}
	return placed
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// ResolveTopics finds topics of the agent group, and their first partitions, in one snapshot.
func (s *Store) ResolveTopics(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.ResolveTopicsRequest) (
	*controlplanev1.ResolveTopicsResponse, error,
) {
	ids := make([]uuid.UUID, len(request.GetTopicIds()))
	for i, bytes := range request.GetTopicIds() {
		id, err := uuid.FromBytes(bytes)
		if err != nil {
			return nil, store.Refuse(refusalv1.Reason_REASON_INVALID, "topic_ids[%d] must be 16 bytes", i)
		}
		ids[i] = id
	}
	if request.GetTopicsOnly() {
		return s.resolveTopicsOnly(ctx, agentGroup, request.GetNames(), ids)
	}
	var response *controlplanev1.ResolveTopicsResponse
	err := s.snapshot(ctx, func(ctx context.Context, q *db.Queries) (err error) {
		if err := refuseUnserved(ctx, q); err != nil { // "no such topic" is not said by a catalog that may have lost it
			return err
		}
		response, err = resolveTopics(ctx, q, agentGroup, request.GetNames(), ids)
		return err
	})
	return response, err
}

// resolveTopicsOnly takes one round trip: an agent asks so for every request of a client that names topics by their names. The topics are read
// after the state: a catalog that serves has them.
func (s *Store) resolveTopicsOnly(ctx context.Context, agentGroup store.AgentGroup, names []string, ids []uuid.UUID) (
	*controlplanev1.ResolveTopicsResponse, error,
) {
	var state db.CatalogStateRow
	var topics []db.Topic
	err := s.together(ctx, func() []step {
		return []step{
			func(ctx context.Context, d db.DBTX) (err error) {
				state, err = db.New(d).CatalogState(ctx)
				return err
			},
			func(ctx context.Context, d db.DBTX) (err error) {
				topics, err = db.New(d).ResolveTopics(ctx, string(agentGroup), names, ids)
				return err
			},
		}
	})
	if err == nil {
		err = unservedRefusal(state)
	}
	if err != nil {
		return nil, err
	}
	return resolved(topics), nil
}

func resolved(topics []db.Topic) *controlplanev1.ResolveTopicsResponse {
	response := &controlplanev1.ResolveTopicsResponse{}
	for _, row := range topics {
		response.Topics = append(response.Topics, placedTopic(row))
	}
	return response
}

// resolvedPartitions is how many partitions ResolveTopics answers in all, shared evenly and at most PlacementPage a topic.
const resolvedPartitions = 20_000

func resolveTopics(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup, names []string, ids []uuid.UUID) (
	*controlplanev1.ResolveTopicsResponse, error,
) {
	topics, err := q.ResolveTopics(ctx, string(agentGroup), names, ids)
	if err != nil {
		return nil, fmt.Errorf("resolve topics: %w", err)
	}
	response := resolved(topics)
	if len(topics) == 0 {
		return response, nil
	}
	found := make([]uuid.UUID, len(topics))
	for i, row := range topics {
		found[i] = row.TopicID
	}
	partitions, err := q.PlacedPartitionsOfTopics(ctx, found, int32(min(store.PlacementPage, resolvedPartitions/len(topics))))
	if err != nil {
		return nil, fmt.Errorf("read partitions: %w", err)
	}
	for _, row := range partitions {
		response.Partitions = append(response.Partitions, placedPartition(db.PlacedPartitionsAfterRow(row)))
	}
	return response, nil
}
