package lease

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/streamhouse/streamhouse/dataplane/internal/catalog"
	"github.com/streamhouse/streamhouse/dataplane/internal/ingest"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/tracing"
)

// callTimeout bounds a call over all control-plane addresses.
const callTimeout = 5 * time.Second

// calls are those on their way. The manager's loop begins them and applies their answers; nothing waits for a call while others could go on.
type calls struct {
	running *sync.WaitGroup
	// answers take what the loop does when a call has ended. There is room for one from every call: none waits for the loop.
	answers   chan func(context.Context)
	acquiring map[partition.ID]struct{} // named by a call on its way
	releasing map[partition.ID]struct{}
	acquires  int
	releases  int
}

func newCalls() calls {
	return calls{
		running: &sync.WaitGroup{}, answers: make(chan func(context.Context), 2*maxCalls),
		acquiring: map[partition.ID]struct{}{}, releasing: map[partition.ID]struct{}{},
	}
}

func (c *calls) wait() { c.running.Wait() }

// applyOthers applies what else has been answered, before the next look.
func (c *calls) applyOthers(ctx context.Context) {
	for {
		select {
		case apply := <-c.answers:
			apply(ctx)
		default:
			return
		}
	}
}

// retry spaces out attempts at one partition that came to nothing.
type retry struct {
	backoff  catalog.Backoff
	at       time.Time
	revision int64 // of the row at the last attempt: a new one is tried at once
	held     bool  // another agent led it then
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

// patience is how often a lease is asked for that another agent holds and is going to hand over: word of that, or the feed, comes first.
const patience, mostPatience = 250 * time.Millisecond, 10 * time.Second

// mayAsk tells whether a lease should be asked for now.
func (m *Manager) mayAsk(w want) bool {
	r := m.retry[w.partition]
	if _, asked := m.calls.acquiring[w.partition]; asked {
		return false
	}
	switch {
	case w.said:
		return true
	case w.held && (r == nil || !r.held):
		r = &retry{held: true, backoff: catalog.Backoff{First: patience, Most: mostPatience}}
		m.retry[w.partition] = r
		r.at, r.revision = time.Now().Add(r.backoff.Next()), m.Table.Row(w.partition).Revision
		return false
	case w.held:
		return !time.Now().Before(r.at)
	default:
		return (r != nil && r.held) || m.due(w.partition)
	}
}

// retryGrain is how close two looks for retries may be: thousands of partitions each have a time of their own.
const retryGrain = 50 * time.Millisecond

// untilLook is the time to the next tick, or to the first retry.
func (m *Manager) untilLook(now time.Time) time.Duration {
	wait := tick
	select {
	case <-m.drain:
		wait = drainTick
	default:
	}
	for _, r := range m.retry {
		if d := r.at.Sub(now); d > 0 {
			wait = min(wait, max(d, retryGrain))
		}
	}
	return wait
}

// acquire asks for leases: as many a call as fit, several calls at once.
func (m *Manager) acquire(ctx context.Context, wants []want) {
	var wanted []partition.ID
	for _, w := range wants {
		if m.mayAsk(w) {
			wanted = append(wanted, w.partition)
		}
	}
	for chunk := range slices.Chunk(wanted, maxPartitions) {
		if m.calls.acquires == maxCalls {
			return // the next answer brings the next look
		}
		m.calls.acquires++
		said := make([]partition.Epoch, len(chunk))
		m.mu.Lock()
		for i, p := range chunk {
			m.calls.acquiring[p] = struct{}{}
			said[i] = m.expected[p]
		}
		m.mu.Unlock()
		req := m.acquireRequest(chunk)
		m.calls.running.Go(func() { m.askFor(ctx, chunk, said, req) })
	}
}

func (m *Manager) acquireRequest(wanted []partition.ID) *controlplanev1.AcquireRequest {
	req := &controlplanev1.AcquireRequest{SessionId: m.Session}
	for _, p := range wanted {
		req.Partitions = append(req.Partitions, &controlplanev1.AcquirePartition{
			TopicId: bytes.Clone(p.Topic[:]), Partition: p.Number, LastEndedEpoch: m.Ledger.LastEnded(p),
		})
	}
	return req
}

// askFor is one call; said has what was expected when it began: its answer says nothing about what has been expected since.
func (m *Manager) askFor(ctx context.Context, wanted []partition.ID, said []partition.Epoch, req *controlplanev1.AcquireRequest) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	call, span := m.Tracer.Rare(ctx, "lease.acquire")
	res, err := m.Catalog.Acquire(call, req)
	m.endSpan(span, len(wanted), err)
	m.calls.answers <- func(ctx context.Context) {
		m.calls.acquires--
		for _, p := range wanted {
			delete(m.calls.acquiring, p)
		}
		if err == nil && len(res.GetOutcomes()) == len(wanted) {
			m.acquired(ctx, wanted, said, res.GetOutcomes())
			return
		}
		m.Log.WarnContext(ctx, "acquire is repeated", slog.Int("partitions", len(wanted)), slog.Any("error", err))
		for _, p := range wanted {
			m.postpone(p)
		}
	}
}

