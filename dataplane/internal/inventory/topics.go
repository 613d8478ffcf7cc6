package inventory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"

	"github.com/streamhouse/streamhouse/dataplane/internal/checkpoint"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

// messagePartitions bounds a message.
const messagePartitions = 10_000

// ReadTopics streams the newest checkpoint, and then the descriptions: one that is written meanwhile is of a topic that had no commit when the
// catalog was lost. A newest checkpoint that cannot be read is an error, not a reason to take an older one: objects that the newest let go are gone.
func (s *Service) ReadTopics(
	ctx context.Context, _ *dataplanev1.ReadTopicsRequest, stream dataplanev1connect.BucketServiceReadTopicsServerStream,
) error {
	done, err := s.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	checkpoints, err := checkpoint.Keys(ctx, s.store, s.agentGroup)
	if err != nil {
		return unavailable(ctx, err)
	}
	if len(checkpoints) > 0 {
		if err := s.sendPages(ctx, stream, checkpoints[len(checkpoints)-1], true); err != nil {
			return err
		}
	}
	return s.each(ctx, checkpoint.DescriptionPrefix(s.agentGroup), func(info objectstore.Info) error {
		if _, mine := checkpoint.ParseDescriptionKey(s.agentGroup, info.Key); !mine {
			return nil
		}
		return s.sendPages(ctx, stream, info.Key, false)
	})
}

// each walks over the objects under a prefix.
func (s *Service) each(ctx context.Context, prefix string, do func(objectstore.Info) error) error {
	for after := ""; ; {
		page, err := s.store.List(ctx, prefix, after, objectstore.MaxListLimit)
		if err != nil {
			return unavailable(ctx, err)
		}
		for _, info := range page.Objects {
			if err := do(info); err != nil {
				return err
			}
		}
		if !page.More || len(page.Objects) == 0 {
			return nil
		}
		after = page.Objects[len(page.Objects)-1].Key
	}
}

func (s *Service) sendPages(ctx context.Context, stream dataplanev1connect.BucketServiceReadTopicsServerStream, key string, isCheckpoint bool) error {
	pages, err := checkpoint.Load(ctx, s.store, key)
	if unlessGone(err) == nil && err != nil {
		return nil //nolint:nilerr // a description that a newer checkpoint has made superfluous
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	incarnation := int32(0)
	for _, page := range pages {
		if page.GetHead() != nil {
			incarnation = page.GetHead().GetIncarnation()
		}
		if err := s.sendPage(stream, page, &dataplanev1.ReadTopicsResponse{Checkpoint: isCheckpoint, Incarnation: incarnation}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) sendPage(
	stream dataplanev1connect.BucketServiceReadTopicsServerStream, page *controlplanev1.CheckpointPage, of *dataplanev1.ReadTopicsResponse,
) error {
	for topics := range slices.Chunk(page.GetTopics(), messagePartitions) {
		message := &dataplanev1.ReadTopicsResponse{Checkpoint: of.GetCheckpoint(), Incarnation: of.GetIncarnation()}
		for _, t := range topics {
			message.Topics = append(message.Topics, s.recoveredTopic(t))
		}
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	for partitions := range slices.Chunk(page.GetPartitions(), messagePartitions) {
		message := &dataplanev1.ReadTopicsResponse{Checkpoint: of.GetCheckpoint(), Incarnation: of.GetIncarnation()}
		for _, p := range partitions {
			message.Partitions = append(message.Partitions, &controlplanev1.RecoveredPartition{
				TopicId: p.GetTopicId(), Partition: p.GetPartition(), LogStartOffset: p.GetLogStartOffset(), HighWatermark: p.GetHighWatermark(), Epoch: p.GetEpoch(),
			})
		}
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) recoveredTopic(t *controlplanev1.CheckpointTopic) *controlplanev1.RecoveredTopic {
	var id object.UUID
	copy(id[:], t.GetTopicId())
	return &controlplanev1.RecoveredTopic{Deleted: t.GetDeleted(), Topic: &controlplanev1.Topic{
		TopicId: id.String(), Name: t.GetName(), AgentGroup: s.agentGroup, PartitionCount: t.GetPartitionCount(), Config: t.GetConfig(),
		CreatedAt: timestamppb.New(time.UnixMilli(t.GetCreatedAtMs())),
	}}
}
