package keycompact

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

var topicID = object.UUID{1, 2, 3}

const jobID, outputID = "11111111-2222-4333-8444-555555555555", "11111111-2222-4333-8444-666666666666"

// catalog is one partition's rows, and what the control plane does with them.
type catalog struct {
	store    objectstore.Memory
	segments []*controlplanev1.Segment
	logStart int64
	end      int64
	objects  int
	finished *controlplanev1.FinishKeyCompactionRequest
	// meddle is called before a commit is looked at, once.
	meddle func()
	fail   error // of the next commit
}

func (c *catalog) Lookup(_ context.Context, request *controlplanev1.LookupRequest) (*controlplanev1.LookupResponse, error) {
	q := request.GetPartitions()[0]
	o := &controlplanev1.LookupOutcome{LogStartOffset: c.logStart, HighWatermark: c.end}
	if at, ok := q.GetPosition().(*controlplanev1.LookupPartition_Offset); ok && at.Offset >= c.logStart {
		for _, s := range c.segments {
			if s.GetBaseOffset()+int64(s.GetRecordCount()) > at.Offset && len(o.GetSegments()) < 3 { // pages are short
				o.Segments = append(o.Segments, s)
			}
		}
	}
	return &controlplanev1.LookupResponse{Outcomes: []*controlplanev1.LookupOutcome{o}}, nil
}

func (c *catalog) CommitKeyCompaction(_ context.Context, request *controlplanev1.CommitKeyCompactionRequest) (*controlplanev1.CommitKeyCompactionResponse, error) {
	if c.meddle != nil {
		c.meddle()
		c.meddle = nil
	}
	if err := c.fail; err != nil {
		c.fail = nil
		return nil, err
	}
	answer := &controlplanev1.CommitKeyCompactionResponse{}
	for _, s := range request.GetSegments() {
		if c.replace(request.GetObjectKey(), s) {
			answer.Accepted++
		} else {
			answer.LeftOut++
		}
	}
	return answer, nil
}

func (c *catalog) replace(key string, s *controlplanev1.KeyCompactedSegment) bool {
	first := s.GetInputs()[0]
	at := slices.IndexFunc(c.segments, func(g *controlplanev1.Segment) bool { return g.GetBaseOffset() == first.GetBaseOffset() })
	if at < 0 || at+len(s.GetInputs()) > len(c.segments) {
		return false
	}
	count := int32(0)
	for i, in := range s.GetInputs() {
		g := c.segments[at+i]
		if g.GetBaseOffset() != in.GetBaseOffset() || g.GetRecordCount() != in.GetRecordCount() || g.GetCrc32C() != in.GetCrc32C() ||
			g.GetSizeBytes() != in.GetSizeBytes() || g.GetEpoch() != in.GetEpoch() || in.GetEpoch() != first.GetEpoch() {
			return false
		}
		count += in.GetRecordCount()
	}
	c.segments = slices.Replace(c.segments, at, at+len(s.GetInputs()), &controlplanev1.Segment{
		ObjectKey: key, BytePosition: s.GetBytePosition(), SizeBytes: s.GetSizeBytes(), Crc32C: s.GetCrc32C(), BaseOffset: first.GetBaseOffset(),
		RecordCount: count, Epoch: first.GetEpoch(), MaxTimestampMs: s.GetMaxTimestampMs(),
	})
	return true
}

func (c *catalog) FinishKeyCompaction(_ context.Context, request *controlplanev1.FinishKeyCompactionRequest) (*controlplanev1.FinishKeyCompactionResponse, error) {
	c.finished = request
	return &controlplanev1.FinishKeyCompactionResponse{}, nil
}

// commit puts segments into an object and the catalog, in place of those that they cover.
func (c *catalog) commit(t failer, epoch int32, base, end int64, bytes []byte) {
	t.Helper()
	c.objects++
	key := object.Key{AgentGroup: "group", Session: object.UUID{9}, Counter: uint64(c.objects)}
	b, err := object.NewBuilder(key)
	if err != nil {
		t.Fatal(err)
	}
	s, err := b.Append(object.Segment{
		TopicID: topicID, Epoch: epoch, BaseOffset: base, RecordCount: int32(end - base), TenureFirstOffset: tenureStart(epoch),
	}, object.PartOf(bytes))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := b.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.store.Put(context.Background(), key.String(), sealed.Body, sealed.CRC32C); err != nil {
		t.Fatal(err)
	}
	row := &controlplanev1.Segment{
		ObjectKey: key.String(), BytePosition: s.BytePosition, SizeBytes: s.SizeBytes, Crc32C: s.CRC32C, BaseOffset: base, RecordCount: s.RecordCount, Epoch: epoch,
	}
	kept := slices.DeleteFunc(slices.Clone(c.segments), func(g *controlplanev1.Segment) bool { return g.GetBaseOffset() >= base && g.GetBaseOffset() < end })
	at, _ := slices.BinarySearchFunc(kept, base, func(g *controlplanev1.Segment, o int64) int { return int(g.GetBaseOffset() - o) })
	c.segments, c.end = slices.Insert(kept, at, row), max(c.end, end)
}