// acquired takes the outcomes. A refusal is tried again later, if placement still says so then; a demand is made again by the next write.
func (m *Manager) acquired(ctx context.Context, wanted []partition.ID, said []partition.Epoch, outcomes []*controlplanev1.AcquireOutcome) {
	granted := make([]ingest.Granted, 0, len(wanted))
	for i, p := range wanted {
		grant := outcomes[i].GetGrant()
		m.heard(p, said[i], grant.GetEpoch())
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

// heard: the catalog has spoken, so what was said before the question counts no more. granted is the epoch, 0 for a refusal.
func (m *Manager) heard(p partition.ID, said, granted partition.Epoch) {
	m.mu.Lock()
	delete(m.demanded, p)
	wrong := said > granted
	if m.expected[p] <= max(said, granted) {
		delete(m.expected, p)
	}
	m.mu.Unlock()
	if wrong {
		m.Table.Unhear(p, said)
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
		if _, told := m.calls.releasing[p]; !told && m.due(p) {
			due = append(due, p)
		}
	}
	for chunk := range slices.Chunk(due, maxPartitions) {
		if m.calls.releases == maxCalls {
			return // the next answer brings the next look
		}
		m.calls.releases++
		req := &controlplanev1.ReleaseRequest{SessionId: m.Session}
		for _, p := range chunk {
			m.calls.releasing[p] = struct{}{}
			req.Partitions = append(req.Partitions, &controlplanev1.ReleasePartition{
				TopicId: bytes.Clone(p.Topic[:]), Partition: p.Number, Epoch: m.releasing[p],
			})
		}
		m.calls.running.Go(func() { m.giveUp(ctx, chunk, req) })
	}
}

// endSpan ends the span of a call about so many partitions.
func (m *Manager) endSpan(span trace.Span, partitions int, err error) {
	if span.IsRecording() {
		span.SetAttributes(attribute.String("streamhouse.session_id", m.Session), attribute.Int("streamhouse.partitions", partitions))
		if err != nil {
			tracing.Fail(span, connect.CodeOf(err).String())
		}
	}
	span.End()
}

func (m *Manager) giveUp(ctx context.Context, ended []partition.ID, req *controlplanev1.ReleaseRequest) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	call, span := m.Tracer.Rare(call, "lease.release")
	res, err := m.Catalog.Release(call, req)
	m.endSpan(span, len(ended), err)
	if err == nil { // at once, not when the loop has time: producers wait for it
		m.handOver(ctx, ended, res.GetOutcomes())
	}
	m.calls.answers <- func(ctx context.Context) {
		m.calls.releases--
		if err != nil {
			m.Log.WarnContext(ctx, "release is repeated", slog.Int("partitions", len(ended)), slog.Any("error", err))
		}
		for i, p := range ended {
			delete(m.calls.releasing, p)
			if err != nil {
				m.postpone(p)
				continue
			}
			m.released(ctx, p, req.GetPartitions()[i].GetEpoch())
		}
	}
}

// released: the catalog knows. Until the feed says so, too, the answer is remembered.
func (m *Manager) released(ctx context.Context, p partition.ID, epoch partition.Epoch) {
	m.Log.InfoContext(ctx, "tenure ended", slog.String("partition", p.String()), slog.Int("epoch", int(epoch)))
	if m.releasing[p] == epoch {
		delete(m.releasing, p)
	}
	delete(m.retry, p)
	m.answered[p] = epoch
}

// leaderOf is who leads after a release; false: nobody does.
func leaderOf(out *controlplanev1.ReleaseOutcome) (route.Leader, bool) {
	l := out.GetLeader()
	return route.Leader{
		Agent: route.Agent{ID: l.GetAgentId(), Zone: l.GetZone(), Address: l.GetAddress()}, Epoch: l.GetEpoch(),
	}, l.GetAgentId() != "" && l.GetAddress() != ""
}
