package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/streamhouse/streamhouse/client"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/cli/internal/cputime"
	"github.com/streamhouse/streamhouse/cli/internal/histogram"
)

// ControlPlaneConfig says which commits are made: as an agent makes them, one after the other, of objects that nobody uploaded.
type ControlPlaneConfig struct {
	// Entries of a commit, a partition each: every size is measured, without and with an idempotent producer an entry.
	Entries []int `json:"entries"`
	// Duration of each measurement.
	Duration time.Duration `json:"-"`
	WarmUp   time.Duration `json:"-"`
	Limits   bool          `json:"-"`
}

// Most entries of a commit here: one call acquires so many.
const mostEntries = 10_000

// Validate says what is wrong, all of it.
func (c ControlPlaneConfig) Validate() error {
	faults := []error{
		within("duration", c.Duration, 100*time.Millisecond, time.Hour), within("warm-up", c.WarmUp, 0, time.Hour),
		within("entries", len(c.Entries), 1, 20),
	}
	for _, n := range c.Entries {
		faults = append(faults, within("entries", n, 1, mostEntries))
	}
	return errors.Join(faults...)
}

// Transaction is a row of bench controlplane: calls of one shape, one after the other.
type Transaction struct {
	What      string                 `json:"what"`      // commit, acquire
	Entries   int                    `json:"entries"`   // partitions in a call
	Producers int                    `json:"producers"` // idempotent ones, an entry
	PerSecond float64                `json:"calls_per_second"`
	Latency   histogram.Distribution `json:"latency"`
	// CPU microseconds an entry; null: unknown.
	PostgresMicros     *float64 `json:"postgres_cpu_us_per_entry"`
	ControlPlaneMicros *float64 `json:"controlplane_cpu_us_per_entry"`
}

// ControlPlane measures commits and acquires through the control plane.
func ControlPlane(ctx context.Context, target Target, config ControlPlaneConfig) (report Report, drawn []histogram.Series, err error) {
	sdk, err := target.connect()
	if err != nil {
		return Report{}, nil, err
	}
	defer func() { err = errors.Join(err, sdk.Close()) }()
	most := 0
	for _, n := range config.Entries {
		most = max(most, n)
	}
	target.Say("registering as an agent of a group of its own")
	a, err := newBenchAgent(ctx, target, sdk, most)
	defer func() { err = errors.Join(err, a.leave(ctx)) }()
	if err != nil {
		return Report{}, nil, err
	}
	report = newReport("controlplane", config, 0, 0, 0)
	row, err := a.acquireAll(ctx, target)
	if err != nil {
		return report, nil, fmt.Errorf("acquire: %w", err)
	}
	report.Transactions = append(report.Transactions, row)
	for _, entries := range config.Entries {
		for producers := range 2 {
			target.Say("commits of %d entries, %d producers", entries, producers)
			row, latency, note, err := a.commits(ctx, target, config, entries, producers)
			if err != nil {
				return report, drawn, fmt.Errorf("commit: %w", err)
			}
			report.Transactions = append(report.Transactions, row)
			drawn = append(drawn, histogram.Series{Name: fmt.Sprintf("%d entries, %d producers", entries, producers), Histogram: latency})
			if len(report.Notes) == 0 {
				report.note(note)
			}
		}
	}
	if config.Limits {
		report.addCommitLimits(ctx, target, most)
	}
	return report, drawn, nil
}

// acquireAll acquires every partition of the topic, by pages, and times the calls of full pages.
func (a *benchAgent) acquireAll(ctx context.Context, target Target) (Transaction, error) {
	meter, _ := target.meter()
	var latency histogram.Histogram
	ctx, cancel := context.WithTimeout(ctx, prepareTime)
	defer cancel()
	for from := 0; from < len(a.partitions); from += acquirePage {
		page := a.partitions[from:min(from+acquirePage, len(a.partitions))]
		for {
			began := time.Now()
			granted, err := a.acquire(ctx, page)
			if err != nil {
				return Transaction{}, err
			}
			if granted {
				latency.Add(time.Since(began))
				break
			}
			if !pause(ctx, pollEvery) {
				return Transaction{}, fmt.Errorf("wait until the partitions are assigned: %w", ctx.Err())
			}
		}
	}
	return transaction("acquire", min(len(a.partitions), acquirePage), 0, &latency, meter), nil
}

// transaction makes a row.
func transaction(what string, entries, producers int, latency *histogram.Histogram, meter *cputime.Meter) Transaction {
	usage, elapsed := meter.Read("self")
	t := Transaction{What: what, Entries: entries, Producers: producers, Latency: latency.Distribution()}
	t.PerSecond = float64(t.Latency.Samples) / elapsed.Seconds()
	for _, u := range usage {
		micros := u.Time.Seconds() * 1e6 / float64(max(t.Latency.Samples*int64(entries), 1))
		switch u.Name {
		case "postgres":
			t.PostgresMicros = &micros
		case "control planes":
			t.ControlPlaneMicros = &micros
		}
	}
	return t
}

