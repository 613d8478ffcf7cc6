package postgres

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/rebuild"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// endInventory makes the topics and partitions, and lists what logs are to be made. One transaction, so that it happens once.
func endInventory(ctx context.Context, q *db.Queries, row db.Recovery, acceptLoss bool) error {
	missing, err := q.MissingShards(ctx)
	if err != nil {
		return fmt.Errorf("look for missing shards: %w", err)
	}
	if len(missing) > 0 {
		return refuseField("recovery_id", fmt.Sprintf("names a recovery in which %d shards of agent group %s are missing", missing[0].Missing, missing[0].AgentGroup))
	}
	if !acceptLoss {
		if err := refuseNameless(ctx, q); err != nil {
			return err
		}
	}
	if err := noteNameless(ctx, q); err != nil {
		return err
	}
	if err := makeTopics(ctx, q); err != nil {
		return err
	}
	if err := q.ListRecoveryPartitions(ctx); err != nil {
		return fmt.Errorf("list partitions: %w", err)
	}
	moved, err := q.MoveRecovery(ctx, stepLogs, row.RecoveryID, stepInventory)
	return verdict("end inventory", moved, 1, err)
}

// refuseNameless: records without any topic are no log. Checkpoints and descriptions are written before the first of them is committed (P9), so
// somebody has removed those, or cannot read them.
func refuseNameless(ctx context.Context, q *db.Queries) error {
	groups, err := q.GroupsWithoutTopics(ctx)
	if err != nil {
		return fmt.Errorf("look for agent groups without topics: %w", err)
	}
	if len(groups) == 0 {
		return nil
	}
	group := groups[0].AgentGroup
	return store.Refuse(refusalv1.Reason_REASON_RECORDS_LOST,
		"the bucket has %d objects with records of agent group %s, and nothing says of which topics: look for what is missing below %s/checkpoints/ and "+
			"%s/%s/ and run this again; if all its topics were deleted, accept the loss", groups[0].Objects, group, group, group, store.DescriptionShard)
}

func noteNameless(ctx context.Context, q *db.Queries) error {
	topics, err := q.CountNamelessTopics(ctx)
	if err != nil {
		return fmt.Errorf("count topics without a name: %w", err)
	}
	if topics == 0 {
		return nil
	}
	note := fmt.Sprintf("%d topics with records in the bucket are named by nothing there: they are taken for deleted ones", topics)
	return q.NoteRecovery(ctx, []string{note})
}

// topicMaker brings the catalog's topics up to what the bucket knows.
type topicMaker struct {
	*db.Queries
	staged map[uuid.UUID]db.RecoveryTopic // as the rule took them
	have   map[uuid.UUID]db.TopicsForRecoveryRow
	names  map[string]uuid.UUID // of live topics in the catalog
}

func makeTopics(ctx context.Context, q *db.Queries) error {
	m := topicMaker{Queries: q, staged: map[uuid.UUID]db.RecoveryTopic{}, have: map[uuid.UUID]db.TopicsForRecoveryRow{}, names: map[string]uuid.UUID{}}
	topics, err := m.read(ctx)
	if err != nil {
		return err
	}
	for _, t := range m.staged { // first, since it frees names
		if err := m.deleteWhatIsDeleted(ctx, t); err != nil {
			return err
		}
	}
	for _, t := range topics {
		if err := m.ensure(ctx, t); err != nil {
			return fmt.Errorf("topic %s: %w", t.Name, err)
		}
	}
	return nil
}

