package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/streamhouse/streamhouse/client"

	"github.com/streamhouse/streamhouse/cli/internal/histogram"
)

// LatencyConfig says at which rate records are sent while nothing else is asked of the cluster.
type LatencyConfig struct {
	Duration    time.Duration `json:"-"`
	WarmUp      time.Duration `json:"-"`
	Rate        float64       `json:"rate"` // records per second
	RecordBytes int           `json:"record_bytes"`
	Partitions  int           `json:"partitions"`
	Acks        string        `json:"acks"`
	Payload     string        `json:"payload"`
	Linger      time.Duration `json:"-"` // of the SDK
	// Delivery is measured, too: by a consumer that asks an agent which does not lead.
	Delivery bool `json:"delivery"`
	Keep     bool `json:"-"`
	Limits   bool `json:"-"`
}

// Validate says what is wrong, all of it.
func (c LatencyConfig) Validate() error {
	return errors.Join(
		within("duration", c.Duration, 100*time.Millisecond, time.Hour), within("warm-up", c.WarmUp, 0, time.Hour), within("rate", c.Rate, 0.1, 1e6),
		within("record-bytes", c.RecordBytes, minRecordBytes, maxRecordBytes), within("partitions", c.Partitions, 1, 100_000),
		within("linger", c.Linger, 0, time.Minute),
	)
}

// produce is the same load as bench produce would make.
func (c LatencyConfig) produce() ProduceConfig {
	return ProduceConfig{
		Duration: c.Duration, WarmUp: c.WarmUp, Rate: c.Rate, RecordBytes: c.RecordBytes, Topics: 1, Partitions: c.Partitions, Producers: 1,
		Acks: c.Acks, Payload: c.Payload, Batch: BatchSDK, BatchBytes: 1 << 20, Linger: c.Linger,
		Verify: true, // values are stamped
	}
}

// Latency measures how long a record takes at a fixed rate.
func Latency(ctx context.Context, target Target, config LatencyConfig) (report Report, drawn []histogram.Series, err error) {
	sdk, err := target.connect()
	if err != nil {
		return Report{}, nil, err
	}
	defer func() { err = errors.Join(err, sdk.Close()) }()
	load := config.produce()
	buffered := load.Acks == AcksBuffered
	topics, err := makeTopics(ctx, target, sdk, "latency", 1, config.Partitions, client.TopicConfig{AllowBufferedAcks: &buffered})
	topics.keep = config.Keep
	defer func() { err = errors.Join(err, topics.remove(ctx)) }()
	if err != nil {
		return Report{}, nil, err
	}
	tally, values := &tally{}, newPayload(config.Payload, config.RecordBytes)
	sending, err := newProducers(target, load, tally, values, topics.names) //nolint:contextcheck // they live until they are closed
	if err != nil {
		return Report{}, nil, err
	}
	defer func() { err = errors.Join(err, closeWithin(ctx, sending)) }()
	watch := config.watch(ctx, target, topics, sending, tally)
	found := measure(ctx, target, load, sending, tally)
	report = produceReport(load, found, tally, values, sending)
	report.Bench, report.Config = "latency", config
	drawn = []histogram.Series{{Name: "acknowledgement", Histogram: &tally.latency}}
	if d := watch.finish(ctx, &report); d != nil {
		drawn = append(drawn, histogram.Series{Name: "delivery", Histogram: &d.latency})
	}
	if err := errors.Join(found.err, tally.failure()); err != nil {
		return report, drawn, err
	}
	if config.Limits {
		report.addLatencyLimits(ctx, target, config)
	}
	return report, drawn, nil
}

// closeWithin ends what sends, and waits for the answers for a while.
func closeWithin(ctx context.Context, sending traffic) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	return sending.close(ctx)
}

// watched is a delivery, or why there is none.
type watched struct {
	delivery *delivery
	note     string
}

func (c LatencyConfig) watch(ctx context.Context, target Target, topics *topics, sending *producers, t *tally) watched {
	if !c.Delivery {
		return watched{}
	}
	d, err := watchDelivery(ctx, target, topics.sdk, topics.names[0], sending.loads[0], t)
	if err != nil {
		return watched{note: err.Error()}
	}
	return watched{delivery: d}
}

// finish waits for the last deliveries.
func (w watched) finish(ctx context.Context, r *Report) *delivery {
	r.note(w.note)
	if w.delivery == nil {
		return nil
	}
	count := r.Latency.Samples
	if len(w.delivery.partitions) < r.Config.(LatencyConfig).Partitions { //nolint:forcetypeassert // set above
		count = 0 // the others do not come this way
	}
	d, err := w.delivery.await(ctx, count)
	if err != nil {
		r.note("delivery was not measured: " + err.Error())
		return nil
	}
	r.Delivery = d
	r.ratio("delivery − acknowledgement, p50", d.P50-r.Latency.P50, "ms", "")
	r.ratio("delivery − acknowledgement, p99", d.P99-r.Latency.P99, "ms", "<= 20 ms")
	return w.delivery
}

// maxEvery bounds the pause between two calls of a limit's measurement.
const maxEvery = 100 * time.Millisecond

// smallObjectOverhead is about what an object has beside its one record: batch header, footer.
const smallObjectOverhead = 300

// addLatencyLimits measures one PUT and one commit of what such a record needs, one after the other and as often as records were sent: processors
// that rest between two calls take longer for each.
func (r *Report) addLatencyLimits(ctx context.Context, target Target, c LatencyConfig) {
	r.Limits = &Limits{}
	target.Every = min(time.Duration(float64(time.Second)/c.Rate), maxEvery)
	var err error
	r.Limits.Put, r.Limits.Get, err = target.storeLimit(ctx, int64(c.RecordBytes+smallObjectOverhead), 1)
	r.fault(err)
	r.Limits.Commit, err = target.commitLimit(ctx, 1, 1)
	r.fault(err)
	put, commit := r.Limits.Put, r.Limits.Commit
	if put == nil || commit == nil {
		return
	}
	p50, p99 := put.P50+commit.Store.P50, put.P99+commit.Store.P99
	r.note(fmt.Sprintf("PUT + commit alone: p50 %.2f ms, p99 %.2f ms", p50, p99))
	r.ratio("acknowledgement − (PUT + commit), p50", r.Latency.P50-p50, "ms", "<= 0.8 ms with the PUT budget out of the way")
	r.ratio("acknowledgement − (PUT + commit), p99", r.Latency.P99-p99, "ms", "<= 2 ms with the PUT budget out of the way")
	r.ratio("acknowledgement ÷ (PUT + commit), p50", r.Latency.P50/p50, "", "<= 1.1 with PUTs delayed by 20 ms")
}
