package route

import (
	"context"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// Description is what the bucket must say of a topic before anything of it is committed (P9).
type Description struct {
	// Needless: a checkpoint in the bucket has the topic, or it is deleted, so that nothing of it will be committed.
	Needless bool
	// Topic is what to say otherwise.
	Topic *controlplanev1.CheckpointTopic
}

// Describe asks the control plane for a topic that the table does not know. Errors are as those of ResolveTopic by id, but for UNKNOWN_TOPIC: such a topic is
// deleted.
func (t *Table) Describe(ctx context.Context, id object.UUID) (Description, error) {
	if d, known := t.describe(id); known {
		return d, nil
	}
	if _, err := t.ResolveTopic(ctx, "", id.String()); err != nil && !refusal.Is(err, refusalv1.Reason_REASON_UNKNOWN_TOPIC) {
		return Description{}, err
	}
	if d, known := t.describe(id); known {
		return d, nil
	}
	return Description{Needless: true}, nil
}

func (t *Table) describe(id object.UUID) (d Description, known bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	topic, known := t.topics[id]
	return Description{Needless: topic.deleted || topic.undescribed == nil, Topic: topic.undescribed}, known
}

// undescribed is what a description of the topic says; nil: it needs none.
func undescribed(p *controlplanev1.PlacedTopic) *controlplanev1.CheckpointTopic {
	if p.GetDescribed() || p.GetDeleted() {
		return nil
	}
	return &controlplanev1.CheckpointTopic{
		TopicId: p.GetTopicId(), Name: p.GetName(), PartitionCount: p.GetPartitionCount(), Config: p.GetConfig(), CreatedAtMs: p.GetCreatedAtMs(),
	}
}