func tenureStart(epoch int32) int64 { return int64(epoch - 1) }

func (c *catalog) bytesOf(t failer, s *controlplanev1.Segment) []byte {
	t.Helper()
	b := make([]byte, s.GetSizeBytes())
	if err := c.store.GetRange(context.Background(), s.GetObjectKey(), s.GetBytePosition(), b); err != nil {
		t.Fatal(err)
	}
	return b
}

// read checks that segments chain, tell the truth in their objects' footers, and returns all records.
func (c *catalog) read(t failer) (records []recordbatch.Record) {
	t.Helper()
	next := c.segments[0].GetBaseOffset()
	for _, s := range c.segments {
		if s.GetBaseOffset() != next {
			t.Fatalf("a segment begins at %d, not at %d", s.GetBaseOffset(), next)
		}
		next += int64(s.GetRecordCount())
		footer, err := object.ReadFooter(context.Background(), &c.store, s.GetObjectKey())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(footer.Segments, func(w object.Segment) bool {
			return w.BaseOffset == s.GetBaseOffset() && w.RecordCount == s.GetRecordCount() && w.CRC32C == s.GetCrc32C() && w.SizeBytes == s.GetSizeBytes() &&
				w.BytePosition == s.GetBytePosition() && w.Epoch == s.GetEpoch() && w.TenureFirstOffset == tenureStart(s.GetEpoch()) && w.TopicID == topicID
		}) {
			t.Fatalf("the footer of %s says %+v, the catalog %v", s.GetObjectKey(), footer.Segments, s)
		}
		headers, some := batchesOf(t, c.bytesOf(t, s))
		if headers[0].BaseOffset < s.GetBaseOffset() || headers[len(headers)-1].NextOffset() > next {
			t.Fatalf("batches of %d to %d in a segment of %d to %d", headers[0].BaseOffset, headers[len(headers)-1].NextOffset(), s.GetBaseOffset(), next)
		}
		records = append(records, some...)
	}
	if next != c.end {
		t.Fatalf("segments end at %d, the high watermark is %d", next, c.end)
	}
	return records
}

// join is what the compaction of objects does: two segments of one epoch become one.
func (c *catalog) join(t failer, i int) {
	if i+1 >= len(c.segments) || c.segments[i].GetEpoch() != c.segments[i+1].GetEpoch() {
		return
	}
	a, b := c.segments[i], c.segments[i+1]
	c.commit(t, a.GetEpoch(), a.GetBaseOffset(), b.GetBaseOffset()+int64(b.GetRecordCount()), append(c.bytesOf(t, a), c.bytesOf(t, b)...))
}

func compactor(t failer, c *catalog, config Config) *Compactor {
	t.Helper()
	config.AgentGroup = "group"
	k, err := New(c, &c.store, config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Jobs of random partitions, some of them cut short, with segments that others exchange under them, leave what the model says, and the catalog
// in order.
func TestP1P2_JobsLeaveTheNewestRecords(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var p partition
		c := &catalog{}
		epoch, job := int32(1), 0
		for range rapid.IntRange(1, 4).Draw(t, "passes") {
			p.segments = nil
			from := p.next
			p.draw(t)
			for _, segment := range p.segments {
				headers, _ := batchesOf(t, segment)
				end := headers[len(headers)-1].NextOffset()
				c.commit(t, epoch, from, end, segment)
				from = end
				epoch += int32(rapid.IntRange(0, 4).Draw(t, "new tenure") / 4)
			}
			work := &controlplanev1.KeyCompactWork{
				TopicId: topicID[:], CleanEnd: p.clean, End: rapid.Int64Range(p.clean+1, p.next).Draw(t, "end"),
				EveryProducerBatch: rapid.Bool().Draw(t, "every batch"),
			}
			if rapid.Bool().Draw(t, "meddle") {
				c.meddle = func() { c.join(t, rapid.IntRange(0, len(c.segments)-1).Draw(t, "joined")) }
			}
			if rapid.IntRange(0, 3).Draw(t, "cut short") == 0 {
				c.fail = errors.New("the connection is gone")
			}
			k := compactor(t, c, Config{MemoryBytes: 4 << 10})
			for range 2 {
				job++
				work.Run = int32(job)
				done, err := k.Run(context.Background(), jobID, outputID, work)
				if err != nil {
					if before := c.read(t); len(before) == 0 {
						t.Fatal("everything is gone")
					}
					continue // the next one does it all
				}
				if c.fail == nil && (c.finished == nil || c.finished.GetCleanEnd() != done.CleanEnd || done.CleanEnd != work.GetEnd()) {
					t.Fatalf("done %+v, told %v, end %d", done, c.finished, work.GetEnd())
				}
				break
			}
			c.fail, c.meddle = nil, nil
			p.clean = work.GetEnd()
			if got, want := c.read(t), p.want(func(int64) bool { return false }); !reflect.DeepEqual(got, want) {
				t.Fatalf("left %v, want %v", got, want)
			}
			tombstones := int64(0)
			for _, r := range c.read(t) {
				if r.Key != nil && r.Value == nil && r.Offset < p.clean {
					tombstones++
				}
			}
			if c.finished.GetTombstones() != tombstones {
				t.Fatalf("%d tombstones are left, told %d", tombstones, c.finished.GetTombstones())
			}
		}
	})
}

