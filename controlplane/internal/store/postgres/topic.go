package postgres

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/placement"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

const (
	// What a new topic has where the request does not say.
	defaultMaxRecordBytes  = 1 << 20
	defaultRetention       = 168 * time.Hour
	defaultDeleteRetention = 24 * time.Hour
	unbounded              = -1
	// partitionPage is how many partitions one statement inserts.
	partitionPage = 10_000
	// topicPage is how many topics are listed where the request does not say.
	topicPage = 1000
	// statusPage is how many partitions GetTopic describes where the request does not say: 3.5 MiB with the longest names that there can be.
	statusPage = 10_000
)

// CreateTopic creates a topic with its partitions, assigned where agents live. Run twice, it would say "exists" of its own work.
func (s *Store) CreateTopic(ctx context.Context, request *controlplanev1.CreateTopicRequest) (*controlplanev1.CreateTopicResponse, error) {
	agentGroup := store.AgentGroup(request.GetAgentGroup())
	if agentGroup == "" {
		agentGroup = store.DefaultAgentGroup
	}
	var topic *controlplanev1.Topic
	err := s.inPlace(ctx, wrong, agentGroup, func(ctx context.Context, p *place) error {
		if err := refuseHalted(ctx, p.Queries); err != nil {
			return err
		}
		row, err := insertTopic(ctx, p, request)
		if err != nil {
			return err
		}
		topic, p.reshaped = topicMessage(row), true
		return insertPartitions(ctx, p, row)
	})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.CreateTopicResponse{Topic: topic}, nil
}

func insertTopic(ctx context.Context, p *place, request *controlplanev1.CreateTopicRequest) (db.Topic, error) {
	arg := db.InsertTopicParams{
		TopicID: uuid.New(), Name: request.GetName(), AgentGroup: string(p.agentGroup), PartitionCount: request.GetPartitionCount(),
		MaxRecordBytes: defaultMaxRecordBytes, AllowBufferedAcks: request.GetConfig().GetAllowBufferedAcks(), Revision: p.take(),
		PreferredZones: zoneList(request.GetConfig().GetPreferredZones()),
		RetentionMs:    defaultRetention.Milliseconds(), RetentionBytes: unbounded,
		CleanupPolicy:     int16(controlplanev1.CleanupPolicy_CLEANUP_POLICY_DELETE),
		DeleteRetentionMs: defaultDeleteRetention.Milliseconds(), MinCompactionLagMs: request.GetConfig().GetMinCompactionLagMs(),
	}
	if config := request.GetConfig(); config != nil {
		setIfPresent(&arg.MaxRecordBytes, config.MaxRecordBytes)
		setIfPresent(&arg.RetentionMs, config.RetentionMs)
		setIfPresent(&arg.RetentionBytes, config.RetentionBytes)
		setIfPresent(&arg.CleanupPolicy, cleanupPolicy(config))
		setIfPresent(&arg.DeleteRetentionMs, config.DeleteRetentionMs)
	}
	rows, err := p.InsertTopic(ctx, arg)
	if err != nil {
		return db.Topic{}, fmt.Errorf("insert topic: %w", err)
	}
	if len(rows) == 0 {
		refused := store.Refuse(refusalv1.Reason_REASON_TOPIC_EXISTS, "a topic %q exists", request.GetName())
		refused.Refusal.Topic = request.GetName()
		return db.Topic{}, refused
	}
	return rows[0], nil
}

func setIfPresent[T any](to, present *T) {
	if present != nil {
		*to = *present
	}
}

// cleanupPolicy is nil where the configuration says nothing of it.
func cleanupPolicy(config *controlplanev1.TopicConfig) *int16 {
	if config == nil || config.CleanupPolicy == nil {
		return nil
	}
	return new(int16(config.GetCleanupPolicy()))
}

// zoneList is never nil, which would be NULL.
func zoneList(preferred *controlplanev1.PreferredZones) []string {
	return append([]string{}, preferred.GetZones()...)
}

// insertPartitions makes the partitions of a new topic, where the planner wants them.
func insertPartitions(ctx context.Context, p *place, topic db.Topic) error {
	who, err := readPresence(ctx, p)
	if err != nil {
		return err
	}
	in := placement.Input{Agents: who.agents, Topics: []placement.Topic{planTopic(topic)}}
	if err := p.addOthers(ctx, &in, who); err != nil {
		return err
	}
	in.Partitions = make([]placement.Partition, topic.PartitionCount)
	for i := range in.Partitions {
		in.Partitions[i] = placement.Partition{Number: int32(i), Agent: placement.Nobody}
	}
	agents := make([]string, len(in.Partitions)) // empty: nobody can lead it
	for _, move := range placement.Repair(in).Moves {
		agents[move.Partition] = in.Agents[move.To].ID
	}
	return insertAssigned(ctx, p, topic, 0, agents)
}

