package produce

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

var anyTopic = route.Topic{Name: "orders", PartitionCount: 1, MaxRecordBytes: 1 << 20}

func threeRecords() []*dataplanev1.Record {
	value := bytes.Repeat([]byte("value "), 100)
	return []*dataplanev1.Record{
		{Key: []byte("first"), Value: value, TimestampMs: new(int64(1_700_000_000_005))},
		{Value: value, TimestampMs: new(int64(1_700_000_000_001))},
		{Value: value, TimestampMs: new(int64(1_700_000_000_009))},
	}
}

// What is built from plain records is not verified again; it is what verification would say.
func TestBuiltBatchesAreTrue(t *testing.T) {
	t.Parallel()
	for plain, codec := range map[bool]recordbatch.Codec{false: recordbatch.LZ4, true: recordbatch.None} {
		batch, key, err := build(newTurn().builder, threeRecords(), anyTopic, plain)
		if err != nil {
			t.Fatal(err)
		}
		info, err := recordbatch.Verify(batch.Bytes, limits(anyTopic), new(recordbatch.Scratch))
		if err != nil {
			t.Fatal(err)
		}
		if batch.Header != info.Header || batch.MinTimestampMs != info.MinTimestamp || !bytes.Equal(key, info.FirstKey) || info.Codec() != codec || batch.Plain != plain {
			t.Errorf("built %+v from %d with key %q, verified %+v", batch.Header, batch.MinTimestampMs, key, info)
		}
		if _, _, err := build(newTurn().builder, nil, anyTopic, plain); err == nil {
			t.Error("no records were built")
		}
	}
}

