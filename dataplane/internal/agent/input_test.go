package agent_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

func plain(values ...string) *dataplanev1.ProduceEntry_Records {
	records := &dataplanev1.PlainRecords{}
	for _, v := range values {
		records.Records = append(records.Records, &dataplanev1.Record{Value: []byte(v)})
	}
	return &dataplanev1.ProduceEntry_Records{Records: records}
}

// mend writes a batch's checksum anew.
func mend(batch []byte) []byte {
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
	return batch
}

func TestBadInputIsRefusedWholeBeforeAnythingIsAppended(t *testing.T) {
	tell(t, 2, func(s *story) {
		a := s.Start("a")
		s.leads(a, 1)
		strict := false
		s.Control.CreateTopic("strict", 1, &controlplanev1.TopicConfig{MaxRecordBytes: proto.Int32(10), AllowBufferedAcks: &strict})
		good := s.batch("x", 0, -1)
		change := func(f func([]byte)) *dataplanev1.ProduceEntry_Batch {
			b := bytes.Clone(good)
			f(b)
			return &dataplanev1.ProduceEntry_Batch{Batch: b}
		}
		for name, c := range map[string]struct {
			topic  string
			number int32
			batch  *dataplanev1.ProduceEntry_Batch
			plain  *dataplanev1.ProduceEntry_Records
			acks   dataplanev1.Acks
			code   connect.Code
			reason refusalv1.Reason
		}{
			"unknown topic":     {topic: "nope", plain: plain("x"), code: connect.CodeNotFound, reason: refusalv1.Reason_REASON_UNKNOWN_TOPIC},
			"unknown partition": {number: 2, plain: plain("x"), code: connect.CodeNotFound, reason: refusalv1.Reason_REASON_UNKNOWN_PARTITION},
			"garbage": {
				batch: &dataplanev1.ProduceEntry_Batch{Batch: []byte("hello")},
				code:  connect.CodeInvalidArgument, reason: refusalv1.Reason_REASON_CORRUPT_BATCH,
			},
			"checksum":  {batch: change(func(b []byte) { b[len(b)-1]++ }), code: connect.CodeInvalidArgument, reason: refusalv1.Reason_REASON_CORRUPT_BATCH},
			"truncated": {batch: &dataplanev1.ProduceEntry_Batch{Batch: good[:len(good)-1]}, code: connect.CodeInvalidArgument, reason: refusalv1.Reason_REASON_CORRUPT_BATCH},
			"empty": {
				batch: change(func(b []byte) { copy(b[57:61], make([]byte, 4)); mend(b) }),
				code:  connect.CodeInvalidArgument, reason: refusalv1.Reason_REASON_EMPTY_BATCH,
			},
			"wrong count": {
				batch: change(func(b []byte) { b[60], b[26] = 2, 1; mend(b) }),
				code:  connect.CodeInvalidArgument, reason: refusalv1.Reason_REASON_RECORD_COUNT_MISMATCH,
			},
			"half a producer": {
				batch: change(func(b []byte) { copy(b[43:51], make([]byte, 8)); mend(b) }),
				code:  connect.CodeInvalidArgument, reason: refusalv1.Reason_REASON_INVALID,
			},
			"record too large": {topic: "strict", plain: plain("0123456789a"), code: connect.CodeInvalidArgument, reason: refusalv1.Reason_REASON_RECORD_TOO_LARGE},
			"batch too large": {
				plain: plain(noise(700<<10), noise(700<<10)),
				code:  connect.CodeInvalidArgument, reason: refusalv1.Reason_REASON_BATCH_TOO_LARGE,
			},
			"buffered acks": {
				topic: "strict", plain: plain("x"), acks: dataplanev1.Acks_ACKS_BUFFERED,
				code: connect.CodeFailedPrecondition, reason: refusalv1.Reason_REASON_BUFFERED_ACKS_NOT_ALLOWED,
			},
		} {
			if c.topic == "" {
				c.topic = "orders"
			}
			bad := &dataplanev1.ProduceEntry{Topic: &dataplanev1.ProduceEntry_TopicName{TopicName: c.topic}, Partition: &c.number}
			if c.batch != nil {
				bad.Payload = c.batch
			} else {
				bad.Payload = c.plain
			}
			fine := request(0, bytes.Clone(good)).GetEntries()[0]
			_, err := a.Client.Produce(s.ctx(5*time.Second), &dataplanev1.ProduceRequest{Acks: c.acks, Entries: []*dataplanev1.ProduceEntry{fine, bad}})
			r, _ := refusal.Of(err)
			if connect.CodeOf(err) != c.code || r.GetReason() != c.reason || r.GetWritten() != refusalv1.Written_WRITTEN_SURELY_NOT ||
				r.Entry == nil || r.GetEntry() != 1 {
				t.Errorf("%s: %v, refusal %v", name, err, r)
			}
		}
		if got := s.read(a, 0); len(got) != 0 {
			t.Fatalf("stored all the same: %q", got)
		}
		s.store(a, 0, bytes.Clone(good), 0)
	})
}

