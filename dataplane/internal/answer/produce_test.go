package answer

import (
	"bytes"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

func entry(batch []byte) *dataplanev1.ProduceEntry {
	return &dataplanev1.ProduceEntry{
		Topic: &dataplanev1.ProduceEntry_TopicId{TopicId: "id"}, Partition: new(int32(3)), ExpectedOffset: new(int64(9)),
		Payload: &dataplanev1.ProduceEntry_Batch{Batch: batch},
	}
}

func request(entries ...*dataplanev1.ProduceEntry) *dataplanev1.ProduceRequest {
	r := &dataplanev1.ProduceRequest{Acks: dataplanev1.Acks_ACKS_BUFFERED, NoForward: true, ClientZone: "az-a", Entries: entries}
	r.ProtoReflect().SetUnknown(protoreflect.RawFields{0xf8, 0x07, 0x05}) // field 127
	return r
}

func plainEntry(value []byte) *dataplanev1.ProduceEntry {
	e := entry(nil)
	e.Payload = &dataplanev1.ProduceEntry_Records{Records: &dataplanev1.PlainRecords{Records: []*dataplanev1.Record{{Value: value}}}}
	return e
}

// TestRequestsAreDecodedAsEver: whatever stays where it lies, a request is what was sent, also when the buffer has been used for the next one.
func TestRequestsAreDecodedAsEver(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		message *dataplanev1.ProduceRequest
		kept    int // batches that lie in the message's memory
	}{
		"nothing":         {request(), 0},
		"small":           {request(entry(random(1000))), 0},
		"one":             {request(entry(random(1 << 20))), 1},
		"three":           {request(entry(random(400<<10)), entry(random(500<<10)), entry(random(450<<10))), 3},
		"small ones, too": {request(entry(random(600<<10)), entry(random(10)), entry(nil), entry(random(100<<10))), 1},
		"plain records":   {request(plainEntry(random(600<<10)), entry(random(600<<10))), 1},
		"many":            {request(entry(random(100<<10)), entry(random(100<<10)), entry(random(100<<10)), entry(random(100<<10)), entry(random(100<<10))), 0},
	} {
		encoded, err := proto.Marshal(c.message)
		if err != nil {
			t.Fatal(err)
		}
		buffer := bytes.NewBuffer(slices.Clone(encoded))
		lies := buffer.Bytes()
		got := &dataplanev1.ProduceRequest{ClientZone: "of another call"}
		if err := NewCodec().UnmarshalRead(t.Context(), buffer, got); err != nil {
			t.Fatal(err)
		}
		kept := 0
		for _, e := range got.GetEntries() {
			if b := e.GetBatch(); len(b) > 0 && within(lies, b) {
				kept++
				if cap(b) != len(b) {
					t.Errorf("%s: what is appended to a batch overwrites what follows", name)
				}
			}
		}
		if kept != c.kept {
			t.Errorf("%s: %d batches were kept where they lay, want %d", name, kept, c.kept)
		}
		buffer.Reset()
		buffer.Write(bytes.Repeat([]byte{0xee}, len(encoded)))
		if !proto.Equal(got, c.message) {
			t.Errorf("%s: the request is not what was sent", name)
		}
	}
}

// within tells whether b lies in memory.
func within(memory, b []byte) bool {
	for i := range memory {
		if &memory[i] == &b[0] {
			return true
		}
	}
	return false
}

// TestRequestFieldNumbers: the numbers that are written by hand are the schema's.
func TestRequestFieldNumbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		message proto.Message
		name    protoreflect.Name
		number  protowire.Number
	}{
		{&dataplanev1.ProduceRequest{}, "entries", requestEntries},
		{&dataplanev1.ProduceEntry{}, "batch", entryBatch},
		{&dataplanev1.ProduceEntry{}, "records", entryRecords},
	} {
		if f := c.message.ProtoReflect().Descriptor().Fields().ByName(c.name); f == nil || f.Number() != c.number {
			t.Errorf("%s is not field %d", c.name, c.number)
		}
	}
}

// FuzzRequest: protobuf's own decoder is right, whatever the bytes.
func FuzzRequest(f *testing.F) {
	both, _ := proto.Marshal(entry([]byte("batch")))
	records, _ := proto.Marshal(plainEntry([]byte("value")))
	for _, e := range [][]byte{both, records, slices.Concat(both, records), slices.Concat(records, both), slices.Concat(both, both), nil, {0x23}} {
		f.Add(protowire.AppendBytes(protowire.AppendTag(nil, requestEntries, protowire.BytesType), e))
	}
	whole, _ := proto.Marshal(request(entry([]byte("a")), plainEntry(nil)))
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		var got, want dataplanev1.ProduceRequest
		wanted := proto.Unmarshal(b, &want)
		err := NewCodec().unmarshalProduce(slices.Clone(b), &got)
		if (err == nil) != (wanted == nil) {
			t.Fatalf("got error %v, want %v", err, wanted)
		}
		if err == nil && !proto.Equal(&got, &want) {
			t.Fatalf("got %v, want %v", &got, &want)
		}
	})
}
