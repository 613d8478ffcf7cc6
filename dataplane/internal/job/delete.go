package job

import (
	"context"
	"fmt"
	"log/slog"

	"go.opentelemetry.io/otel/metric"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/pace"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/serve/crashpoint"
)

var (
	deleteAfterDelete  = crashpoint.Register("delete.after-delete")
	deleteAfterConfirm = crashpoint.Register("delete.after-confirm")
)

// Deleter deletes objects that the control plane has called dead.
type Deleter struct {
	agentGroup string
	control    Control
	store      objectstore.Store
	pace       *pace.Pace
	deleted    metric.Int64Counter
	orphans    metric.Int64Counter
}

// NewDeleter makes a deleter, which pace holds back between pages; nil: nothing does. An error comes from meter.
func NewDeleter(agentGroup string, control Control, store objectstore.Store, pace *pace.Pace, meter metric.Meter) (d *Deleter, err error) {
	d = &Deleter{agentGroup: agentGroup, control: control, store: store, pace: pace}
	d.deleted, err = meter.Int64Counter("streamhouse.job.objects.deleted", metric.WithUnit("{object}"),
		metric.WithDescription("Objects deleted from the bucket, because nothing refers to them or nobody has committed them."))
	if err != nil {
		return nil, err
	}
	d.orphans, err = meter.Int64Counter("streamhouse.job.orphans", metric.WithUnit("{object}"),
		metric.WithDescription("Objects found in the bucket that nothing refers to."))
	if err != nil {
		return nil, err
	}
	d.deleted.Add(context.Background(), 0) // so that both are there before the first
	d.orphans.Add(context.Background(), 0)
	return d, nil
}

// Delete is the handler of deletions.
func (d *Deleter) Delete(ctx context.Context, job *controlplanev1.Job) ([]slog.Attr, error) {
	keys := job.GetDelete().GetKeys()
	if err := d.remove(ctx, job, keys, deleteAfterDelete, deleteAfterConfirm); err != nil {
		return nil, err
	}
	return []slog.Attr{slog.Int("objects", len(keys))}, nil
}

// remove deletes and then confirms. What is deleted and not confirmed is deleted once more by whoever comes next, which is no error.
func (d *Deleter) remove(ctx context.Context, job *controlplanev1.Job, keys []string, deleted, confirmed crashpoint.Point) error {
	if len(keys) == 0 {
		return nil
	}
	if err := d.pace.Do(ctx, 0, func(ctx context.Context) error { return d.store.Delete(ctx, keys) }); err != nil {
		return fmt.Errorf("delete %d objects: %w", len(keys), err)
	}
	deleted.Here()
	d.deleted.Add(ctx, int64(len(keys)))
	if _, err := d.control.ConfirmDeleted(ctx, &controlplanev1.ConfirmDeletedRequest{JobId: job.GetJobId(), Keys: keys}); err != nil {
		return fmt.Errorf("confirm deletion: %w", err)
	}
	confirmed.Here()
	return nil
}
