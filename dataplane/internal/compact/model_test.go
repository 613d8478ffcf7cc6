package compact

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

// place is a partition.
type place struct {
	topic     object.UUID
	partition int32
}

// row is a segment of the catalog.
type row struct {
	object.Segment
	key string
}

// model is a catalog of segments and one job, as simple as can be. The real one is tried against the real bucket elsewhere.
type model struct {
	mu       sync.Mutex
	rows     map[place][]row
	logStart map[place]int64
	outputs  int64
	output   *controlplanev1.CompactionOutput
	commits  int
}

func (m *model) Lookup(_ context.Context, request *controlplanev1.LookupRequest) (*controlplanev1.LookupResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	response := &controlplanev1.LookupResponse{}
	for _, q := range request.GetPartitions() {
		at := place{object.UUID(q.GetTopicId()), q.GetPartition()}
		outcome := &controlplanev1.LookupOutcome{LogStartOffset: m.logStart[at]}
		for _, r := range m.rows[at] {
			if r.End() > q.GetOffset() && len(outcome.GetSegments()) < int(q.GetMaxSegments()) {
				outcome.Segments = append(outcome.Segments, &controlplanev1.Segment{
					ObjectKey: r.key, BytePosition: r.BytePosition, SizeBytes: r.SizeBytes, Crc32C: r.CRC32C, BaseOffset: r.BaseOffset,
					RecordCount: r.RecordCount, Epoch: r.Epoch, MaxTimestampMs: r.MaxTimestampMs,
				})
			}
		}
		response.Outcomes = append(response.Outcomes, outcome)
	}
	return response, nil
}

func (m *model) AnnounceOutput(_ context.Context, request *controlplanev1.AnnounceOutputRequest) (*controlplanev1.AnnounceOutputResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outputs, m.output = m.outputs+1, request.GetOutput()
	return &controlplanev1.AnnounceOutputResponse{}, nil
}

func (m *model) CommitCompaction(_ context.Context, request *controlplanev1.CommitCompactionRequest) (*controlplanev1.CommitCompactionResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if request.GetObjectKey() != m.output.GetObjectKey() {
		return nil, fmt.Errorf("%q was not announced", request.GetObjectKey())
	}
	m.commits++
	response := &controlplanev1.CommitCompactionResponse{}
	for _, s := range request.GetSegments() {
		at := place{object.UUID(s.GetTopicId()), s.GetPartition()}
		n, there := m.replace(at, row{key: request.GetObjectKey(), Segment: object.Segment{
			TopicID: at.topic, Partition: at.partition, Epoch: s.GetEpoch(), BaseOffset: s.GetBaseOffset(), RecordCount: s.GetRecordCount(),
			BytePosition: s.GetBytePosition(), SizeBytes: s.GetSizeBytes(), CRC32C: s.GetCrc32C(), MaxTimestampMs: s.GetMaxTimestampMs(),
		}})
		if !there {
			response.LeftOut++
			continue
		}
		response.Accepted++
		response.Replaced += n
	}
	return response, nil
}

func (m *model) replace(at place, with row) (n int32, accepted bool) {
	first, last := -1, -1
	next, size, sum := with.BaseOffset, int32(0), uint32(0)
	for i, r := range m.rows[at] {
		if r.BaseOffset < with.BaseOffset || r.BaseOffset >= with.End() {
			continue
		}
		if r.key == with.key {
			return 0, r.Segment.End() == with.End()
		}
		if first < 0 {
			first = i
		}
		if r.BaseOffset != next || r.Epoch != with.Epoch {
			return 0, false
		}
		last, next, size, sum = i, r.End(), size+r.SizeBytes, object.Combine(sum, r.CRC32C, int64(r.SizeBytes))
	}
	if first < 0 || next != with.End() || size != with.SizeBytes || sum != with.CRC32C {
		return 0, false
	}
	m.rows[at] = slices.Replace(m.rows[at], first, last+1, with)
	return int32(last + 1 - first), true
}

func (m *model) count() (n int) {
	for _, rows := range m.rows {
		n += len(rows)
	}
	return n
}

// world is a bucket with small objects, and what its partitions hold.
type world struct {
	t      *testing.T
	store  *objectstore.Memory
	model  *model
	inputs []string
	sizes  []int64          // of inputs; nil: the catalog does not say
	bytes  map[place][]byte // of each partition, from offset 0 on
}

