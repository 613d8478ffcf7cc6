package postgres

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
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
	// defaultMaxRecordBytes where a new topic does not say.
	defaultMaxRecordBytes = 1 << 20
	// partitionPage is how many partitions one statement inserts.
	partitionPage = 10_000
	// topicPage is how many topics are listed where the request does not say.
	topicPage = 1000
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
		topic = topicMessage(row)
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
	}
	if config := request.GetConfig(); config != nil && config.MaxRecordBytes != nil {
		arg.MaxRecordBytes = config.GetMaxRecordBytes()
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

func insertPartitions(ctx context.Context, p *place, topic db.Topic) error {
	who, err := readPresence(ctx, p)
	if err != nil {
		return err
	}
	wanted := make([]placement.Partition, topic.PartitionCount)
	for i := range wanted {
		wanted[i] = placement.Partition{Topic: topic.TopicID, Number: int32(i)}
	}
	loads, err := p.loads(ctx, wanted[:1])
	if err != nil {
		return err
	}
	agents := placement.Choose(who.candidates, loads, wanted)
	for first := 0; first < len(wanted); first += partitionPage {
		page := wanted[first:min(first+partitionPage, len(wanted))]
		arg := db.InsertPartitionsParams{
			TopicID: topic.TopicID, AgentGroup: topic.AgentGroup, Partitions: make([]int32, len(page)),
			AgentIds: agents[first : first+len(page)], Revisions: p.takeEach(len(page)),
		}
		for i := range page {
			arg.Partitions[i] = page[i].Number
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

// GetTopic describes a topic from one snapshot.
func (s *Store) GetTopic(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.GetTopicRequest) (
	*controlplanev1.GetTopicResponse, error,
) {
	response := &controlplanev1.GetTopicResponse{}
	err := s.snapshot(ctx, func(ctx context.Context, q *db.Queries) error {
		row, err := getTopic(ctx, q, agentGroup, request.GetName())
		if err != nil {
			return err
		}
		statuses, err := q.PartitionStatuses(ctx, row.TopicID)
		if err != nil {
			return fmt.Errorf("read partitions: %w", err)
		}
		response.Topic, response.Partitions = topicMessage(row), make([]*controlplanev1.PartitionStatus, len(statuses))
		for i, status := range statuses {
			response.Partitions[i] = &controlplanev1.PartitionStatus{
				Partition: status.Partition, Epoch: status.Epoch, LeaderAgentId: text(status.LeaderAgentID), LeaderZone: text(status.LeaderZone),
				LogStartOffset: status.LogStartOffset, HighWatermark: status.HighWatermark, AssignedAgentId: text(status.AssignedAgentID),
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return response, nil
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
	refused := store.Refuse(refusalv1.Reason_REASON_INVALID, "page_token must be the next_page_token of an answer")
	refused.Refusal.Field = "page_token"
	return refused
}

// UpdateTopic changes what is present in the request.
func (s *Store) UpdateTopic(ctx context.Context, request *controlplanev1.UpdateTopicRequest) (*controlplanev1.UpdateTopicResponse, error) {
	var topic *controlplanev1.Topic
	err := s.changeTopic(ctx, harmless, request.GetName(), func(ctx context.Context, p *place, id uuid.UUID) error {
		rows, err := p.UpdateTopic(ctx, db.UpdateTopicParams{
			// Fields, not getters: absent differs from zero.
			MaxRecordBytes: request.GetConfig().MaxRecordBytes, AllowBufferedAcks: request.GetConfig().AllowBufferedAcks,
			Revision: p.take(), TopicID: id,
		})
		if err != nil || len(rows) == 0 {
			return verdict("update topic", int64(len(rows)), 1, err)
		}
		topic = topicMessage(rows[0])
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &controlplanev1.UpdateTopicResponse{Topic: topic}, nil
}

// DeleteTopic marks the topic deleted. Run twice, it would say "unknown" of its own work.
func (s *Store) DeleteTopic(ctx context.Context, request *controlplanev1.DeleteTopicRequest) (*controlplanev1.DeleteTopicResponse, error) {
	response := &controlplanev1.DeleteTopicResponse{}
	err := s.changeTopic(ctx, wrong, request.GetName(), func(ctx context.Context, p *place, id uuid.UUID) error {
		response.TopicId = id.String()
		rows, err := p.MarkTopicDeleted(ctx, p.take(), id)
		return verdict("delete topic", rows, 1, err)
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// changeTopic runs fn on a live topic under the lock of its agent group. The group is found first, without a lock, since it never
// changes; whether the topic still lives is read again under the lock.
func (s *Store) changeTopic(ctx context.Context, again twice, name string, fn func(ctx context.Context, p *place, id uuid.UUID) error) error {
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
		p.unsettled = true
		return fn(ctx, p, row.TopicID)
	})
}