// one is a partition of segments with a record each, of keys k0 to k2 in turn.
func one(t failer, n int64) *catalog { return each(t, n, func(int64) int32 { return 1 }) }

// each is one in which every offset was written in an epoch of its own choice.
func each(t failer, n int64, epoch func(offset int64) int32) *catalog {
	c := &catalog{}
	for o := range n {
		c.commit(t, epoch(o), o, o+1, encode(t, o, recordbatch.NoProducer(), []recordbatch.Record{{Key: fmt.Append(nil, "k", o%3), Value: fmt.Append(nil, o)}}))
	}
	return c
}

func TestPassEndsWhereKeysDoNotFit(t *testing.T) {
	t.Parallel()
	c := &catalog{}
	for o := range int64(400) {
		c.commit(t, 1, o, o+1, encode(t, o, recordbatch.NoProducer(), []recordbatch.Record{{Key: fmt.Append(nil, o%300), Value: fmt.Append(nil, o)}}))
	}
	k := compactor(t, c, Config{MemoryBytes: 4 << 10}) // 126 keys
	clean, passes := int64(0), 0
	for ; clean < 400; passes++ {
		done, err := k.Run(t.Context(), jobID, outputID, &controlplanev1.KeyCompactWork{TopicId: topicID[:], CleanEnd: clean, End: 400, Incarnation: int32(passes)})
		if err != nil || done.CleanEnd <= clean {
			t.Fatalf("clean up to %d, %v", done.CleanEnd, err)
		}
		clean = done.CleanEnd
	}
	if got := c.read(t); passes < 3 || len(got) != 300 || got[0].Offset != 100 {
		t.Errorf("%d passes, %d records from %d; want 300 from 100", passes, len(got), got[0].Offset)
	}
}

func TestPassOverCleanPartitionWritesNothing(t *testing.T) {
	t.Parallel()
	c := one(t, 3)
	done, err := compactor(t, c, Config{}).Run(t.Context(), jobID, outputID, &controlplanev1.KeyCompactWork{TopicId: topicID[:], End: 3})
	if err != nil || done.Objects != 0 || done.Removed != 0 || c.finished.GetCleanEnd() != 3 {
		t.Errorf("%+v, %v, finished %v", done, err, c.finished)
	}
}

// Segments that have lost all their records, and cannot be joined, are written once.
func TestEmptySegmentsAreNotWrittenAgain(t *testing.T) {
	t.Parallel()
	c := each(t, 9, func(o int64) int32 { return int32(o) + 1 })
	k := compactor(t, c, Config{})
	for run, want := range []int64{1, 0, 0} {
		work := &controlplanev1.KeyCompactWork{TopicId: topicID[:], End: 9, Run: int32(run)}
		if done, err := k.Run(t.Context(), jobID, outputID, work); err != nil || done.Objects != want || c.finished.GetCleanEnd() != 9 {
			t.Errorf("run %d: %+v, %v; want %d objects", run, done, err, want)
		}
	}
	if got := c.read(t); len(got) != 3 {
		t.Errorf("left %v", got)
	}
}

func TestDamagedSegmentEndsThePass(t *testing.T) {
	t.Parallel()
	c := one(t, 6)
	c.segments[4].Crc32C++
	if _, err := compactor(t, c, Config{}).Run(t.Context(), jobID, outputID, &controlplanev1.KeyCompactWork{TopicId: topicID[:], End: 6}); err == nil || c.finished != nil {
		t.Errorf("error %v, finished %v", err, c.finished)
	}
	if len(c.segments) != 6 {
		t.Errorf("%d segments are left of 6", len(c.segments))
	}
}

