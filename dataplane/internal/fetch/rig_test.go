package fetch

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/lookup/catalogtest"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

func TestMain(m *testing.M) {
	if settings := os.Getenv(consumerEnv); settings != "" {
		if err := consumeProcess(settings); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

const topicName = "orders"

var topicID = object.UUID{0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

func id(n int32) partition.ID { return partition.ID{Topic: topicID, Number: n} }

// bucket counts GETs, and fails or damages what the test says.
type bucket struct {
	objectstore.Store
	gets    atomic.Int64
	damaged atomic.Bool
	failing atomic.Bool
}

func (b *bucket) GetRange(ctx context.Context, key string, position int64, dst []byte) error {
	return b.get(key, dst, func() error { return b.Store.GetRange(ctx, key, position, dst) })
}

func (b *bucket) GetTail(ctx context.Context, key string, dst []byte) (n int, size int64, err error) {
	err = b.get(key, dst, func() error {
		n, size, err = b.Store.GetTail(ctx, key, dst)
		return err
	})
	return n, size, err
}

func (b *bucket) get(key string, dst []byte, get func() error) error {
	b.gets.Add(1)
	if b.failing.Load() {
		return &objectstore.OpError{Op: "get", Key: key, Err: objectstore.ErrUnavailable}
	}
	err := get()
	if b.damaged.Load() && err == nil {
		for i := range 100 { // wherever the segment begins
			dst[min(i, len(dst)-1)] ^= 1
		}
	}
	return err
}

// oneTopic is a control plane that knows one topic.
type oneTopic struct{ topic *controlplanev1.PlacedTopic }

func newOneTopic(partitions int32) oneTopic {
	return oneTopic{&controlplanev1.PlacedTopic{TopicId: topicID[:], Name: topicName, PartitionCount: partitions, Revision: 1}}
}

func (o oneTopic) ResolveTopics(_ context.Context, req *controlplanev1.ResolveTopicsRequest) (*controlplanev1.ResolveTopicsResponse, error) {
	if slices.Contains(req.GetNames(), topicName) {
		return &controlplanev1.ResolveTopicsResponse{Topics: []*controlplanev1.PlacedTopic{o.topic}}, nil
	}
	return &controlplanev1.ResolveTopicsResponse{}, nil
}

// rig is an agent's reading half, with a catalog and a bucket that other agents write to as well.
type rig struct {
	*Service
	t       *testing.T
	ctx     context.Context // of a client of the agent group
	catalog catalogtest.Catalog
	bucket  bucket
	table   *route.Table
	log     bytes.Buffer

	mu      sync.Mutex
	ends    map[int32]int64
	objects int
}

// inBubble runs the test with an agent of some partitions, on virtual time.
func inBubble(t *testing.T, partitions int32, config Config, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { withAgent(t, partitions, config, &objectstore.Memory{}, test) })
}

// withAgent runs the test with an agent that reads from the store.
func withAgent(t *testing.T, partitions int32, config Config, store objectstore.Store, test func(t *testing.T, r *rig)) {
	t.Helper()
	r := &rig{t: t, table: route.New("a", newOneTopic(partitions)), ends: map[int32]int64{}}
	r.bucket.Store = store
	r.table.Apply(&controlplanev1.Placement{Revision: 1, Topics: []*controlplanev1.PlacedTopic{
		{TopicId: topicID[:], Name: topicName, PartitionCount: partitions, Revision: 1},
	}})
	for n := range partitions {
		r.catalog.Add(id(n))
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.ctx = access.With(ctx, access.Principal{Role: accessv1.Role_ROLE_CLIENT, AgentGroup: "group"})
	var err error
	if r.Service, err = New("group", r.table, &r.catalog, &r.bucket, config, slog.New(slog.NewTextHandler(&r.log, nil))); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { _ = r.Run(ctx) })
	defer running.Wait()
	defer cancel()
	test(t, r)
}

// rec is a record to write.
type rec struct {
	key, value []byte
	timestamp  int64
	headers    []recordbatch.RecordHeader
}

func plain(n int) []rec {
	all := make([]rec, n)
	for i := range all {
		all[i] = rec{key: fmt.Appendf(nil, "k%d", i), value: fmt.Appendf(nil, "value %d", i), timestamp: 1000 + int64(i)}
	}
	return all
}

func batchOf(t testing.TB, base int64, records []rec) []byte {
	t.Helper()
	b := recordbatch.NewBuilder(recordbatch.LZ4, recordbatch.Limits{})
	for _, r := range records {
		if err := b.Append(r.timestamp, r.key, r.value, r.headers); err != nil {
			t.Fatal(err)
		}
	}
	batch, err := b.Build(recordbatch.NoProducer())
	if err != nil {
		t.Fatal(err)
	}
	batch = bytes.Clone(batch)
	if err := recordbatch.Stamp(batch, base, 1); err != nil {
		t.Fatal(err)
	}
	return batch
}

// write puts an object with one segment of these batches for each of the partitions, and commits it. It returns
// what the agent that did so would be told.
func (r *rig) write(batches [][]rec, partitions ...int32) []partition.Committed {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.objects++
	key := fmt.Sprintf("group/00/object-%d", r.objects)
	body := []byte("head")
	var all []partition.Committed
	for _, n := range partitions {
		c := partition.Committed{Partition: id(n), Epoch: 1, BaseOffset: r.ends[n], NextOffset: r.ends[n], ObjectKey: key, BytePosition: int64(len(body))}
		for _, records := range batches {
			batch := batchOf(r.t, c.NextOffset, records)
			c.Batches = append(c.Batches, batch)
			c.NextOffset += int64(len(records))
			for _, rec := range records {
				c.MaxTimestampMs = max(c.MaxTimestampMs, rec.timestamp)
			}
			body = append(body, batch...)
		}
		c.SizeBytes = int32(int64(len(body)) - c.BytePosition)
		c.CRC32C = objectstore.Checksum(body[c.BytePosition:])
		r.ends[n] = c.NextOffset
		all = append(all, c)
	}
	if err := r.bucket.Put(context.Background(), key, [][]byte{body}, objectstore.Checksum(body)); err != nil {
		r.t.Fatal(err)
	}
	for _, c := range all {
		r.catalog.Commit(c.Partition, segmentOf(c))
	}
	return all
}

func segmentOf(c partition.Committed) *controlplanev1.Segment {
	return &controlplanev1.Segment{
		ObjectKey: c.ObjectKey, BytePosition: c.BytePosition, SizeBytes: c.SizeBytes, Crc32C: c.CRC32C,
		BaseOffset: c.BaseOffset, RecordCount: int32(c.NextOffset - c.BaseOffset), Epoch: c.Epoch, MaxTimestampMs: c.MaxTimestampMs,
	}
}

// request asks for one partition.
func request(n int32, offset int64) *dataplanev1.FetchRequest {
	return &dataplanev1.FetchRequest{Partitions: []*dataplanev1.FetchPartition{
		{Topic: &dataplanev1.FetchPartition_TopicName{TopicName: topicName}, Partition: n, Offset: offset},
	}}
}

// fetch expects an answer about one partition.
func (r *rig) fetch(req *dataplanev1.FetchRequest) *dataplanev1.FetchedPartition {
	r.t.Helper()
	res, err := r.Fetch(r.ctx, req)
	if err != nil {
		r.t.Fatalf("fetch: %v", err)
	}
	return res.GetPartitions()[0]
}

// offsets of all records in the batches.
func offsets(t testing.TB, batches []byte) []int64 {
	t.Helper()
	var all []int64
	scratch := recordbatch.AcquireScratch()
	defer scratch.Release()
	for batch, err := range recordbatch.Split(batches) {
		if err != nil {
			t.Fatal(err)
		}
		info, err := recordbatch.Verify(batch, recordbatch.Limits{}, scratch)
		if err != nil {
			t.Fatal(err)
		}
		for o := info.BaseOffset; o < info.NextOffset(); o++ {
			all = append(all, o)
		}
	}
	return all
}

func wantOffsets(t testing.TB, got []int64, from, to int64) {
	t.Helper()
	if int64(len(got)) != to-from {
		t.Errorf("offsets %v, want %d to %d", got, from, to-1)
		return
	}
	for i, o := range got {
		if o != from+int64(i) {
			t.Errorf("offsets %v, want %d to %d", got, from, to-1)
			return
		}
	}
}

func wantRefusal(t testing.TB, err error, reason refusalv1.Reason) *refusalv1.Refusal {
	t.Helper()
	r, ok := refusal.Of(err)
	if !ok || r.GetReason() != reason {
		t.Errorf("error %v, want %s", err, reason)
	}
	return r
}

const second = time.Second
