package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

const (
	// freedPage bounds the objects that one checkpoint sets free.
	freedPage = 20_000
	// checkpointPage bounds the topics, or partitions, of one page.
	checkpointPage = 2000
)

// checkpointDue begins a checkpoint where one is due. What it frees is committed before anybody can read anything for it.
func checkpointDue(ctx context.Context, c *claim) (subjects []string, detail []byte, err error) {
	group := string(c.agentGroup)
	due, err := c.CheckpointDue(ctx, c.config.CheckpointInterval.Seconds(), c.config.CheckpointPace().Seconds(), group)
	if err != nil || !due {
		return nil, nil, err
	}
	subjects, err = c.free(ctx, controlplanev1.JobKind_JOB_KIND_CHECKPOINT, "")
	if err != nil || len(subjects) == 0 {
		return nil, nil, err
	}
	if c.upkeep.CheckpointBegun, err = c.BeginCheckpoint(ctx, group); err != nil {
		return nil, nil, fmt.Errorf("begin checkpoint: %w", err)
	}
	if _, err := c.MarkFreed(ctx, c.upkeep.CheckpointBegun, group, freedPage); err != nil {
		return nil, nil, fmt.Errorf("mark freed objects: %w", err)
	}
	return subjects, nil, nil
}

func tellCheckpoint(_ context.Context, c *claim, _ db.Job, job *controlplanev1.Job) (bool, error) {
	job.Work = &controlplanev1.Job_Checkpoint{Checkpoint: &controlplanev1.CheckpointWork{Number: c.upkeep.CheckpointBegun}}
	return true, nil
}

// checkpointDone: it is in the bucket. What it freed may be deleted from now on, and agents need not describe the topics that it has.
func checkpointDone(ctx context.Context, p *place, _ db.Job) error {
	finished, err := p.FinishCheckpoint(ctx, string(p.agentGroup))
	if err != nil {
		return fmt.Errorf("finish checkpoint: %w", err)
	}
	if _, err := p.RecordTopics(ctx, string(p.agentGroup), finished.CheckpointRevision); err != nil {
		return fmt.Errorf("record topics: %w", err)
	}
	topics, err := p.NewlyRecordedTopics(ctx, string(p.agentGroup), finished.CheckpointRevision)
	if err != nil || len(topics) == 0 {
		return err
	}
	rows, err := p.RecordNewTopics(ctx, topics, p.takeEach(len(topics)))
	return verdict("record new topics", rows, len(topics), err)
}

// ReadCheckpoint reads topics, then partitions, each page by itself: what is read later may only be newer, and everything that was free when the
// checkpoint began is free in all of it.
func (s *Store) ReadCheckpoint(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.ReadCheckpointRequest) (
	*controlplanev1.ReadCheckpointResponse, error,
) {
	id, err := parseJob(request.GetJobId())
	if err != nil {
		return nil, err
	}
	from, err := parseCheckpointToken(request.GetPageToken())
	if err != nil {
		return nil, err
	}
	var response *controlplanev1.ReadCheckpointResponse
	err = s.snapshot(ctx, func(ctx context.Context, q *db.Queries) error {
		if err := refuseUnverified(ctx, q); err != nil {
			return err
		}
		rows, err := q.GetJob(ctx, id, string(agentGroup))
		job, err := ownJob(rows, err)
		if err != nil {
			return err
		}
		if response, err = readCheckpoint(ctx, q, string(agentGroup), from); err == nil && response.GetPage().GetHead() != nil {
			response.Page.Head.CheckpointId = job.OutputID[:]
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return response, nil
}

// checkpointPlace is where a page begins.
type checkpointPlace struct {
	partitions bool
	topic      uuid.UUID
	partition  int32
}

func (p checkpointPlace) token() string {
	if p.partitions {
		return "partitions/" + p.topic.String() + "/" + strconv.Itoa(int(p.partition))
	}
	return "topics/" + p.topic.String() + "/0"
}

func parseCheckpointToken(token string) (p checkpointPlace, err error) {
	if token == "" {
		return p, nil
	}
	parts := strings.Split(token, "/")
	if len(parts) == 3 && (parts[0] == "topics" || parts[0] == "partitions") {
		topic, err1 := uuid.Parse(parts[1])
		partition, err2 := strconv.ParseInt(parts[2], 10, 32)
		if err1 == nil && err2 == nil {
			return checkpointPlace{partitions: parts[0] == "partitions", topic: topic, partition: int32(partition)}, nil
		}
	}
	return p, refuseField("page_token", "must be the next_page_token of an answer")
}

func readCheckpoint(ctx context.Context, q *db.Queries, group string, from checkpointPlace) (*controlplanev1.ReadCheckpointResponse, error) {
	if from.partitions {
		return readCheckpointPartitions(ctx, q, group, from)
	}
	response := &controlplanev1.ReadCheckpointResponse{Page: &controlplanev1.CheckpointPage{}}
	if from.topic == uuid.Nil {
		head, err := q.CheckpointHead(ctx, group)
		if err != nil {
			return nil, fmt.Errorf("read the head of a checkpoint: %w", err)
		}
		response.Page.Head = &controlplanev1.CheckpointHead{
			AgentGroup: group, Incarnation: int32(head.Incarnation), Number: head.CheckpointBegun, NextProducerId: head.NextID,
			CatalogId: head.CatalogID[:],
		}
	}
	rows, err := q.CheckpointTopics(ctx, group, from.topic, checkpointPage)
	if err != nil {
		return nil, fmt.Errorf("read topics: %w", err)
	}
	for _, row := range rows {
		response.Page.Topics = append(response.Page.Topics, checkpointTopic(row))
	}
	next := checkpointPlace{partitions: true, partition: -1}
	if len(rows) == checkpointPage {
		next = checkpointPlace{topic: rows[len(rows)-1].TopicID}
	}
	response.NextPageToken = next.token()
	return response, nil
}

func checkpointTopic(row db.Topic) *controlplanev1.CheckpointTopic {
	return &controlplanev1.CheckpointTopic{
		TopicId: row.TopicID[:], Name: row.Name, PartitionCount: row.PartitionCount, Config: topicConfig(row), Deleted: row.DeletedAt != nil,
		CreatedAtMs: row.CreatedAt.UnixMilli(),
	}
}

func readCheckpointPartitions(ctx context.Context, q *db.Queries, group string, from checkpointPlace) (*controlplanev1.ReadCheckpointResponse, error) {
	rows, err := q.CheckpointPartitions(ctx, db.CheckpointPartitionsParams{
		AgentGroup: group, AfterTopicID: from.topic, AfterPartition: from.partition, Page: checkpointPage,
	})
	if err != nil {
		return nil, fmt.Errorf("read partitions: %w", err)
	}
	response := &controlplanev1.ReadCheckpointResponse{Page: &controlplanev1.CheckpointPage{}}
	for _, row := range rows {
		response.Page.Partitions = append(response.Page.Partitions, &controlplanev1.CheckpointPartition{
			TopicId: row.TopicID[:], Partition: row.Partition, LogStartOffset: row.LogStartOffset, HighWatermark: row.HighWatermark, Epoch: row.Epoch,
		})
	}
	if len(rows) == checkpointPage {
		last := rows[len(rows)-1]
		response.NextPageToken = checkpointPlace{partitions: true, topic: last.TopicID, partition: last.Partition}.token()
	}
	return response, nil
}
