// Package retention_test lets records grow old, and deletes them, under real processes: by time, by bytes, by an operator's will, with their
// topic; and gives a topic more partitions while it is written to.
//
// Promises: P1 above the log start, P2 across new partitions, P8 as far as the catalog goes.
// Read: retention_test.go, partitions_test.go.
package retention_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/command"
	"github.com/streamhouse/streamhouse/e2e/workload"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// patience is exceeded by a hang alone.
const patience = 4 * time.Minute

// rig is a small cluster in which retention looks ten times a second.
type rig struct {
	*cluster.Cluster
	ctx context.Context
	sdk *client.Client
}

func newRig(t *testing.T) *rig {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	c := cluster.Start(t, cluster.Options{
		Zones: []string{"az-a", "az-b"}, ControlPlanes: 2, ControlPlaneArgs: []string{"--retention-interval", "100ms"},
	})
	return &rig{Cluster: c, ctx: ctx, sdk: c.Client(t)}
}

// write stores records in partition 0, a request each, with these timestamps.
func (r *rig) write(t *testing.T, topic string, n, size int, timestamp time.Time) {
	t.Helper()
	p, err := r.sdk.NewProducer(client.WithLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		value := make([]byte, size)
		for i := range value {
			value[i] = byte(rand.Uint32()) // so that it is stored as large as it is
		}
		stored := make(chan error, 1)
		p.Produce(r.ctx, &client.Record{Topic: topic, UsePartition: true, Value: value, Timestamp: timestamp}, func(_ *client.Record, err error) { stored <- err })
		if err := <-stored; err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(r.ctx); err != nil {
		t.Fatal(err)
	}
}

// edges of partition 0, as the catalog has them.
func (r *rig) edges(t *testing.T, topic string) (logStart, highWatermark int64) {
	t.Helper()
	_, partitions, err := r.Admin(t).DescribeTopic(r.ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	return partitions[0].LogStartOffset, partitions[0].HighWatermark
}

func (r *rig) eventually(t *testing.T, what string, condition func() bool) time.Duration {
	t.Helper()
	for began := time.Now(); ; {
		if condition() {
			return time.Since(began)
		}
		select {
		case <-r.ctx.Done():
			t.Fatalf("%s: %v", what, context.Cause(r.ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// offsets are those that a consumer reads of partition 0 from a position to the end.
func (r *rig) offsets(t *testing.T, topic string, from client.Position, options ...client.ConsumerOption) (offsets []int64, err error) {
	t.Helper()
	k, err := r.sdk.NewConsumer(r.ctx, topic, append(options, client.From(from), client.Partitions(0), client.UntilEnd())...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = k.Close() }()
	for record, err := range k.Records(r.ctx) {
		if err != nil {
			return offsets, err
		}
		offsets = append(offsets, record.Offset)
	}
	return offsets, nil
}

func wantDense(t *testing.T, got []int64, from, to int64) {
	t.Helper()
	if int64(len(got)) != to-from {
		t.Fatalf("read %d records, want those from %d to %d: %v", len(got), from, to, got)
	}
	for i, offset := range got {
		if offset != from+int64(i) {
			t.Fatalf("record %d has offset %d: %v", i, offset, got)
		}
	}
}

// fetch asks one agent, and no other, for partition 0.
func (r *rig) fetch(agent *cluster.Agent, topic string, offset int64) (*dataplanev1.FetchedPartition, *refusalv1.Refusal, error) {
	answer, err := workload.NewAgent(agent.URL, r.ClientKey).Fetch(r.ctx, &dataplanev1.FetchRequest{Partitions: []*dataplanev1.FetchPartition{{
		Topic: &dataplanev1.FetchPartition_TopicName{TopicName: topic}, Offset: offset,
	}}})
	if refused := workload.Refusal(err); refused != nil {
		return nil, refused, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return answer.GetPartitions()[0], nil, nil
}

// wantOutOfRange waits until no agent serves the offset any more, from memory neither, and says how long that took.
func (r *rig) wantOutOfRange(t *testing.T, topic string, offset, logStart int64) time.Duration {
	t.Helper()
	began := time.Now()
	for _, agent := range r.Agents {
		r.eventually(t, agent.ID+" serves what is deleted", func() bool {
			_, refused, err := r.fetch(agent, topic, offset)
			if err != nil {
				t.Fatal(err)
			}
			if refused != nil && (refused.GetReason() != refusalv1.Reason_REASON_OUT_OF_RANGE || refused.GetOffsets().GetLogStartOffset() < logStart) {
				t.Fatalf("%s refuses offset %d with %v", agent.ID, offset, refused)
			}
			return refused != nil
		})
	}
	return time.Since(began)
}

// TestRetention runs one cluster for all: each topic by itself.
func TestRetention(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, story := range map[string]func(*testing.T, *rig){
		"P1_ByTimeFromTheCommit": byTime, "P1_ByBytes": byBytes, "RecordsAreDeleted": deleteRecords, "P8_TopicsLeaveNothing": deleteTopic,
	} {
		t.Run(name, func(t *testing.T) { story(t, r) })
	}
}

// Records that say they are old are kept, records that say they are of tomorrow go: what counts is when they were committed.
func byTime(t *testing.T, r *rig) {
	kept := 20 * time.Second
	r.CreateTopic(r.ctx, t, "aged", 1, client.TopicConfig{Retention: &kept})
	r.write(t, "aged", 5, 100, time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC))
	r.write(t, "aged", 5, 100, time.Now().Add(24*time.Hour))
	if got, err := r.offsets(t, "aged", client.Beginning()); err != nil {
		t.Fatal(err)
	} else {
		wantDense(t, got, 0, 10)
	}
	r.Postgres.SQL(r.ctx, t, "UPDATE object_keys SET created_at = created_at - interval '30 seconds' WHERE reference_count > 0 AND object_id IN "+segmentsOf("aged"))
	r.eventually(t, "old records are kept", func() bool { start, _ := r.edges(t, "aged"); return start == 10 })
	r.wantOutOfRange(t, "aged", 3, 10)
	r.eventually(t, "segments stay below the log start", func() bool { return r.rows(t, segmentsOf("aged")) == 0 })

	// Offsets go on; who fell behind is told so, or goes on at what there is.
	r.write(t, "aged", 5, 100, time.Now())
	_, err := r.offsets(t, "aged", client.At(2))
	fault, _ := errors.AsType[*client.Error](err)
	if !errors.Is(err, client.ReasonOutOfRange) || fault.Offsets == nil || fault.Offsets.LogStart != 10 || fault.Offsets.HighWatermark != 15 {
		t.Errorf("below the log start: %v", err)
	}
	got, err := r.offsets(t, "aged", client.At(2), client.WithReset(client.ResetToBeginning))
	if err != nil {
		t.Fatal(err)
	}
	wantDense(t, got, 10, 15)
	if got, err = r.offsets(t, "aged", client.AtTime(time.UnixMilli(0))); err != nil {
		t.Fatal(err)
	}
	wantDense(t, got, 10, 15)
}

func segmentsOf(topic string) string {
	return fmt.Sprintf("(SELECT object_id FROM segments JOIN partitions USING (partition_id) JOIN topics USING (topic_id) WHERE name = '%s')", topic)
}

// rows says how many a query has.
func (r *rig) rows(t *testing.T, query string) int {
	t.Helper()
	n := 0
	if _, err := fmt.Sscan(r.Postgres.SQL(r.ctx, t, "SELECT count(*) FROM "+query+" AS q"), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// As many bytes as were promised stay, and not many more.
func byBytes(t *testing.T, r *rig) {
	const bound, size = 200_000, 10_000
	r.CreateTopic(r.ctx, t, "sized", 1, client.TopicConfig{RetentionBytes: new(int64(bound))})
	for range 4 {
		r.write(t, "sized", 15, size, time.Now())
		got, err := r.offsets(t, "sized", client.Beginning(), client.WithReset(client.ResetToBeginning))
		if err != nil {
			t.Fatal(err)
		}
		wantDense(t, got, got[0], got[0]+int64(len(got)))
		if len(got) < 15 || len(got) < bound/(size+200) && got[0] > 0 {
			t.Errorf("%d records of %d bytes are left", len(got), size)
		}
	}
	r.eventually(t, "more is kept than must be", func() bool {
		start, end := r.edges(t, "sized")
		return end == 60 && start > 0 && (end-start)*size < 2*bound
	})
	start, _ := r.edges(t, "sized")
	r.wantOutOfRange(t, "sized", 0, start)
	unbounded := int64(client.Unbounded)
	if _, err := r.Admin(t).UpdateTopic(r.ctx, "sized", client.TopicConfig{RetentionBytes: &unbounded}); err != nil {
		t.Fatal(err)
	}
}

// Agents that hold deleted records in memory stop to serve them within seconds; whoever asks where the log begins is told at once.
func deleteRecords(t *testing.T, r *rig) {
	forever := time.Duration(client.Unbounded)
	r.CreateTopic(r.ctx, t, "ledger", 2, client.TopicConfig{Retention: &forever})
	r.write(t, "ledger", 20, 100, time.Now())
	for _, agent := range r.Agents { // all have it in memory
		if got, refused, err := r.fetch(agent, "ledger", 0); err != nil || refused != nil || len(got.GetBatches()) == 0 {
			t.Fatalf("%s: %v, %v", agent.ID, refused, err)
		}
	}
	admin := r.Admin(t)
	if _, err := admin.DeleteRecords(r.ctx, "ledger", map[int32]int64{0: 21}); !errors.Is(err, client.ReasonOutOfRange) {
		t.Errorf("beyond the end: %v", err)
	}
	begins, err := admin.DeleteRecords(r.ctx, "ledger", map[int32]int64{0: 12, 1: 0})
	if err != nil || begins[0] != 12 || begins[1] != 0 {
		t.Fatalf("%v, %v", begins, err)
	}
	for _, agent := range r.Agents {
		answer, err := workload.NewAgent(agent.URL, r.ClientKey).ListOffsets(r.ctx, &dataplanev1.ListOffsetsRequest{Partitions: []*dataplanev1.ListOffsetsPartition{{
			Topic:    &dataplanev1.ListOffsetsPartition_TopicName{TopicName: "ledger"},
			Position: &dataplanev1.OffsetPosition{Position: &dataplanev1.OffsetPosition_Edge{Edge: dataplanev1.OffsetEdge_OFFSET_EDGE_EARLIEST}},
		}}})
		if err != nil || answer.GetOffsets()[0].GetOffset() != 12 {
			t.Errorf("%s says that the log begins at %v, %v", agent.ID, answer, err)
		}
	}
	t.Logf("no agent served deleted records after %v", r.wantOutOfRange(t, "ledger", 11, 12).Round(time.Millisecond))
	got, err := r.offsets(t, "ledger", client.Beginning())
	if err != nil {
		t.Fatal(err)
	}
	wantDense(t, got, 12, 20)
	streamhouse := command.Of(t, r.Cluster, r.AdminKey)
	streamhouse.Must(r.ctx, t, "records", "delete", "ledger", "--before", "15")
	if start, _ := r.edges(t, "ledger"); start != 15 {
		t.Errorf("the log begins at %d", start)
	}
	streamhouse.Must(r.ctx, t, "records", "delete", "ledger", "--before", "end", "--partition", "0")
	r.write(t, "ledger", 3, 100, time.Now())
	if got, err = r.offsets(t, "ledger", client.Beginning()); err != nil {
		t.Fatal(err)
	}
	wantDense(t, got, 20, 23)
}

// A deleted topic is gone at once, and its rows soon; what shares its objects stays readable.
func deleteTopic(t *testing.T, r *rig) {
	r.CreateTopic(r.ctx, t, "doomed", 4, client.TopicConfig{})
	r.CreateTopic(r.ctx, t, "neighbour", 1, client.TopicConfig{})
	p, err := r.sdk.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		p.Produce(r.ctx, &client.Record{Topic: "doomed", Key: fmt.Append(nil, i), Value: bytes.Repeat([]byte{byte(i)}, 100)}, nil)
		p.Produce(r.ctx, &client.Record{Topic: "neighbour", Value: fmt.Append(nil, i)}, nil)
	}
	if err := p.Close(r.ctx); err != nil {
		t.Fatal(err)
	}
	id, err := r.Admin(t).DeleteTopic(r.ctx, "doomed")
	if err != nil {
		t.Fatal(err)
	}
	r.eventually(t, "rows of the deleted topic are left", func() bool {
		return r.rows(t, "(SELECT FROM partitions WHERE topic_id = '"+id+"')") == 0 &&
			r.rows(t, "(SELECT FROM segments WHERE partition_id NOT IN (SELECT partition_id FROM partitions))") == 0
	})
	if n := r.rows(t, `(SELECT FROM object_keys o WHERE reference_count <> (SELECT count(*) FROM segments s WHERE s.object_id = o.object_id)
		OR (reference_count = 0) <> (unreferenced_at IS NOT NULL))`); n != 0 {
		t.Errorf("%d objects are miscounted", n)
	}
	if _, err := r.sdk.NewConsumer(r.ctx, "doomed"); !errors.Is(err, client.ReasonUnknownTopic) {
		t.Errorf("the deleted topic: %v", err)
	}
	got, err := r.offsets(t, "neighbour", client.Beginning())
	if err != nil {
		t.Fatal(err)
	}
	wantDense(t, got, 0, 100)
}