// newWorld makes objects that hold a segment of some partitions each, of about size bytes. Now and then a partition has a new leader.
func newWorld(t *testing.T, seed uint64, objects, partitions, size int) *world {
	t.Helper()
	w := &world{t: t, store: &objectstore.Memory{}, model: &model{rows: map[place][]row{}, logStart: map[place]int64{}}, bytes: map[place][]byte{}}
	random := rand.New(rand.NewPCG(seed, 1))
	noise := rand.NewChaCha8([32]byte{byte(seed)})
	next, tenure, epoch := map[place]int64{}, map[place]int64{}, map[place]int32{}
	for i := range objects {
		b, err := object.NewBuilder(object.Key{AgentGroup: "default", Session: object.UUID{1}, Counter: uint64(i + 1)})
		if err != nil {
			t.Fatal(err)
		}
		var written []row
		for p := range partitions {
			at := place{object.UUID{byte(p % 3)}, int32(p / 3)}
			if p > 0 && random.IntN(4) == 0 {
				continue
			}
			if epoch[at] == 0 || random.IntN(40) == 0 {
				epoch[at], tenure[at] = epoch[at]+1, next[at]
			}
			body := make([]byte, 1+random.IntN(2*size))
			_, _ = noise.Read(body)
			written = append(written, row{Segment: object.Segment{
				TopicID: at.topic, Partition: at.partition, Epoch: epoch[at], BaseOffset: next[at], RecordCount: int32(1 + random.IntN(50)),
				MinTimestampMs: int64(i), MaxTimestampMs: int64(i) + 5, TenureFirstOffset: tenure[at],
			}})
			next[at] = written[len(written)-1].End()
			w.bytes[at] = append(w.bytes[at], body...)
			written[len(written)-1].key = string(body)
		}
		slices.SortFunc(written, func(a, b row) int { return a.Compare(b.Segment) })
		for _, r := range written {
			s, err := b.Append(r.Segment, object.PartOf([]byte(r.key)))
			if err != nil {
				t.Fatal(err)
			}
			at := place{s.TopicID, s.Partition}
			w.model.rows[at] = append(w.model.rows[at], row{Segment: s})
		}
		sealed, err := b.Seal()
		if err != nil {
			t.Fatal(err)
		}
		key := sealed.Key.String()
		if err := w.store.Put(t.Context(), key, sealed.Body, sealed.CRC32C); err != nil {
			t.Fatal(err)
		}
		w.inputs, w.sizes = append(w.inputs, key), append(w.sizes, sealed.SizeBytes)
		for at := range w.model.rows {
			if last := len(w.model.rows[at]) - 1; w.model.rows[at][last].key == "" {
				w.model.rows[at][last].key = key
			}
		}
	}
	return w
}

func (w *world) work(target int64) *controlplanev1.CompactWork {
	return &controlplanev1.CompactWork{ObjectKeys: w.inputs, ObjectBytes: w.sizes, TargetBytes: target, Outputs: w.model.outputs, Output: w.model.output}
}

// check reads every partition by the catalog: the same bytes as were written, less so many at the beginning.
func (w *world) check(dropped map[place]int) {
	w.t.Helper()
	for at, want := range w.bytes {
		var got []byte
		for i, r := range w.model.rows[at] {
			if i > 0 && r.BaseOffset != w.model.rows[at][i-1].End() {
				w.t.Fatalf("%v: a gap before offset %d", at, r.BaseOffset)
			}
			b := make([]byte, r.SizeBytes)
			if err := w.store.GetRange(w.t.Context(), r.key, r.BytePosition, b); err != nil {
				w.t.Fatal(err)
			}
			if err := r.Check(b); err != nil {
				w.t.Fatal(err)
			}
			got = append(got, b...)
		}
		if !bytes.Equal(got, want[dropped[at]:]) {
			w.t.Fatalf("%v: %d bytes, other than the %d that were written", at, len(got), len(want)-dropped[at])
		}
	}
	w.checkFooters()
}

// P9: the outputs explain themselves, as every object does.
func (w *world) checkFooters() {
	w.t.Helper()
	for at, rows := range w.model.rows {
		for _, r := range rows {
			footer, err := object.ReadFooter(w.t.Context(), w.store, r.key)
			if err != nil {
				w.t.Fatal(err)
			}
			i := slices.IndexFunc(footer.Segments, func(s object.Segment) bool { return s.BytePosition == r.BytePosition })
			if i < 0 {
				w.t.Fatalf("%v: the footer of %s has no segment at %d", at, r.key, r.BytePosition)
			}
			s := footer.Segments[i]
			if s.BaseOffset != r.BaseOffset || s.RecordCount != r.RecordCount || s.Epoch != r.Epoch || s.TenureFirstOffset > s.BaseOffset {
				w.t.Fatalf("%v: footer %+v, catalog %+v", at, s, r.Segment)
			}
		}
	}
}