// Few records are left for the ledger, to be joined with those of other calls; many are compressed by themselves.
func TestOnlyFewRecordsAreJoined(t *testing.T) {
	t.Parallel()
	entry := func(records ...*dataplanev1.Record) *dataplanev1.ProduceEntry {
		return &dataplanev1.ProduceEntry{Payload: &dataplanev1.ProduceEntry_Records{Records: &dataplanev1.PlainRecords{Records: records}}}
	}
	half := &dataplanev1.Record{Value: make([]byte, joinBelow/2)}
	tiny := make([]*dataplanev1.Record, joinBelow/10)
	for i := range tiny {
		tiny[i] = &dataplanev1.Record{}
	}
	for name, test := range map[string]struct {
		call []*dataplanev1.ProduceEntry
		want bool
	}{
		"few":           {[]*dataplanev1.ProduceEntry{entry(threeRecords()...), entry(threeRecords()...)}, true},
		"half":          {[]*dataplanev1.ProduceEntry{entry(half)}, true},
		"two halves":    {[]*dataplanev1.ProduceEntry{entry(half), entry(half)}, false},
		"many and tiny": {[]*dataplanev1.ProduceEntry{entry(tiny...)}, false},
	} {
		if got := joinable(test.call); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// A leader elsewhere gets plain records as such, with the time that they were given here, and makes the same of them.
func TestForwardedPlainRecordsStayWhatTheyAre(t *testing.T) {
	t.Parallel()
	records := append(threeRecords(), &dataplanev1.Record{}, &dataplanev1.Record{Key: []byte{}, Value: []byte{}, Headers: []*dataplanev1.Header{
		{Key: "a", Value: []byte("1")}, {Key: "a"}, {Key: "", Value: []byte{}},
	}})
	batch, _, err := build(newTurn().builder, records, anyTopic, true)
	if err != nil {
		t.Fatal(err)
	}
	forwarded := (&Service{}).forwarded([]*entry{{topic: anyTopic, batch: batch}}).GetEntries()[0]
	wire, err := proto.Marshal(forwarded)
	if err != nil {
		t.Fatal(err)
	}
	arrived := new(dataplanev1.ProduceEntry)
	if err := proto.Unmarshal(wire, arrived); err != nil {
		t.Fatal(err)
	}
	again, _, err := build(newTurn().builder, arrived.GetRecords().GetRecords(), anyTopic, true)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Bytes, batch.Bytes) {
		t.Errorf("%v arrived, %v was sent", arrived, records)
	}
	large, _, err := build(newTurn().builder, records, anyTopic, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := (&Service{}).forwarded([]*entry{{topic: anyTopic, batch: large}}).GetEntries()[0].GetBatch(); !bytes.Equal(got, large.Bytes) {
		t.Error("a compressed batch was not forwarded as it is")
	}
}

// countedAs is a batch whose header claims another number of records, and is sealed again as a dishonest producer would.
func countedAs(batch []byte, count uint32) []byte {
	b := bytes.Clone(batch)
	binary.BigEndian.PutUint32(b[23:], count-1)
	binary.BigEndian.PutUint32(b[57:], count)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func TestVerificationLevels(t *testing.T) {
	t.Parallel()
	built, _, err := build(newTurn().builder, threeRecords(), anyTopic, false)
	if err != nil {
		t.Fatal(err)
	}
	good := built.Bytes
	flipped := bytes.Clone(good)
	flipped[len(flipped)-9] ^= 1
	sized := bytes.Clone(good)
	sized[recordbatch.HeaderBytes+4] = 0x60 // no content size, and so on: not a frame any more
	binary.BigEndian.PutUint32(sized[17:], crc32.Checksum(sized[21:], crc32.MakeTable(crc32.Castagnoli)))
	for name, test := range map[string]struct {
		batch          []byte
		full, checksum bool // accepted
	}{
		"good":            {good, true, true},
		"flipped bit":     {flipped, false, false},
		"dishonest count": {countedAs(good, 2), false, true},
		"broken frame":    {sized, false, false},
		"cut":             {good[:len(good)-1], false, false},
		"nothing":         {nil, false, false},
	} {
		for level, want := range map[Level]bool{Full: test.full, Checksum: test.checksum, "": test.full} {
			s := &Service{Config: Config{Verify: level}}
			in := &dataplanev1.ProduceEntry{Partition: new(int32(0)), Payload: &dataplanev1.ProduceEntry_Batch{Batch: test.batch}}
			batch, key, err := s.verify(in, anyTopic, new(recordbatch.Scratch))
			if (err == nil) != want {
				t.Errorf("%s, level %q: %v", name, level, err)
			}
			if _, known := errors.AsType[*recordbatch.Error](err); err != nil && !known {
				t.Errorf("%s, level %q: %v is no verdict on the batch", name, level, err)
			}
			if err == nil && level == Full && (batch.MinTimestampMs != built.MinTimestampMs || string(key) != "first") {
				t.Errorf("%s: from %d, key %q", name, batch.MinTimestampMs, key)
			}
		}
	}
	keyed := &dataplanev1.ProduceEntry{Payload: &dataplanev1.ProduceEntry_Batch{Batch: countedAs(good, 2)}}
	if _, _, err := (&Service{Config: Config{Verify: Checksum}}).verify(keyed, anyTopic, new(recordbatch.Scratch)); err == nil {
		t.Error("a batch whose key decides its partition was not read")
	}
}

// A topic that is compacted by key takes no record without one, whoever batches and however far batches are verified.
func TestCompactedTopicsTakeNoRecordWithoutAKey(t *testing.T) {
	t.Parallel()
	compacted := anyTopic
	compacted.KeysRequired = true
	_, _, err := build(newTurn().builder, threeRecords(), compacted, true)
	wantNoKey(t, err)
	built, _, err := build(newTurn().builder, threeRecords(), anyTopic, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range []Level{Full, Checksum} {
		s := &Service{Config: Config{Verify: level}}
		_, _, err := s.verify(&dataplanev1.ProduceEntry{
			Partition: new(int32(0)), Payload: &dataplanev1.ProduceEntry_Batch{Batch: built.Bytes},
		}, compacted, new(recordbatch.Scratch))
		wantNoKey(t, err)
	}
}

func wantNoKey(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*recordbatch.Error](err)
	if !ok || e.Reason != recordbatch.NoKey || e.Record != 1 {
		t.Errorf("%v, want that record 1 has no key", err)
	}
}
