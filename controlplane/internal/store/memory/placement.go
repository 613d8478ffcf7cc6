package memory

import (
	"cmp"
	"context"
	"slices"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// Revisions answers the newest revision of every agent group.
func (s *Store) Revisions(context.Context) (map[store.AgentGroup]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	revisions := map[store.AgentGroup]int64{}
	for name, g := range s.groups {
		if !g.removed {
			revisions[name] = g.revision
		}
	}
	return revisions, nil
}

// PlacementAfter answers a page of what changed after the revision.
func (s *Store) PlacementAfter(_ context.Context, name store.AgentGroup, revision int64, limit int) (*controlplanev1.Placement, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.group(name)
	if err != nil {
		return nil, err
	}
	return s.placement(g, revision, limit), nil
}

func (s *Store) placement(g *group, after int64, limit int) *controlplanev1.Placement {
	if limit <= 0 || limit > store.PlacementPage {
		limit = store.PlacementPage
	}
	if after > g.revision { // of a catalog that has gone back
		after = 0
	}
	page := &controlplanev1.Placement{Revision: g.revision, Agents: s.placedAgents(g)}
	topics, partitions := s.changed(g, after)
	// The page ends where the first list that does not fit ends.
	if len(topics) >= limit {
		page.More, page.Revision = true, topics[limit-1].GetRevision()
	}
	if len(partitions) >= limit {
		page.More, page.Revision = true, min(page.GetRevision(), partitions[limit-1].GetRevision())
	}
	page.Topics = upTo(page.GetRevision(), topics)
	page.Partitions = upTo(page.GetRevision(), partitions)
	return page
}

// changed lists what has a revision after this one, by revision. To whoever knows nothing yet, deleted topics are nothing.
func (s *Store) changed(g *group, after int64) (topics []*controlplanev1.PlacedTopic, partitions []*controlplanev1.PlacedPartition) {
	for _, t := range s.topics {
		if t.group == g && t.revision > after && (!t.deleted || after > 0) {
			topics = append(topics, t.placed())
		}
	}
	for _, p := range s.partitions(g) {
		if p.revision > after {
			partitions = append(partitions, p.placed())
		}
	}
	byRevision(topics)
	byRevision(partitions)
	return topics, partitions
}

type revised interface{ GetRevision() int64 }

func byRevision[T revised](rows []T) {
	slices.SortFunc(rows, func(a, b T) int { return cmp.Compare(a.GetRevision(), b.GetRevision()) })
}

func upTo[T revised](revision int64, rows []T) []T {
	return slices.DeleteFunc(rows, func(row T) bool { return row.GetRevision() > revision })
}

func (t *topic) config() *controlplanev1.TopicConfig {
	return &controlplanev1.TopicConfig{
		MaxRecordBytes: new(t.maxRecordBytes), AllowBufferedAcks: new(t.buffered), PreferredZones: &controlplanev1.PreferredZones{Zones: slices.Clone(t.preferred)},
		RetentionMs: new(t.kept.ms), RetentionBytes: new(t.kept.bytes), CleanupPolicy: new(t.kept.policy),
		DeleteRetentionMs: new(t.kept.tombstonesMs), MinCompactionLagMs: new(t.kept.lagMs),
	}
}

func (t *topic) placed() *controlplanev1.PlacedTopic {
	return &controlplanev1.PlacedTopic{
		TopicId: t.id[:], Name: t.name, PartitionCount: t.partitionCount, Config: t.config(),
		Deleted: t.deleted, Revision: t.revision, Described: t.recorded > 0, CreatedAtMs: t.createdAt.UnixMilli(),
	}
}

func (p *partition) placed() *controlplanev1.PlacedPartition {
	placed := &controlplanev1.PlacedPartition{
		TopicId: p.topic.id[:], Partition: p.number, Epoch: p.epoch, Revision: p.revision, AssignedAgentId: p.assigned,
	}
	if p.leader != nil {
		placed.LeaderSessionId = p.leader.id.String()
		if p.leader.lives() {
			placed.LeaderAgentId = p.leader.agentID
		}
	}
	return placed
}

// placedAgents are all agents of the group that live, by id.
func (s *Store) placedAgents(g *group) (agents []*controlplanev1.PlacedAgent) {
	for _, n := range s.sessions {
		if n.group == g && n.lives() {
			agents = append(agents, &controlplanev1.PlacedAgent{AgentId: n.agentID, Zone: n.zone, Address: n.address, Draining: n.leaving(), Suspect: n.suspect})
		}
	}
	slices.SortFunc(agents, func(a, b *controlplanev1.PlacedAgent) int { return cmp.Compare(a.GetAgentId(), b.GetAgentId()) })
	return agents
}

// ResolveTopics finds live topics of the agent group by name or id, with their first partitions.
func (s *Store) ResolveTopics(_ context.Context, name store.AgentGroup, request *controlplanev1.ResolveTopicsRequest) (
	*controlplanev1.ResolveTopicsResponse, error,
) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuseUnserved(); err != nil {
		return nil, err
	}
	response := &controlplanev1.ResolveTopicsResponse{}
	for _, t := range s.byName() {
		wanted := slices.Contains(request.GetNames(), t.name) || slices.ContainsFunc(request.GetTopicIds(), func(id []byte) bool {
			parsed, err := uuid.FromBytes(id)
			return err == nil && parsed == t.id
		})
		if !wanted || t.group.name != name {
			continue
		}
		response.Topics = append(response.Topics, t.placed())
		if request.GetTopicsOnly() {
			continue
		}
		for _, p := range t.partitions[:min(len(t.partitions), store.PlacementPage)] {
			response.Partitions = append(response.Partitions, p.placed())
		}
	}
	return response, nil
}
