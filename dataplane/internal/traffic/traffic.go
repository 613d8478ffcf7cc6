// Package traffic counts the bytes of batches that go in and out of an agent: by direction and the other side's zone, for ever, and per second, for
// the agent and for each partition that it leads. Placement balances by it, autoscaling is steered by it, `cluster status` shows it.
// Nothing here decides anything, and no promise rests on a number.
//
// Counting is cheap: an addition for the agent, one for the zone, one for the partition. Rates are averages over about the last minute, brought up to
// date by Run.
//
// Read: traffic.go, rate.go, report.go, zone.go, reading.go.
package traffic

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// maxPartitions bounds the partitions whose bytes are counted; beyond it a partition counts for the agent alone until others have been idle for long.
const maxPartitions = 200_000

// directions is one more than the greatest TrafficDirection.
const directions = int(controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_NOTICE) + 1

// Book counts. It is safe for concurrent use; a nil Book counts nothing.
type Book struct {
	zone     string
	capacity int64
	zones    zones

	in, out    atomic.Int64 // bytes since the start
	partitions sync.Map     // partition.ID → *load
	count      atomic.Int64 // of partitions

	mu      sync.Mutex // guards what Run brings up to date, and what was reported
	inRate  rate
	outRate rate
	said    said
}

// load is how much goes in and out of a partition.
type load struct {
	bytes atomic.Int64 // since the last tick
	rate  rate         // guarded by the book's mutex
}

// New returns an empty book of an agent in a zone that is meant for capacity bytes per second (at least 1). meter shows it.
func New(zone string, capacity int64, meter metric.Meter) (*Book, error) {
	b := &Book{zone: zone, capacity: max(capacity, 1)}
	return b, b.show(meter)
}

// Produced counts bytes that a client in a zone (empty: unknown) sent.
func (b *Book) Produced(zone string, bytes int) {
	if b == nil || bytes == 0 {
		return
	}
	b.in.Add(int64(bytes))
	b.zones.add(controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_PRODUCE, zone, int64(bytes))
}

// Received counts bytes that another agent took from a producer and handed on; that agent counts their way.
func (b *Book) Received(bytes int) {
	if b == nil {
		return
	}
	b.in.Add(int64(bytes))
}

// Fetched counts bytes of a partition that a client in a zone (empty: unknown) got.
func (b *Book) Fetched(zone string, bytes int) {
	if b == nil || bytes == 0 {
		return
	}
	b.out.Add(int64(bytes))
	b.zones.add(controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_FETCH, zone, int64(bytes))
}

// Forwarded counts bytes that went to the leader in a zone; handOff: to the successor of this agent.
func (b *Book) Forwarded(zone string, handOff bool, bytes int) {
	if b == nil {
		return
	}
	direction := controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_FORWARD
	if handOff {
		direction = controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_HANDOFF
	}
	b.zones.add(direction, zone, int64(bytes))
}

// Shared counts bytes of the cache that agents of a zone share.
func (b *Book) Shared(zone string, bytes int) {
	if b == nil {
		return
	}
	b.zones.add(controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_CACHE, zone, int64(bytes))
}

// Noticed counts bytes of commit notices to another agent.
func (b *Book) Noticed(zone string, bytes int) {
	if b == nil {
		return
	}
	b.zones.add(controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_NOTICE, zone, int64(bytes))
}

// Load counts bytes of a partition that this agent leads, whichever way they went.
func (b *Book) Load(p partition.ID, bytes int) {
	if b == nil {
		return
	}
	known, ok := b.partitions.Load(p)
	if !ok {
		if b.count.Load() >= maxPartitions {
			return
		}
		if known, ok = b.partitions.LoadOrStore(p, &load{}); !ok {
			b.count.Add(1)
		}
	}
	known.(*load).bytes.Add(int64(bytes)) //nolint:forcetypeassert // nothing else is stored
}

// Run brings the rates up to date until ctx ends.
func (b *Book) Run(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for last := time.Now(); ; {
		select {
		case now := <-ticker.C:
			b.update(now.Sub(last))
			last = now
		case <-ctx.Done():
			return nil
		}
	}
}

// update takes what was counted in the time passed.
func (b *Book) update(passed time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inRate.take(b.in.Load()-b.inRate.total, passed)
	b.outRate.take(b.out.Load()-b.outRate.total, passed)
	b.partitions.Range(func(p, value any) bool {
		l := value.(*load) //nolint:forcetypeassert // nothing else is stored
		if l.rate.take(l.bytes.Swap(0), passed); l.rate.perSecond() < 1 && l.bytes.Load() == 0 {
			b.partitions.Delete(p) // what is counted at this very moment is lost: it is little
			b.count.Add(-1)
		}
		return true
	})
}