// noise does not compress.
func noise(n int) string {
	b := make([]byte, n)
	state := uint64(1)
	for i := range b {
		state = state*6364136223846793005 + 1442695040888963407
		b[i] = byte(state >> 56)
	}
	return string(b)
}

func TestLargestRecordFits(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		value := noise(1 << 20)
		s.store(a, 0, s.batch(value, 0, -1), 0)
		if got := s.read(a, 0); len(got) != 1 || got[0] != value {
			t.Fatal("it came back otherwise")
		}
	})
}

func TestEntriesHaveOutcomesOfTheirOwn(t *testing.T) {
	tell(t, 4, func(s *story) {
		a, b := s.Start("a"), s.Start("b")
		s.Control.Assign(s.part(1), "b")
		s.Control.Assign(s.part(3), "b")
		s.leads(a, 0)
		s.leads(b, 1)
		s.leads(b, 3)
		req := &dataplanev1.ProduceRequest{}
		for n := range int32(4) { // two led here, two elsewhere
			e := request(n, s.batch("x", 2, 0)).GetEntries()[0]
			req.Entries = append(req.Entries, e)
		}
		req.Entries = append(req.Entries, request(0, s.batch("y", 2, 1)).GetEntries()[0], request(1, s.batch("z", 2, 7)).GetEntries()[0])
		req.Entries[0].ExpectedOffset = proto.Int64(0)
		req.Entries[3].ExpectedOffset = proto.Int64(5)
		res, err := a.Client.Produce(s.ctx(5*time.Second), req)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range res.GetOutcomes() {
			switch r := o.GetRefusal(); {
			case r != nil:
				got = append(got, strings.TrimPrefix(r.GetReason().String(), "REASON_"))
			case o.GetStored().GetBaseOffset() == 1:
				got = append(got, "stored at 1")
			default:
				got = append(got, "stored at 0")
			}
		}
		want := []string{"stored at 0", "stored at 0", "stored at 0", "EXPECTED_OFFSET", "stored at 1", "SEQUENCE_GAP"}
		if !slices.Equal(got, want) {
			t.Fatalf("%q", got)
		}
	})
}

func TestPlainRecordsKeepWhatTheyAre(t *testing.T) {
	tell(t, 6, func(s *story) {
		a := s.Start("a")
		s.leads(a, 5)
		records := []*dataplanev1.Record{
			{Key: []byte("k"), Value: []byte("v\r\n\x00\xff"), TimestampMs: proto.Int64(123), Headers: []*dataplanev1.Header{
				{Key: "h", Value: []byte("1")}, {Key: "h"}, {Key: "", Value: []byte{}},
			}},
			{Key: []byte{}, Value: []byte{}, TimestampMs: proto.Int64(122)},
			{TimestampMs: proto.Int64(124)},
		}
		res, err := a.Client.Produce(s.ctx(5*time.Second), &dataplanev1.ProduceRequest{Entries: []*dataplanev1.ProduceEntry{{
			Topic:   &dataplanev1.ProduceEntry_TopicId{TopicId: s.topic.String()},
			Payload: &dataplanev1.ProduceEntry_Records{Records: &dataplanev1.PlainRecords{Records: records}},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		at := res.GetOutcomes()[0]
		fetched, err := a.Client.Fetch(s.ctx(5*time.Second), &dataplanev1.FetchRequest{Decode: true, Partitions: []*dataplanev1.FetchPartition{{
			Topic: &dataplanev1.FetchPartition_TopicId{TopicId: s.topic.String()}, Partition: at.GetPartition(),
		}}})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range records {
			want.Offset = int64(i)
			if got := fetched.GetPartitions()[0].GetRecords()[i]; !proto.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		}
		segment := s.Control.Segments(s.part(at.GetPartition()))[0]
		if segment.GetMaxTimestampMs() != 124 {
			t.Errorf("greatest timestamp %d", segment.GetMaxTimestampMs())
		}
	})
}

func TestRecreatedTopicIsFoundByName(t *testing.T) {
	tell(t, 1, func(s *story) {
		a := s.Start("a")
		s.leads(a, 0)
		s.store(a, 0, s.batch("old", 0, -1), 0)
		a.Link.LoseAnswers("Watch", 1)
		a.Link.LoseRequests("Watch", 1000)
		release := a.Link.Hold("Heartbeat") // a has not heard of it
		time.Sleep(1100 * time.Millisecond)
		s.Control.DeleteTopic(s.topic)
		s.topic = s.Control.CreateTopic("orders", 1, &controlplanev1.TopicConfig{MaxRecordBytes: proto.Int32(1 << 20)})
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.store(a, 0, s.batch("new", 0, -1), 0)
		}()
		time.Sleep(time.Second)
		release()
		<-done
		if got := s.read(a, 0); !slices.Equal(got, []string{"new"}) {
			t.Fatalf("read %q", got)
		}
	})
}
