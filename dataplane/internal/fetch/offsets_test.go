package fetch

import (
	"errors"
	"testing"
	"time"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

func listOf(n int32, p *dataplanev1.OffsetPosition) *dataplanev1.ListOffsetsRequest {
	return &dataplanev1.ListOffsetsRequest{Partitions: []*dataplanev1.ListOffsetsPartition{
		{Topic: &dataplanev1.ListOffsetsPartition_TopicName{TopicName: topicName}, Partition: n, Position: p},
	}}
}

func edgeAt(e dataplanev1.OffsetEdge) *dataplanev1.OffsetPosition {
	return &dataplanev1.OffsetPosition{Position: &dataplanev1.OffsetPosition_Edge{Edge: e}}
}

func timeAt(ms int64) *dataplanev1.OffsetPosition {
	return &dataplanev1.OffsetPosition{Position: &dataplanev1.OffsetPosition_TimestampMs{TimestampMs: ms}}
}

func offsetAt(o int64) *dataplanev1.OffsetPosition {
	return &dataplanev1.OffsetPosition{Position: &dataplanev1.OffsetPosition_Offset{Offset: o}}
}

func edge(n int32, e dataplanev1.OffsetEdge) *dataplanev1.ListOffsetsRequest {
	return listOf(n, edgeAt(e))
}

func (r *rig) list(t *testing.T, req *dataplanev1.ListOffsetsRequest) *dataplanev1.ListedOffset {
	t.Helper()
	res, err := r.ListOffsets(r.ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	return res.GetOffsets()[0]
}

func at(timestamps ...int64) []rec {
	all := make([]rec, len(timestamps))
	for i, ts := range timestamps {
		all[i] = rec{value: []byte("v"), timestamp: ts}
	}
	return all
}

func TestListOffsets(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		r.write([][]rec{at(100, 110), at(120, 105)}, 0) // 0-3
		r.write([][]rec{at(90, 95)}, 0)                 // 4-5, late ones
		r.write([][]rec{at(130), at(140, 125, 150)}, 0) // 6-9
		tests := []struct {
			position          *dataplanev1.OffsetPosition
			offset, timestamp int64 // timestamp -1: none
		}{
			{edgeAt(dataplanev1.OffsetEdge_OFFSET_EDGE_EARLIEST), 0, -1},
			{edgeAt(dataplanev1.OffsetEdge_OFFSET_EDGE_LATEST), 10, -1},
			{offsetAt(0), 0, -1},
			{offsetAt(10), 10, -1},
			{offsetAt(4), 4, -1},
			{timeAt(0), 0, 100},
			{timeAt(100), 0, 100},
			{timeAt(101), 1, 110},
			{timeAt(111), 2, 120},
			{timeAt(121), 6, 130},
			{timeAt(130), 6, 130},
			{timeAt(131), 7, 140},
			{timeAt(141), 9, 150},
			{timeAt(151), 10, -1},
			{timeAt(-5), 0, 100},
		}
		for _, test := range tests {
			got := r.list(t, listOf(0, test.position))
			timestamp := int64(-1)
			if got.TimestampMs != nil {
				timestamp = got.GetTimestampMs()
			}
			if got.GetOffset() != test.offset || timestamp != test.timestamp || got.GetHighWatermark() != 10 {
				t.Errorf("%v: %v, want offset %d and timestamp %d", test.position, got, test.offset, test.timestamp)
			}
		}
		_, err := r.ListOffsets(r.ctx, listOf(0, offsetAt(11)))
		wantRefusal(t, err, refusalv1.Reason_REASON_OUT_OF_RANGE)
		_, err = r.ListOffsets(r.ctx, listOf(3, edgeAt(1)))
		wantRefusal(t, err, refusalv1.Reason_REASON_UNKNOWN_PARTITION)
		r.catalog.Trim(id(0), 3) // inside of the first segment
		if got := r.list(t, listOf(0, timeAt(110))); got.GetOffset() != 6 || got.GetLogStartOffset() != 3 {
			t.Errorf("%v, want the first one after the log start", got)
		}
		r.catalog.Fail(errors.New("connection refused"))
		_, err = r.ListOffsets(r.ctx, edge(0, dataplanev1.OffsetEdge_OFFSET_EDGE_LATEST))
		wantRefusal(t, err, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE)
	})
}

func TestSearchFindsWhatWasCompactedMeanwhile(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		old := r.write([][]rec{at(10, 20, 30)}, 0)[0]
		r.catalog.Delay(100 * time.Millisecond)
		go func() {
			time.Sleep(50 * time.Millisecond) // the lookup has read the catalog and is on its way back
			r.ends[0] = 0
			r.catalog.Replace(id(0), segmentOf(r.write([][]rec{at(10, 20, 30)}, 0)[0]))
			if err := r.bucket.Delete(r.ctx, []string{old.ObjectKey}); err != nil {
				t.Error(err)
			}
		}()
		if got := r.list(t, listOf(0, timeAt(15))); got.GetOffset() != 1 || got.GetTimestampMs() != 20 {
			t.Errorf("%v, want offset 1", got)
		}
	})
}

func TestListOffsetsOfManyPartitions(t *testing.T) {
	inBubble(t, 50, Config{}, func(t *testing.T, r *rig) {
		req := &dataplanev1.ListOffsetsRequest{}
		for n := range int32(50) {
			r.write([][]rec{at(int64(n), 1000)}, n)
			req.Partitions = append(req.Partitions, listOf(n, timeAt(10)).GetPartitions()...)
		}
		req.Partitions[7].Topic = &dataplanev1.ListOffsetsPartition_TopicName{TopicName: "none"}
		res, err := r.ListOffsets(r.ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		for n, got := range res.GetOffsets() {
			want := int64(0)
			if n < 10 {
				want = 1
			}
			if n == 7 {
				if got.GetRefusal().GetReason() != refusalv1.Reason_REASON_UNKNOWN_TOPIC {
					t.Errorf("%v, want a refusal", got)
				}
			} else if got.GetOffset() != want || got.GetPartition() != int32(n) || got.GetRefusal() != nil {
				t.Errorf("partition %d: %v, want %d", n, got, want)
			}
		}
	})
}