// insertAssigned makes the partitions from a number on, assigned to these agents; empty: to nobody.
func insertAssigned(ctx context.Context, p *place, topic db.Topic, number int32, agents []string) error {
	for first := 0; first < len(agents); first += partitionPage {
		page := agents[first:min(first+partitionPage, len(agents))]
		arg := db.InsertPartitionsParams{
			TopicID: topic.TopicID, AgentGroup: topic.AgentGroup, Partitions: make([]int32, len(page)), AgentIds: page, Revisions: p.takeEach(len(page)),
		}
		for i := range page {
			arg.Partitions[i] = number + int32(first+i)
		}
		rows, err := p.InsertPartitions(ctx, arg)
		if err := verdict("insert partitions", rows, len(page), err); err != nil {
			return err
		}
	}
	return nil
}

func topicMessage(row db.Topic) *controlplanev1.Topic {
	return &controlplanev1.Topic{
		TopicId: row.TopicID.String(), Name: row.Name, AgentGroup: row.AgentGroup, PartitionCount: row.PartitionCount,
		Config: topicConfig(row), CreatedAt: timestamppb.New(row.CreatedAt),
	}
}

// GetTopic describes a topic from one snapshot, with a page of its partitions. The token is the first number of the next page.
func (s *Store) GetTopic(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.GetTopicRequest) (
	*controlplanev1.GetTopicResponse, error,
) {
	first, err := parseNumberToken(request.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := cmp.Or(request.GetPageSize(), statusPage)
	response := &controlplanev1.GetTopicResponse{}
	err = s.snapshot(ctx, func(ctx context.Context, q *db.Queries) error {
		row, err := getTopic(ctx, q, agentGroup, request.GetName())
		if err != nil {
			return err
		}
		statuses, err := q.PartitionStatuses(ctx, row.TopicID, first, size)
		if err != nil {
			return fmt.Errorf("read partitions: %w", err)
		}
		response.Topic, response.Partitions, response.NextPageToken = topicMessage(row), make([]*controlplanev1.PartitionStatus, len(statuses)), ""
		for i, status := range statuses {
			response.Partitions[i] = statusMessage(status)
		}
		if next := first + size; next < row.PartitionCount {
			response.NextPageToken = pageToken(strconv.Itoa(int(next)))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

func statusMessage(row db.PartitionStatusesRow) *controlplanev1.PartitionStatus {
	return &controlplanev1.PartitionStatus{
		Partition: row.Partition, Epoch: row.Epoch, LeaderAgentId: text(row.LeaderAgentID), LeaderZone: text(row.LeaderZone),
		LogStartOffset: row.LogStartOffset, HighWatermark: row.HighWatermark, AssignedAgentId: text(row.AssignedAgentID),
	}
}

// parseNumberToken reads a token that is a number; an empty one is 0.
func parseNumberToken(token string) (int32, error) {
	last, err := parseToken(token)
	if err != nil || last == "" {
		return 0, err
	}
	n, err := strconv.ParseInt(last, 10, 32)
	if err != nil || n < 0 {
		return 0, refuseToken()
	}
	return int32(n), nil
}

// getTopic finds a live topic by name, or refuses.
func getTopic(ctx context.Context, q *db.Queries, agentGroup store.AgentGroup, name string) (db.Topic, error) {
	row, err := q.GetTopic(ctx, name, string(agentGroup))
	if errors.Is(err, pgx.ErrNoRows) {
		refused := store.Refuse(refusalv1.Reason_REASON_UNKNOWN_TOPIC, "there is no topic %q", name)
		refused.Refusal.Topic = name
		return row, refused
	}
	if err != nil {
		return row, fmt.Errorf("get topic: %w", err)
	}
	return row, nil
}

// ListTopics lists a page by name. The token is the last name of the page before.
func (s *Store) ListTopics(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.ListTopicsRequest) (
	*controlplanev1.ListTopicsResponse, error,
) {
	after, err := parseToken(request.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := request.GetPageSize()
	if size == 0 {
		size = topicPage
	}
	var rows []db.Topic
	err = s.read(ctx, func(ctx context.Context, q *db.Queries) (err error) {
		rows, err = q.ListTopics(ctx, after, string(agentGroup), size+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	response := &controlplanev1.ListTopicsResponse{}
	if len(rows) > int(size) {
		rows = rows[:size]
		response.NextPageToken = pageToken(rows[size-1].Name)
	}
	for _, row := range rows {
		response.Topics = append(response.Topics, topicMessage(row))
	}
	return response, nil
}

func pageToken(last string) string { return base64.RawURLEncoding.EncodeToString([]byte(last)) }

func parseToken(token string) (last string, err error) {
	bytes, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || !utf8.Valid(bytes) || slices.Contains(bytes, 0) { // PostgreSQL takes neither in a text
		return "", refuseToken()
	}
	return string(bytes), nil
}

func refuseToken() error {
	return refuseField("page_token", "must be the next_page_token of an answer")
}

// UpdateTopic changes what is present in the request. New partitions are nobody's at first: the judge finds them a home at once, as it does
// for all that have none.
func (s *Store) UpdateTopic(ctx context.Context, request *controlplanev1.UpdateTopicRequest) (*controlplanev1.UpdateTopicResponse, error) {
	var topic *controlplanev1.Topic
	err := s.changeTopic(ctx, harmless, request.GetName(), func(ctx context.Context, p *place, before db.Topic) error {
		if fewer := request.GetPartitionCount(); fewer > 0 && fewer < before.PartitionCount {
			return refuseField("partition_count", fmt.Sprintf("is %d, and the topic has %d partitions, which never become fewer", fewer, before.PartitionCount))
		}
		config := request.GetConfig()
		rows, err := p.UpdateTopic(ctx, db.UpdateTopicParams{
			// Fields, not getters: absent differs from zero.
			MaxRecordBytes: config.MaxRecordBytes, AllowBufferedAcks: config.AllowBufferedAcks, PreferredZones: presentZones(config.GetPreferredZones()),
			RetentionMs: config.RetentionMs, RetentionBytes: config.RetentionBytes, CleanupPolicy: cleanupPolicy(config),
			DeleteRetentionMs: config.DeleteRetentionMs, MinCompactionLagMs: config.MinCompactionLagMs,
			PartitionCount: request.GetPartitionCount(), Revision: p.take(), TopicID: before.TopicID,
		})
		if err != nil || len(rows) == 0 {
			return verdict("update topic", int64(len(rows)), 1, err)
		}
		topic = topicMessage(rows[0])
		return insertAssigned(ctx, p, rows[0], before.PartitionCount, make([]string, rows[0].PartitionCount-before.PartitionCount))
	})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.UpdateTopicResponse{Topic: topic}, nil
}

// presentZones is nil where the request says nothing of them.
func presentZones(preferred *controlplanev1.PreferredZones) []string {
	if preferred == nil {
		return nil
	}
	return zoneList(preferred)
}

// DeleteTopic marks the topic deleted. Run twice, it would say "unknown" of its own work.
func (s *Store) DeleteTopic(ctx context.Context, request *controlplanev1.DeleteTopicRequest) (*controlplanev1.DeleteTopicResponse, error) {
	response := &controlplanev1.DeleteTopicResponse{}
	err := s.changeTopic(ctx, wrong, request.GetName(), func(ctx context.Context, p *place, topic db.Topic) error {
		response.TopicId = topic.TopicID.String()
		rows, err := p.MarkTopicDeleted(ctx, p.take(), topic.TopicID)
		return verdict("delete topic", rows, 1, err)
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// changeTopic runs fn on a live topic under the lock of its agent group. The group is found first, without a lock, since it never
// changes; whether the topic still lives is read again under the lock.
func (s *Store) changeTopic(ctx context.Context, again twice, name string, fn func(ctx context.Context, p *place, topic db.Topic) error) error {
	var found db.Topic
	err := s.read(ctx, func(ctx context.Context, q *db.Queries) (err error) {
		if err := refuseHalted(ctx, q); err != nil {
			return err
		}
		found, err = getTopic(ctx, q, store.EveryAgentGroup, name)
		return err
	})
	if err != nil {
		return err
	}
	return s.inPlace(ctx, again, store.AgentGroup(found.AgentGroup), func(ctx context.Context, p *place) error {
		if err := refuseHalted(ctx, p.Queries); err != nil {
			return err
		}
		row, err := getTopic(ctx, p.Queries, p.agentGroup, name)
		if err != nil {
			return err
		}
		p.unsettled, p.reshaped = true, true
		return fn(ctx, p, row)
	})
}
