package fetch

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/access"
)

func TestP1_CommittedRecordsAreRead(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		r.write([][]rec{plain(5), plain(5)}, 0)
		r.write([][]rec{plain(5)}, 0)
		got := r.fetch(request(0, 0))
		wantOffsets(t, offsets(t, got.GetBatches()), 0, 15)
		if got.GetNextOffset() != 15 || got.GetHighWatermark() != 15 || got.GetTopicId() != topicID.String() {
			t.Errorf("answer %v", got)
		}
		got = r.fetch(request(0, 7)) // in the midst of the second batch: all of it
		wantOffsets(t, offsets(t, got.GetBatches()), 5, 15)
		if n := len(r.catalog.Calls()); n != 1 {
			t.Errorf("%d lookups, want the second fetch served from the index", n)
		}
	})
}

func TestP4_DeposedLeaderNeverSaysNothingThere(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		for _, c := range r.write([][]rec{plain(10)}, 0) {
			r.Led(c.Partition, 1, 0, 0)
			r.Committed(c)
		}
		r.catalog.SetEpoch(id(0), 2)
		r.write([][]rec{plain(10)}, 0) // by the new leader; nobody tells this agent
		got := r.fetch(request(0, 10))
		wantOffsets(t, offsets(t, got.GetBatches()), 10, 20)
		if end := r.list(t, edge(0, dataplanev1.OffsetEdge_OFFSET_EDGE_LATEST)).GetOffset(); end != 20 {
			t.Errorf("the end is %d, want 20", end)
		}
		r.write([][]rec{plain(10)}, 0)
		wantOffsets(t, offsets(t, r.fetch(request(0, 25)).GetBatches()), 20, 30) // beyond what it knows: no OUT_OF_RANGE
	})
}

func TestP4_LookupThatRunsIsNotEnough(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		r.catalog.Delay(100 * time.Millisecond)
		var early sync.WaitGroup
		early.Go(func() {
			if got := r.fetch(request(0, 0)); len(got.GetBatches()) != 0 {
				t.Errorf("the early fetch read %v before the commit", got)
			}
		})
		time.Sleep(50 * time.Millisecond)
		r.write([][]rec{plain(1)}, 0) // acknowledged now
		wantOffsets(t, offsets(t, r.fetch(request(0, 0)).GetBatches()), 0, 1)
		early.Wait()
	})
}

func TestP4_CatalogOutOfReachIsNotEmpty(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		r.write([][]rec{plain(3)}, 0)
		r.fetch(request(0, 0))
		r.catalog.Fail(errors.New("connection refused"))
		for _, wait := range []int32{0, 5000} {
			req := request(0, 3)
			req.MaxWaitMs = wait
			_, err := r.Fetch(r.ctx, req)
			if got := wantRefusal(t, err, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE); got.GetRetryAfterMs() == 0 || got.GetTopic() != topicName {
				t.Errorf("refusal %v", got)
			}
		}
		wantOffsets(t, offsets(t, r.fetch(request(0, 1)).GetBatches()), 0, 3) // what is known is served
	})
}

func TestFetchWaits(t *testing.T) {
	inBubble(t, 2, Config{}, func(t *testing.T, r *rig) {
		req := request(0, 0)
		req.MaxWaitMs = 30_000
		took := func(from, to int64) time.Duration {
			began := time.Now()
			wantOffsets(t, offsets(t, r.fetch(req).GetBatches()), from, to)
			return time.Since(began)
		}
		go func() { time.Sleep(10 * second); r.write([][]rec{plain(2)}, 0) }()
		if d := took(0, 2); d < 10*second || d > 11*second {
			t.Errorf("another agent's commit is read after %s, want within an interval of 10s", d)
		}
		req.Partitions[0].Offset = 2
		go func() {
			time.Sleep(10 * second)
			for _, c := range r.write([][]rec{plain(2)}, 0) {
				r.Committed(c)
			}
		}()
		if d := took(2, 4); d != 10*second {
			t.Errorf("an own commit is read after %s, want at once after 10s", d)
		}
		req.Partitions[0].Offset = 4
		if d := took(4, 4); d != 30*second {
			t.Errorf("nothing after %s, want after 30s", d)
		}
		go func() { time.Sleep(second); r.catalog.Fail(errors.New("connection refused")) }()
		_, err := r.Fetch(r.ctx, req)
		wantRefusal(t, err, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE)
	})
}