// commits makes commits of one shape for as long as wanted.
func (a *benchAgent) commits(
	ctx context.Context, target Target, c ControlPlaneConfig, entries, producers int,
) (row Transaction, latency *histogram.Histogram, note string, err error) {
	var warm histogram.Histogram
	if err := a.commitUntil(ctx, time.Now().Add(c.WarmUp), entries, producers, &warm); err != nil {
		return Transaction{}, nil, "", err
	}
	meter, note := target.meter()
	latency = &histogram.Histogram{}
	if err := a.commitUntil(ctx, time.Now().Add(c.Duration), entries, producers, latency); err != nil {
		return Transaction{}, nil, "", err
	}
	return transaction("commit", entries, producers, latency, meter), latency, note, nil
}

// commitUntil commits at least once.
func (a *benchAgent) commitUntil(ctx context.Context, end time.Time, entries, producers int, latency *histogram.Histogram) error {
	for {
		request := a.request(entries, producers)
		began := time.Now()
		answer, err := a.service.Commit(ctx, request)
		if err != nil {
			return err
		}
		latency.Add(time.Since(began))
		if err := a.moved(answer, entries, producers > 0); err != nil || time.Now().After(end) {
			return err
		}
	}
}

// What a committed segment says of itself.
const (
	segmentRecords = 100
	segmentBytes   = 10_000
)

// request is the commit of one object with a segment of each of the first partitions.
func (a *benchAgent) request(entries, producers int) *controlplanev1.CommitRequest {
	now := time.Now().UnixMilli()
	object := &controlplanev1.ObjectCommit{Key: a.nextKey(), SizeBytes: int64(entries*segmentBytes + 1000)}
	for i := range entries {
		p := &a.partitions[i]
		s := &controlplanev1.SegmentCommit{
			TopicId: a.topicID, Partition: p.number, Epoch: p.epoch, BaseOffset: p.next, RecordCount: segmentRecords,
			BytePosition: int64(i * segmentBytes), SizeBytes: segmentBytes, Crc32C: uint32(i),
			MinTimestampMs: now, MaxTimestampMs: now, TenureFirstOffset: p.first,
		}
		if producers > 0 {
			s.ProducerBatches = []*controlplanev1.ProducerBatch{{
				ProducerId: a.producerID, BaseSequence: p.sequence, RecordCount: segmentRecords, BaseOffset: p.next,
			}}
		}
		object.Segments = append(object.Segments, s)
	}
	return &controlplanev1.CommitRequest{SessionId: a.session, Objects: []*controlplanev1.ObjectCommit{object}}
}

// moved takes the outcome over: every entry must have been committed.
func (a *benchAgent) moved(answer *controlplanev1.CommitResponse, entries int, withProducers bool) error {
	if len(answer.GetObjects()) != 1 || len(answer.GetObjects()[0].GetSegments()) != entries {
		return fmt.Errorf("the answer does not fit the question: %.200v", answer)
	}
	for i, s := range answer.GetObjects()[0].GetSegments() {
		if s.GetResult() != controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED {
			return fmt.Errorf("partition %d: %v", i, s.GetResult())
		}
		a.partitions[i].next = s.GetHighWatermark()
		if withProducers {
			a.partitions[i].sequence = int32((int64(a.partitions[i].sequence) + segmentRecords) & (1<<31 - 1)) // wraps, as in Kafka
		}
	}
	return nil
}

func (r *Report) addCommitLimits(ctx context.Context, target Target, entries int) {
	r.Limits = &Limits{}
	plain, err := target.commitLimit(ctx, entries, 0)
	r.Limits.CommitPlain = plain
	r.fault(err)
	limit, err := target.commitLimit(ctx, entries, 1)
	r.Limits.Commit = limit
	if err != nil && plain != nil {
		r.fault(err)
	}
	if plain != nil && limit != nil {
		r.ratio("WAL of an entry without producers", plain.Store.WALBytesPerEntry, "B", "<= 330 B")
		r.ratio("WAL of an entry with one idempotent producer", limit.Store.WALBytesPerEntry, "B", "<= 520 B")
		if cpu := plain.Store.PostgresMicros; cpu != nil {
			r.ratio("PostgreSQL's CPU for an entry without producers", *cpu, "us", "<= 7 us")
		}
	}
	for _, t := range r.Transactions {
		switch {
		case t.What == "commit" && t.Entries == 1000 && t.Producers == 0:
			r.ratio("commit of 1,000 entries, p50", t.Latency.P50, "ms", "<= 8 ms")
			r.ratio("commit of 1,000 entries, p99", t.Latency.P99, "ms", "<= 15 ms")
		case t.What == "commit" && t.Entries == 1 && t.Producers == 0:
			r.ratio("commit of one entry, p50", t.Latency.P50, "ms", "<= 0.5 ms")
		}
		if limit != nil && t.What == "commit" && t.Entries == entries && t.Producers == 1 {
			r.ratio("commit through the control plane ÷ bare transaction, p50", t.Latency.P50/limit.Raw.P50, "", "")
		}
	}
}

// uuidBytes reads a UUID.
func uuidBytes(text string) ([]byte, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(b) != 16 {
		return nil, fmt.Errorf("%q is no UUID", text)
	}
	return b, nil
}

// newUUID is a random one, version 4.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// unless leaves an error of that reason out.
func unless(err error, reason client.Reason) error {
	if errors.Is(err, reason) {
		return nil
	}
	return err
}
