package lease

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/catalog"
	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// callTimeout bounds a call over all control-plane addresses.
const callTimeout = 5 * time.Second

// retry spaces out attempts at one partition that came to nothing.
type retry struct {
	backoff  catalog.Backoff
	at       time.Time
	revision int64 // of the row at the last attempt: a new one is tried at once
}

// due tells whether the partition may be tried now.
func (m *Manager) due(p partition.ID) bool {
	r := m.retry[p]
	return r == nil || !time.Now().Before(r.at) || r.revision != m.Table.Row(p).Revision
}

func (m *Manager) postpone(p partition.ID) {
	r := m.retry[p]
	if r == nil {
		r = &retry{backoff: catalog.Backoff{First: 100 * time.Millisecond, Most: time.Second}}
		m.retry[p] = r
	}
	r.at, r.revision = time.Now().Add(r.backoff.Next()), m.Table.Row(p).Revision
}

// untilLook is the time to the next tick, or to the first retry.
func (m *Manager) untilLook(now time.Time) time.Duration {
	wait := tick
	for _, r := range m.retry {
		if d := r.at.Sub(now); d > 0 {
			wait = min(wait, d)
		}
	}
	return wait
}

// acquire asks for leases, as many a call as fit.
func (m *Manager) acquire(ctx context.Context, wanted []partition.ID) {
	wanted = slices.DeleteFunc(wanted, func(p partition.ID) bool { return !m.due(p) })
	for chunk := range slices.Chunk(wanted, maxPartitions) {
		if ctx.Err() != nil {
			return
		}
		m.acquireSome(ctx, chunk)
	}
}

func (m *Manager) acquireSome(ctx context.Context, wanted []partition.ID) {
	req := &controlplanev1.AcquireRequest{SessionId: m.Session}
	for _, p := range wanted {
		req.Partitions = append(req.Partitions, &controlplanev1.AcquirePartition{
			TopicId: bytes.Clone(p.Topic[:]), Partition: p.Number, LastEndedEpoch: m.Ledger.LastEnded(p),
		})
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	res, err := m.Catalog.Acquire(ctx, req)
	if err != nil || len(res.GetOutcomes()) != len(wanted) {
		m.Log.WarnContext(ctx, "acquire is repeated", slog.Int("partitions", len(wanted)), slog.Any("error", err))
		for _, p := range wanted {
			m.postpone(p)
		}
		return
	}
	m.acquired(ctx, wanted, res.GetOutcomes())
}

// acquired takes the outcomes. A refusal is tried again later, if placement still says so then; a demand is made again by the next write.
func (m *Manager) acquired(ctx context.Context, wanted []partition.ID, outcomes []*controlplanev1.AcquireOutcome) {
	m.mu.Lock()
	for _, p := range wanted {
		delete(m.demanded, p)
	}
	m.mu.Unlock()
	granted := make([]ingest.Granted, 0, len(wanted))
	for i, p := range wanted {
		grant := outcomes[i].GetGrant()
		if grant == nil {
			m.refused(ctx, p, outcomes[i].GetRefusal())
			continue
		}
		delete(m.retry, p)
		m.Observer.Led(p, grant.GetEpoch(), grant.GetLogStartOffset(), grant.GetHighWatermark())
		granted = append(granted, ingest.Granted{Partition: p, Grant: grant})
	}
	for i, began := range m.Ledger.GrantAll(granted) {
		p, grant := granted[i].Partition, granted[i].Grant
		if !began {
			m.Observer.Moved(p, grant.GetEpoch())
			continue
		}
		m.Log.InfoContext(ctx, "tenure began", slog.String("partition", p.String()), slog.Int("epoch", int(grant.GetEpoch())),
			slog.Int64("high_watermark", grant.GetHighWatermark()))
	}
}

func (m *Manager) refused(ctx context.Context, p partition.ID, r *refusalv1.Refusal) {
	m.postpone(p)
	if r.GetReason() == refusalv1.Reason_REASON_UNKNOWN_TOPIC {
		m.Table.Forget(p.Topic)
	}
	m.Log.DebugContext(ctx, "lease was refused", slog.String("partition", p.String()), slog.String("reason", r.GetReason().String()))
}

// release tells the catalog of the tenures that have ended here, until it has answered.
func (m *Manager) release(ctx context.Context) {
	var due []partition.ID
	for p := range m.releasing {
		if m.due(p) {
			due = append(due, p)
		}
	}
	for chunk := range slices.Chunk(due, maxPartitions) {
		if ctx.Err() != nil {
			return
		}
		m.releaseSome(ctx, chunk)
	}
}

func (m *Manager) releaseSome(ctx context.Context, ended []partition.ID) {
	req := &controlplanev1.ReleaseRequest{SessionId: m.Session}
	for _, p := range ended {
		req.Partitions = append(req.Partitions, &controlplanev1.ReleasePartition{
			TopicId: bytes.Clone(p.Topic[:]), Partition: p.Number, Epoch: m.releasing[p],
		})
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := m.Catalog.Release(ctx, req)
	if err != nil {
		m.Log.WarnContext(ctx, "release is repeated", slog.Int("partitions", len(ended)), slog.Any("error", err))
	}
	for i, p := range ended {
		if err == nil {
			m.Log.InfoContext(ctx, "tenure ended", slog.String("partition", p.String()), slog.Int("epoch", int(req.GetPartitions()[i].GetEpoch())))
			delete(m.releasing, p)
		}
		m.postpone(p)
	}
}
