package job

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/serve/crashpoint"
)

var (
	sweepAfterKill    = crashpoint.Register("sweep.after-kill")
	sweepAfterDelete  = crashpoint.Register("sweep.after-delete")
	sweepAfterConfirm = crashpoint.Register("sweep.after-confirm")
)

// Sweep is the handler of sweeps: it lists a part of the bucket, names what is old, and deletes what is dead. The age only spares questions: an object
// that the control plane does not know is first killed there, so that a late commit fails, and deleted then.
func (d *Deleter) Sweep(ctx context.Context, job *controlplanev1.Job) ([]slog.Attr, error) {
	if job.GetSweep().GetNewestCheckpoint() > 0 { // else an older release has planned it
		if err := refuseForeign(ctx, d.store, d.agentGroup, &controlplanev1.CheckpointHead{
			CatalogId: job.GetSweep().GetCatalogId(), Incarnation: job.GetSweep().GetIncarnation(), Number: job.GetSweep().GetNewestCheckpoint(),
		}); err != nil {
			return nil, err
		}
	}
	var listed, dead int
	for after, more := "", true; more; {
		var page objectstore.Page
		err := d.pace.Do(ctx, 0, func(ctx context.Context) (err error) {
			page, err = d.store.List(ctx, job.GetSweep().GetPrefix(), after, objectstore.MaxListLimit)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", job.GetSweep().GetPrefix(), err)
		}
		n, err := d.sweepPage(ctx, job, old(page.Objects, time.Duration(job.GetSweep().GetMinAgeMs())*time.Millisecond))
		if err != nil {
			return nil, err
		}
		listed, dead = listed+len(page.Objects), dead+n
		if more = page.More && len(page.Objects) > 0; more {
			after = page.Objects[len(page.Objects)-1].Key
		}
	}
	return []slog.Attr{slog.String("prefix", job.GetSweep().GetPrefix()), slog.Int("listed", listed), slog.Int("orphans", dead)}, nil
}

func old(objects []objectstore.Info, age time.Duration) (keys []string) {
	for _, o := range objects {
		if time.Since(o.ModifiedAt) >= age {
			keys = append(keys, o.Key)
		}
	}
	return keys
}

func (d *Deleter) sweepPage(ctx context.Context, job *controlplanev1.Job, keys []string) (dead int, err error) {
	if len(keys) == 0 {
		return 0, nil
	}
	res, err := d.control.SweepKeys(ctx, &controlplanev1.SweepKeysRequest{JobId: job.GetJobId(), Keys: keys})
	if err != nil {
		return 0, fmt.Errorf("ask about %d keys: %w", len(keys), err)
	}
	sweepAfterKill.Here()
	d.orphans.Add(ctx, int64(len(res.GetDead())))
	return len(res.GetDead()), d.remove(ctx, job, res.GetDead(), sweepAfterDelete, sweepAfterConfirm)
}