func TestFetchStopsWaiting(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		req := request(0, 0)
		req.MaxWaitMs = 60_000
		ctx, cancel := context.WithTimeout(r.ctx, 5*second)
		defer cancel()
		if _, err := r.Fetch(ctx, req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the caller's deadline", err)
		}
		began := time.Now()
		go func() { time.Sleep(second); r.Stop() }()
		if got := r.fetch(req); len(got.GetBatches()) != 0 || time.Since(began) != second {
			t.Errorf("answered %v after %s, want nothing when the agent stops", got, time.Since(began))
		}
	})
}

func TestFetchHearsThatTheTopicIsGone(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		req := request(0, 0)
		req.MaxWaitMs = 60_000
		go func() { time.Sleep(second); r.catalog.Remove(id(0)) }()
		began := time.Now()
		_, err := r.Fetch(r.ctx, req)
		wantRefusal(t, err, refusalv1.Reason_REASON_UNKNOWN_PARTITION)
		if time.Since(began) > 2*second {
			t.Errorf("heard after %s", time.Since(began))
		}
	})
}

func TestOutOfRange(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		for range 3 {
			r.write([][]rec{plain(10)}, 0)
		}
		r.catalog.Trim(id(0), 10)
		for _, offset := range []int64{9, 31} {
			_, err := r.Fetch(r.ctx, request(0, offset))
			got := wantRefusal(t, err, refusalv1.Reason_REASON_OUT_OF_RANGE).GetOffsets()
			if got.GetLogStartOffset() != 10 || got.GetHighWatermark() != 30 {
				t.Errorf("offsets %v", got)
			}
		}
		if got := r.fetch(request(0, 30)); len(got.GetBatches()) != 0 || got.GetNextOffset() != 30 || got.GetLogStartOffset() != 10 {
			t.Errorf("at the end: %v", got)
		}
		_, err := r.Fetch(r.ctx, request(0, -1))
		if got := wantRefusal(t, err, refusalv1.Reason_REASON_INVALID); got.GetField() != "partitions[0].offset" {
			t.Errorf("field %q", got.GetField())
		}
	})
}

func TestP1_CompactedObjectIsFoundAnew(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		old := append(r.write([][]rec{plain(5)}, 0), r.write([][]rec{plain(5)}, 0)...)
		r.fetch(&dataplanev1.FetchRequest{Partitions: request(0, 0).GetPartitions(), MaxBytes: 1}) // the index knows both, the cache one
		r.ends[0] = 0
		merged := r.write([][]rec{plain(5), plain(5)}, 0)[0]
		r.catalog.Replace(id(0), segmentOf(merged))
		if err := r.bucket.Delete(r.ctx, []string{old[0].ObjectKey, old[1].ObjectKey}); err != nil {
			t.Fatal(err)
		}
		got := r.fetch(request(0, 5))
		wantOffsets(t, offsets(t, got.GetBatches()), 5, 10)
	})
}

func TestExpiredObjectIsOutOfRange(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		old := append(r.write([][]rec{plain(5)}, 0), r.write([][]rec{plain(5)}, 0)...)
		r.fetch(request(0, 10)) // the end is known, segments are not
		r.list(t, edge(0, dataplanev1.OffsetEdge_OFFSET_EDGE_LATEST))
		r.fetch(&dataplanev1.FetchRequest{Partitions: request(0, 0).GetPartitions(), MaxBytes: 1})
		r.catalog.Trim(id(0), 10)
		if err := r.bucket.Delete(r.ctx, []string{old[1].ObjectKey}); err != nil {
			t.Fatal(err)
		}
		_, err := r.Fetch(r.ctx, request(0, 7))
		wantRefusal(t, err, refusalv1.Reason_REASON_OUT_OF_RANGE)
	})
}

