package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

const (
	// recordCount and sizeBytes of a segment.
	recordCount = 100
	sizeBytes   = 8 << 10
	// acquirePage is the most that one Acquire may name.
	acquirePage = 1000
)

// openStore makes the schema, and for each committer an agent that leads a topic of its own, in an agent group of its own: so that all of the
// topic is placed on it.
func openStore(ctx context.Context, url string, config Config) (_ []committer, closeStore func(), err error) {
	s, err := postgres.Open(ctx, postgres.Config{URL: url, MaxConns: int32(config.Committers) + 1})
	if err != nil {
		return nil, nil, err
	}
	if err := s.Migrate(ctx); err != nil {
		s.Close()
		return nil, nil, err
	}
	var committers []committer
	for i := range config.Committers {
		c := &storeCommitter{store: s, group: store.AgentGroup(fmt.Sprintf("bench-%d", i)), entries: config.Entries, producers: config.Producers}
		if err := c.lead(ctx); err != nil {
			s.Close()
			return nil, nil, err
		}
		committers = append(committers, c)
	}
	return committers, s.Close, nil
}

// storeCommitter is an agent.
type storeCommitter struct {
	store              *postgres.Store
	group              store.AgentGroup
	entries, producers int
	session            string
	topic              uuid.UUID
	objects            int64
}

// lead registers an agent, and has it lead every partition of a new topic.
func (c *storeCommitter) lead(ctx context.Context) error {
	name := string(c.group)
	if err := c.store.EnsureAgentGroup(ctx, c.group); err != nil {
		return fmt.Errorf("make agent group: %w", err)
	}
	registered, err := c.store.Register(ctx, c.group, &controlplanev1.RegisterRequest{
		AgentId: name, AgentGroup: name, Zone: "bench", Address: "http://bench.invalid", Version: "bench",
	})
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	c.session = registered.GetSessionId()
	created, err := c.store.CreateTopic(ctx, &controlplanev1.CreateTopicRequest{Name: name, AgentGroup: name, PartitionCount: int32(c.entries)})
	if err != nil {
		return fmt.Errorf("create topic: %w", err)
	}
	c.topic = uuid.MustParse(created.GetTopic().GetTopicId())
	for first := 0; first < c.entries; first += acquirePage {
		if err := c.acquire(ctx, first, min(first+acquirePage, c.entries)); err != nil {
			return err
		}
	}
	return nil
}

func (c *storeCommitter) acquire(ctx context.Context, first, end int) error {
	request := &controlplanev1.AcquireRequest{SessionId: c.session}
	for p := first; p < end; p++ {
		request.Partitions = append(request.Partitions, &controlplanev1.AcquirePartition{TopicId: c.topic[:], Partition: int32(p)})
	}
	acquired, err := c.store.Acquire(ctx, c.group, request)
	if err != nil {
		return fmt.Errorf("acquire: %w", err)
	}
	for _, outcome := range acquired.GetOutcomes() {
		if refusal := outcome.GetRefusal(); refusal != nil {
			return fmt.Errorf("acquire: %s", refusal.GetMessage())
		}
	}
	return nil
}

func (c *storeCommitter) commit(ctx context.Context) error {
	response, err := c.store.Commit(ctx, c.group, c.request())
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	for i, outcome := range response.GetObjects()[0].GetSegments() {
		if outcome.GetResult() != controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED {
			return fmt.Errorf("commit: entry %d: %v", i, outcome)
		}
	}
	c.objects++
	return nil
}

func (c *storeCommitter) request() *controlplanev1.CommitRequest {
	object := &controlplanev1.ObjectCommit{
		Key:       fmt.Sprintf("%s/0a/0-%s-%d", c.group, c.session, c.objects),
		SizeBytes: int64(c.entries) * sizeBytes, Segments: make([]*controlplanev1.SegmentCommit, c.entries),
	}
	base, now := c.objects*recordCount, time.Now().UnixMilli()
	for p := range object.GetSegments() {
		segment := &controlplanev1.SegmentCommit{
			TopicId: c.topic[:], Partition: int32(p), Epoch: 1, BaseOffset: base, RecordCount: recordCount,
			BytePosition: int64(p) * sizeBytes, SizeBytes: sizeBytes, Crc32C: uint32(base) ^ uint32(p), MinTimestampMs: now, MaxTimestampMs: now,
		}
		if c.producers > 0 {
			segment.ProducerBatches = []*controlplanev1.ProducerBatch{{
				ProducerId: 7, BaseSequence: int32(base & 0x7fffffff), RecordCount: recordCount, BaseOffset: base,
			}}
		}
		object.Segments[p] = segment
	}
	return &controlplanev1.CommitRequest{SessionId: c.session, Objects: []*controlplanev1.ObjectCommit{object}}
}
