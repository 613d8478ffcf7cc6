package traffic

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

const (
	// reportEvery is how often a report is due; soonest, how soon one is that has news.
	reportEvery = 10 * time.Second
	soonest     = 3 * time.Second
	// leastLoad is what a partition must have, in bytes per second, to be named in a report.
	leastLoad = 1 << 10
	// maxReported is how many partitions a report names.
	maxReported = 1000
	// news is the change of the agent's bytes per second that is reported soon: a quarter, and no less than this.
	leastNews = 1 << 20
)

// said is what was reported last.
type said struct {
	at   time.Time
	rate int64
}

// Report is what the control plane should know now; nil: nothing new yet. Taken says that it has arrived.
func (b *Book) Report(now time.Time) *controlplanev1.AgentReport {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	in, out := b.inRate.perSecond(), b.outRate.perSecond()
	if age := now.Sub(b.said.at); age < soonest || (age < reportEvery && !changedMuch(b.said.rate, in+out)) {
		return nil
	}
	report := &controlplanev1.AgentReport{InBytesPerSecond: in, OutBytesPerSecond: out, Partitions: b.busiest()}
	b.zones.each(func(direction controlplanev1.TrafficDirection, zone string, total int64) {
		report.Traffic = append(report.Traffic, &controlplanev1.Traffic{Direction: direction, Zone: zone, Bytes: total})
	})
	return report
}

// Taken says that a report has arrived that was made at a time.
func (b *Book) Taken(report *controlplanev1.AgentReport, made time.Time) {
	if report == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = said{made, report.GetInBytesPerSecond() + report.GetOutBytesPerSecond()}
}

func changedMuch(before, now int64) bool {
	return max(before-now, now-before) > max(leastNews, before/4)
}

// busiest requires mu.
func (b *Book) busiest() []*controlplanev1.PartitionLoad {
	type busy struct {
		partition partition.ID
		perSecond int64
	}
	var all []busy
	b.partitions.Range(func(p, value any) bool {
		if perSecond := value.(*load).rate.perSecond(); perSecond >= leastLoad { //nolint:forcetypeassert // nothing else is stored
			all = append(all, busy{p.(partition.ID), perSecond}) //nolint:forcetypeassert // nothing else is stored
		}
		return true
	})
	slices.SortFunc(all, func(x, y busy) int { return cmp.Compare(y.perSecond, x.perSecond) })
	all = all[:min(len(all), maxReported)]
	loads := make([]*controlplanev1.PartitionLoad, len(all))
	for i, l := range all {
		loads[i] = &controlplanev1.PartitionLoad{
			TopicId: bytes.Clone(l.partition.Topic[:]), Partition: l.partition.Number, BytesPerSecond: l.perSecond,
		}
	}
	return loads
}

// show has a meter read the book.
func (b *Book) show(meter metric.Meter) error {
	total, err := meter.Int64ObservableCounter("streamhouse.traffic.bytes", metric.WithUnit("By"),
		metric.WithDescription("Bytes of batches by direction, zone of the other side and zone of the agent."))
	if err != nil {
		return fmt.Errorf("meter traffic: %w", err)
	}
	utilization, err := meter.Float64ObservableGauge("streamhouse.agent.utilization", metric.WithUnit("1"),
		metric.WithDescription("Bytes per second in and out, an average over about a minute, as a share of --capacity: what to scale on."))
	if err != nil {
		return fmt.Errorf("meter traffic: %w", err)
	}
	_, err = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		b.zones.each(func(direction controlplanev1.TrafficDirection, zone string, bytes int64) {
			o.ObserveInt64(total, bytes, metric.WithAttributeSet(attribute.NewSet(
				attribute.String("direction", directionName(direction)), attribute.String("zone", zone), attribute.String("own_zone", b.zone))))
		})
		o.ObserveFloat64(utilization, b.utilization())
		return nil
	}, total, utilization)
	if err != nil {
		return fmt.Errorf("meter traffic: %w", err)
	}
	return nil
}

// utilization is the share of the capacity that is used.
func (b *Book) utilization() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return float64(b.inRate.perSecond()+b.outRate.perSecond()) / float64(b.capacity)
}

func directionName(d controlplanev1.TrafficDirection) string {
	return strings.ToLower(strings.TrimPrefix(d.String(), "TRAFFIC_DIRECTION_"))
}