func TestFaultsOfTheBucket(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		written := r.write([][]rec{plain(5)}, 0)
		r.bucket.failing.Store(true)
		_, err := r.Fetch(r.ctx, request(0, 0))
		wantRefusal(t, err, refusalv1.Reason_REASON_BUCKET_UNAVAILABLE)
		r.bucket.failing.Store(false)
		r.bucket.damaged.Store(true)
		_, err = r.Fetch(r.ctx, request(0, 0))
		if got := wantRefusal(t, err, refusalv1.Reason_REASON_INTERNAL); strings.Contains(got.GetMessage(), "object-1") {
			t.Errorf("the caller is told %q", got.GetMessage())
		}
		if !strings.Contains(r.log.String(), "segment is damaged in the bucket") {
			t.Errorf("log %q does not name the damage", r.log.String())
		}
		r.bucket.damaged.Store(false)
		wantOffsets(t, offsets(t, r.fetch(request(0, 0)).GetBatches()), 0, 5)

		r.write([][]rec{plain(5)}, 0)
		if err := r.bucket.Delete(r.ctx, []string{written[0].ObjectKey, "group/00/object-2"}); err != nil {
			t.Fatal(err)
		}
		_, err = r.Fetch(r.ctx, request(0, 5))
		wantRefusal(t, err, refusalv1.Reason_REASON_INTERNAL)
	})
}

func TestFetchIsFairAndBounded(t *testing.T) {
	const partitions, batchBytes = 10, 1200
	inBubble(t, partitions, Config{}, func(t *testing.T, r *rig) {
		records := []rec{{value: incompressible(batchBytes)}}
		all := make([]int32, partitions)
		req := &dataplanev1.FetchRequest{MaxBytes: 3 * batchBytes}
		for n := range all {
			all[n] = int32(n)
			req.Partitions = append(req.Partitions, request(int32(n), 0).GetPartitions()...)
		}
		for range 3 {
			r.write([][]rec{records, records, records}, all...)
		}
		fetched := 0
		for rounds := 0; fetched < 9*partitions; rounds++ {
			if rounds == 9*partitions {
				t.Fatal("some partition starves")
			}
			res, err := r.Fetch(r.ctx, req)
			if err != nil {
				t.Fatal(err)
			}
			size := 0
			for i, p := range res.GetPartitions() {
				got := offsets(t, p.GetBatches())
				if len(got) > 0 {
					wantOffsets(t, got, req.Partitions[i].Offset, p.GetNextOffset())
				}
				req.Partitions[i].Offset = p.GetNextOffset()
				size += len(p.GetBatches())
				fetched += len(got)
			}
			if size > 3*batchBytes {
				t.Errorf("an answer of %d bytes", size)
			}
			if rounds == 9 { // nobody is served twice before everybody was served about once
				for i, p := range req.Partitions {
					if p.GetOffset() == 0 {
						t.Errorf("partition %d got nothing in ten fetches", i)
					}
				}
			}
		}
	})
}

// incompressible makes a value that LZ4 does not shrink.
func incompressible(n int) []byte {
	b := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

func TestFirstBatchIsWholeWhateverItsSize(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		r.write([][]rec{{{value: incompressible(1 << 20)}}, plain(3)}, 0)
		got := r.fetch(&dataplanev1.FetchRequest{Partitions: request(0, 0).GetPartitions(), MaxBytes: 1})
		wantOffsets(t, offsets(t, got.GetBatches()), 0, 1)
		if got.GetNextOffset() != 1 || got.GetHighWatermark() != 4 {
			t.Errorf("next %d, high watermark %d", got.GetNextOffset(), got.GetHighWatermark())
		}
	})
}