// The log start may have risen, into a segment, too: what is below is nobody's any more, and what is above is cleaned.
func TestPassBeginsAtTheLogStart(t *testing.T) {
	t.Parallel()
	c := one(t, 9)
	c.segments, c.logStart = c.segments[4:], 4
	if _, err := compactor(t, c, Config{}).Run(t.Context(), jobID, outputID, &controlplanev1.KeyCompactWork{TopicId: topicID[:], CleanEnd: 4, End: 9}); err != nil {
		t.Fatal(err)
	}
	if got := c.read(t); len(got) != 3 || got[0].Offset != 6 || c.segments[0].GetBaseOffset() != 4 {
		t.Errorf("left %v", got)
	}
}

func TestConfigIsBounded(t *testing.T) {
	t.Parallel()
	for _, config := range []Config{{}, {AgentGroup: "A"}, {AgentGroup: "group", MemoryBytes: 1}, {AgentGroup: "group", MemoryBytes: 1 << 40}} {
		if config.Validate() == nil {
			t.Errorf("%+v is valid", config)
		}
	}
}

var errCrash = errors.New("the process ends here")

// crasher fails every call from one on; what that one was to do has happened, or not.
type crasher struct {
	*catalog

	left  int
	after bool
}

func (c *crasher) call(do func() error) error {
	c.left--
	if c.left > 0 || (c.left == 0 && c.after) {
		if err := do(); err != nil || c.left > 0 {
			return err
		}
	}
	return errCrash
}

func (c *crasher) Lookup(ctx context.Context, r *controlplanev1.LookupRequest) (answer *controlplanev1.LookupResponse, err error) {
	err = c.call(func() error { answer, err = c.catalog.Lookup(ctx, r); return err })
	return answer, err
}

func (c *crasher) CommitKeyCompaction(ctx context.Context, r *controlplanev1.CommitKeyCompactionRequest) (
	answer *controlplanev1.CommitKeyCompactionResponse, err error,
) {
	err = c.call(func() error { answer, err = c.catalog.CommitKeyCompaction(ctx, r); return err })
	return answer, err
}

func (c *crasher) FinishKeyCompaction(ctx context.Context, r *controlplanev1.FinishKeyCompactionRequest) (
	answer *controlplanev1.FinishKeyCompactionResponse, err error,
) {
	err = c.call(func() error { answer, err = c.catalog.FinishKeyCompaction(ctx, r); return err })
	return answer, err
}

func (c *crasher) GetRange(ctx context.Context, key string, position int64, dst []byte) error {
	return c.call(func() error { return c.store.GetRange(ctx, key, position, dst) })
}

func (c *crasher) GetTail(ctx context.Context, key string, dst []byte) (n int, size int64, err error) {
	err = c.call(func() error { n, size, err = c.store.GetTail(ctx, key, dst); return err })
	return n, size, err
}

func (c *crasher) Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error {
	return c.call(func() error { return c.store.Put(ctx, key, body, crc32c) })
}

// A job that ends at any of its calls, done or not done, leaves every newest record in its place, and the next run finishes it, be it the same
// agent's, which is told of the job again, or another's.
func TestP1P2_AJobThatEndsAnywhereIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	const size = int64(objectSegments + 10)
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			c := each(t, size, func(o int64) int32 { return int32(o) + 1 }) // nothing can be joined, so there are several objects
			work := &controlplanev1.KeyCompactWork{TopicId: topicID[:], End: size, Run: 1}
			crashing := &crasher{catalog: c, left: n, after: after}
			k, err := New(crashing, crashing, Config{AgentGroup: "group"}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			_, err = k.Run(t.Context(), jobID, outputID, work)
			if err == nil { // there are no more calls
				if n < 20 {
					t.Errorf("a run has %d calls only", n)
				}
				break
			}
			if !errors.Is(err, errCrash) {
				t.Fatalf("call %d: %v", n, err)
			}
			wantNewest(t, c, size, n)
			work.Run = 2
			if _, err := compactor(t, c, Config{}).Run(t.Context(), jobID, outputID, work); err != nil {
				t.Fatalf("after call %d (done: %t): %v", n, after, err)
			}
			if left := wantNewest(t, c, size, n); left != 3 || c.finished.GetCleanEnd() != size {
				t.Fatalf("after call %d (done: %t): %d records are left, finished %v", n, after, left, c.finished)
			}
		}
	}
}

// wantNewest expects the newest record of each of three keys where it was, among others perhaps, and counts all.
func wantNewest(t *testing.T, c *catalog, size int64, n int) int {
	t.Helper()
	records := c.read(t)
	for i, want := range []int64{size - 3, size - 2, size - 1} {
		if !slices.ContainsFunc(records, func(r recordbatch.Record) bool { return r.Offset == want && string(r.Key) == fmt.Sprint("k", i) }) {
			t.Fatalf("call %d: the record at %d is gone, left are %v", n, want, records)
		}
	}
	return len(records)
}
