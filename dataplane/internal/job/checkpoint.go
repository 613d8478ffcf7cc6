package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/streamhouse/streamhouse/dataplane/internal/checkpoint"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/pace"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/serve/crashpoint"
)

// keptCheckpoints is how many stay in the bucket: the newest is used, those before it are for people whose newest is damaged.
const keptCheckpoints = 3

var (
	checkpointAfterRead  = crashpoint.Register("checkpoint.after-read")
	checkpointAfterPut   = crashpoint.Register("checkpoint.after-put")
	checkpointAfterPrune = crashpoint.Register("checkpoint.after-prune")
)

// Checkpointer writes checkpoints.
type Checkpointer struct {
	AgentGroup string
	Control    Control
	Store      objectstore.Store
	// Pace holds back between pages; nil: nothing does.
	Pace *pace.Pace
}

// Checkpoint is the handler of checkpoints. A key that is taken was written by whoever had the job before: it was read after the checkpoint had begun,
// too, and is as good.
func (c Checkpointer) Checkpoint(ctx context.Context, job *controlplanev1.Job) ([]slog.Attr, error) {
	body, head, err := c.read(ctx, job)
	if err != nil {
		return nil, err
	}
	checkpointAfterRead.Here()
	if err := refuseForeign(ctx, c.Store, c.AgentGroup, head); err != nil {
		return nil, err
	}
	key := checkpoint.Key(c.AgentGroup, head.GetIncarnation(), job.GetCheckpoint().GetNumber())
	err = c.Store.Put(ctx, key, [][]byte{body}, objectstore.Checksum(body))
	if errors.Is(err, objectstore.ErrConflict) {
		err = refuseForeign(ctx, c.Store, c.AgentGroup, head) // it came in between
	}
	if err != nil {
		return nil, fmt.Errorf("write checkpoint: %w", err)
	}
	checkpointAfterPut.Here()
	if err := c.prune(ctx); err != nil {
		return nil, err
	}
	checkpointAfterPrune.Here()
	return []slog.Attr{slog.String("key", key), slog.Int("bytes", len(body))}, nil
}

func (c Checkpointer) read(ctx context.Context, job *controlplanev1.Job) (body []byte, head *controlplanev1.CheckpointHead, err error) {
	w := checkpoint.NewWriter()
	for token, more := "", true; more; more = token != "" {
		var res *controlplanev1.ReadCheckpointResponse
		err := c.Pace.Do(ctx, 0, func(ctx context.Context) (err error) {
			res, err = c.Control.ReadCheckpoint(ctx, &controlplanev1.ReadCheckpointRequest{JobId: job.GetJobId(), PageToken: token})
			return err
		})
		if err != nil {
			return nil, nil, fmt.Errorf("read checkpoint: %w", err)
		}
		if res.GetPage().GetHead() != nil {
			head = res.GetPage().GetHead()
		}
		if len(res.GetPage().GetTopics())+len(res.GetPage().GetPartitions()) > 0 || res.GetPage().GetHead() != nil {
			if err := w.Add(res.GetPage()); err != nil {
				return nil, nil, err
			}
		}
		token = res.GetNextPageToken()
	}
	return w.Seal(), head, nil
}

// prune deletes all checkpoints but the newest. An old one that comes late is deleted by the next job.
func (c Checkpointer) prune(ctx context.Context) error {
	keys, err := checkpoint.Keys(ctx, c.Store, c.AgentGroup)
	if err != nil {
		return err
	}
	if len(keys) <= keptCheckpoints {
		return nil
	}
	if err := c.Store.Delete(ctx, keys[:len(keys)-keptCheckpoints]); err != nil {
		return fmt.Errorf("delete old checkpoints: %w", err)
	}
	return nil
}