func TestAnswersAreBounded(t *testing.T) {
	const maxBytes = 3 << 20
	inBubble(t, 6, Config{}, func(t *testing.T, r *rig) {
		big := []rec{{value: incompressible(1 << 20)}}
		for range 2 {
			r.write([][]rec{plain(1), big, big}, 0, 1, 2, 3, 4, 5)
		}
		for _, decoded := range []bool{false, true} {
			req := &dataplanev1.FetchRequest{MaxBytes: maxBytes, Decode: decoded}
			for n := range int32(6) {
				req.Partitions = append(req.Partitions, request(n, 0).GetPartitions()...)
			}
			for range 40 {
				res, err := r.Fetch(r.ctx, req)
				if err != nil {
					t.Fatal(err)
				}
				if size := proto.Size(res); size > maxBytes+4096 {
					t.Errorf("an answer of %d bytes, decoded %t", size, decoded)
				}
				for i, p := range res.GetPartitions() {
					req.Partitions[i].Offset = p.GetNextOffset()
				}
			}
			for n, p := range req.GetPartitions() {
				if p.GetOffset() != 6 {
					t.Errorf("partition %d is read up to %d, want 6", n, p.GetOffset())
				}
			}
		}
	})
}

func TestRefusalsStayWithTheirPartitions(t *testing.T) {
	inBubble(t, 2, Config{}, func(t *testing.T, r *rig) {
		r.write([][]rec{plain(5)}, 0)
		req := &dataplanev1.FetchRequest{MaxWaitMs: 60_000, Partitions: []*dataplanev1.FetchPartition{
			{Topic: &dataplanev1.FetchPartition_TopicName{TopicName: topicName}},
			{Topic: &dataplanev1.FetchPartition_TopicName{TopicName: "none"}},
			{Topic: &dataplanev1.FetchPartition_TopicId{TopicId: topicID.String()}, Partition: 7},
			{Topic: &dataplanev1.FetchPartition_TopicId{TopicId: topicID.String()}, Partition: 1, Offset: 3},
			{Topic: &dataplanev1.FetchPartition_TopicId{TopicId: topicID.String()}, Partition: 1},
		}}
		res, err := r.Fetch(r.ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		wantOffsets(t, offsets(t, res.GetPartitions()[0].GetBatches()), 0, 5)
		want := []refusalv1.Reason{
			0, refusalv1.Reason_REASON_UNKNOWN_TOPIC, refusalv1.Reason_REASON_UNKNOWN_PARTITION, refusalv1.Reason_REASON_OUT_OF_RANGE, 0,
		}
		for i, p := range res.GetPartitions() {
			if p.GetRefusal().GetReason() != want[i] {
				t.Errorf("partition %d: %v, want %s", i, p.GetRefusal(), want[i])
			}
		}
		if got := res.GetPartitions()[2].GetRefusal(); got.GetTopic() != topicName || got.GetPartition() != 7 {
			t.Errorf("refusal %v does not name its partition", got)
		}
		_, err = r.Fetch(r.ctx, &dataplanev1.FetchRequest{Partitions: req.GetPartitions()[1:2]})
		wantRefusal(t, err, refusalv1.Reason_REASON_UNKNOWN_TOPIC)
	})
}

func TestP7_OtherGroupsAreRefused(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		r.write([][]rec{plain(1)}, 0)
		other := access.With(t.Context(), access.Principal{Role: accessv1.Role_ROLE_CLIENT, AgentGroup: "other"})
		for name, ctx := range map[string]context.Context{"other group": other, "nobody": t.Context()} {
			_, err := r.Fetch(ctx, request(0, 0))
			wantRefusal(t, err, refusalv1.Reason_REASON_WRONG_AGENT_GROUP)
			_, err = r.ListOffsets(ctx, edge(0, dataplanev1.OffsetEdge_OFFSET_EDGE_LATEST))
			wantRefusal(t, err, refusalv1.Reason_REASON_WRONG_AGENT_GROUP)
			err = r.consume(ctx, &dataplanev1.ConsumeRequest{}, func(*dataplanev1.ConsumeResponse) error { t.Errorf("%s is sent something", name); return nil })
			wantRefusal(t, err, refusalv1.Reason_REASON_WRONG_AGENT_GROUP)
		}
		admin := access.With(t.Context(), access.Principal{Role: accessv1.Role_ROLE_ADMIN})
		if _, err := r.Fetch(admin, request(0, 0)); err != nil {
			t.Errorf("an admin is refused: %v", err)
		}
		r.table.Apply(&controlplanev1.Placement{Revision: 9, Topics: []*controlplanev1.PlacedTopic{{TopicId: topicID[:], Name: topicName, Deleted: true, Revision: 9}}})
		_, err := r.Fetch(r.ctx, request(0, 0))
		wantRefusal(t, err, refusalv1.Reason_REASON_UNKNOWN_TOPIC)
	})
}