// read applies the rule to what has been taken in.
func (m *topicMaker) read(ctx context.Context) ([]rebuild.Topic, error) {
	have, err := m.TopicsForRecovery(ctx)
	if err != nil {
		return nil, fmt.Errorf("read topics: %w", err)
	}
	for _, t := range have {
		m.have[t.TopicID] = t
		if !t.Deleted {
			m.names[t.Name] = t.TopicID
		}
	}
	rows, err := m.RecoveryTopics(ctx)
	if err != nil {
		return nil, fmt.Errorf("read recovered topics: %w", err)
	}
	counts, err := m.RecoveryPartitionCounts(ctx)
	if err != nil {
		return nil, fmt.Errorf("count partitions: %w", err)
	}
	seen := map[rebuild.TopicID]int32{}
	for _, c := range counts {
		seen[rebuild.TopicID(c.TopicID)] = c.PartitionCount
	}
	var checkpoint, described []rebuild.Topic
	for _, r := range rows { // of one topic, the checkpoint's comes first
		if _, known := m.staged[r.TopicID]; !known {
			m.staged[r.TopicID] = r
		}
		t := rebuild.Topic{ID: rebuild.TopicID(r.TopicID), Name: r.Name, CreatedAt: r.CreatedAt, Partitions: r.PartitionCount, Deleted: r.Deleted}
		if r.FromCheckpoint {
			checkpoint = append(checkpoint, t)
		} else {
			described = append(described, t)
		}
	}
	return rebuild.Topics(checkpoint, described, func(id rebuild.TopicID) int32 { return seen[id] }), nil
}

// deleteWhatIsDeleted: a deletion is never undone.
func (m *topicMaker) deleteWhatIsDeleted(ctx context.Context, t db.RecoveryTopic) error {
	have, known := m.have[t.TopicID]
	if !t.Deleted || !known || have.Deleted {
		return nil
	}
	delete(m.names, have.Name)
	rows, err := m.DeleteRecoveredTopic(ctx, t.TopicID)
	return verdict("delete topic "+have.Name, rows, 1, err)
}

func (m *topicMaker) ensure(ctx context.Context, t rebuild.Topic) error {
	id := uuid.UUID(t.ID)
	have, known := m.have[id]
	if known && have.Deleted {
		return nil
	}
	if known {
		if err := m.WidenRecoveredTopic(ctx, t.Partitions, id); err != nil {
			return fmt.Errorf("widen: %w", err)
		}
	} else if err := m.insert(ctx, t); err != nil {
		return err
	}
	return m.InsertRecoveredPartitions(ctx, id)
}

func (m *topicMaker) insert(ctx context.Context, t rebuild.Topic) error {
	id := uuid.UUID(t.ID)
	row := m.staged[id]
	if _, taken := m.names[t.Name]; taken {
		t.Name = rebuild.SpareName(t.Name, t.ID)
	}
	if t.Name != row.Name {
		note := fmt.Sprintf("two topics are called %s: the one with the id %s is %s now", row.Name, id, t.Name)
		if err := m.NoteRecovery(ctx, []string{note}); err != nil {
			return fmt.Errorf("note: %w", err)
		}
	}
	m.names[t.Name] = id
	config := &controlplanev1.TopicConfig{}
	if err := proto.Unmarshal(row.Config, config); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if err := m.EnsureAgentGroupForRecovery(ctx, row.AgentGroup); err != nil {
		return fmt.Errorf("ensure agent group %s: %w", row.AgentGroup, err)
	}
	return m.InsertRecoveredTopic(ctx, recoveredTopic(row, t, config))
}

// recoveredTopic is a row of this configuration. Every field of it is present; one that is not, of an older release, keeps everything.
func recoveredTopic(row db.RecoveryTopic, t rebuild.Topic, config *controlplanev1.TopicConfig) db.InsertRecoveredTopicParams {
	arg := db.InsertRecoveredTopicParams{
		TopicID: row.TopicID, Name: t.Name, AgentGroup: row.AgentGroup, PartitionCount: t.Partitions, MaxRecordBytes: defaultMaxRecordBytes,
		AllowBufferedAcks: config.GetAllowBufferedAcks(), PreferredZones: zoneList(config.GetPreferredZones()), CreatedAt: row.CreatedAt,
		RetentionMs: unbounded, RetentionBytes: unbounded, CleanupPolicy: int16(controlplanev1.CleanupPolicy_CLEANUP_POLICY_DELETE),
		DeleteRetentionMs: defaultDeleteRetention.Milliseconds(), MinCompactionLagMs: config.GetMinCompactionLagMs(),
	}
	setIfPresent(&arg.MaxRecordBytes, config.MaxRecordBytes)
	setIfPresent(&arg.RetentionMs, config.RetentionMs)
	setIfPresent(&arg.RetentionBytes, config.RetentionBytes)
	setIfPresent(&arg.CleanupPolicy, cleanupPolicy(config))
	setIfPresent(&arg.DeleteRetentionMs, config.DeleteRetentionMs)
	return arg
}