func TestDecode(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		written := []rec{
			{key: nil, value: []byte{}, timestamp: 5},
			{key: []byte{}, value: nil, timestamp: 4, headers: []recordbatch.RecordHeader{{Key: "h", Value: nil}, {Key: "h", Value: []byte{}}, {Key: "", Value: []byte("\x00\xff")}}},
			{key: []byte("k"), value: []byte("a\r\nb"), timestamp: 9},
		}
		r.write([][]rec{written, plain(2)}, 0)
		req := request(0, 1)
		req.Decode = true
		got := r.fetch(req)
		if len(got.GetBatches()) != 0 || len(got.GetRecords()) != 4 || got.GetNextOffset() != 5 {
			t.Fatalf("answer %v", got)
		}
		for i, record := range got.GetRecords()[:2] {
			want := written[i+1]
			if record.GetOffset() != int64(i+1) || record.GetTimestampMs() != want.timestamp || string(record.GetKey()) != string(want.key) ||
				(record.Key == nil) != (want.key == nil) || (record.Value == nil) != (want.value == nil) || len(record.GetHeaders()) != len(want.headers) {
				t.Errorf("record %v, want %v", record, want)
			}
			for j, h := range record.GetHeaders() {
				if h.GetKey() != want.headers[j].Key || (h.Value == nil) != (want.headers[j].Value == nil) || string(h.GetValue()) != string(want.headers[j].Value) {
					t.Errorf("header %v, want %v", h, want.headers[j])
				}
			}
		}
		req.Partitions[0].Offset = 0
		req.MaxBytes = 1
		if got := r.fetch(req); len(got.GetRecords()) != 1 || got.GetRecords()[0].Key != nil || got.GetRecords()[0].Value == nil || got.GetNextOffset() != 1 {
			t.Errorf("with a byte to spend: %v", got)
		}
	})
}

// Memory holds records that retention has removed: who reads all the time is told within a second, by the lookup that the agent makes for what
// is read; who comes back later at once. None of them waits for a catalog that does not answer.
func TestDeletedRecordsAreNotReadFromMemory(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		for range 3 {
			r.write([][]rec{plain(10)}, 0)
		}
		readable := func() bool {
			_, err := r.Fetch(r.ctx, request(0, 5))
			return err == nil
		}
		for range 2 { // from the bucket, and from memory
			if !readable() {
				t.Fatal("the records cannot be read")
			}
		}
		r.catalog.Trim(id(0), 10)
		trimmed := time.Now()
		for readable() {
			time.Sleep(50 * time.Millisecond)
		}
		if took := time.Since(trimmed); took == 0 || took > 1100*time.Millisecond {
			t.Errorf("heard of it after %v", took)
		}
		if got := r.fetch(request(0, 10)); got.GetLogStartOffset() != 10 {
			t.Errorf("the log begins at %d", got.GetLogStartOffset())
		}

		time.Sleep(time.Minute + 25*time.Millisecond) // nobody reads, so nobody asks; not at the moment of the watch's own lookup
		r.catalog.Trim(id(0), 20)
		before := len(r.catalog.Calls())
		_, err := r.Fetch(r.ctx, request(0, 15))
		got := wantRefusal(t, err, refusalv1.Reason_REASON_OUT_OF_RANGE).GetOffsets()
		if got.GetLogStartOffset() != 20 || got.GetHighWatermark() != 30 {
			t.Errorf("offsets %v", got)
		}
		if asked := len(r.catalog.Calls()) - before; asked != 1 {
			t.Errorf("%d lookups", asked)
		}

		time.Sleep(time.Minute)
		r.catalog.Delay(time.Minute)
		began := time.Now()
		wantOffsets(t, offsets(t, r.fetch(request(0, 20)).GetBatches()), 20, 30)
		if took := time.Since(began); took > doubtPatience {
			t.Errorf("waited %v for a catalog that does not answer", took)
		}
	})
}
