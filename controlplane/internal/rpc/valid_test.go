package rpc

import (
	"testing"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// good are requests that keep every rule, with every field set.
func good() []proto.Message {
	topic := make([]byte, 16)
	const session = "0190A0b1-c2d3-4e4f-8a5b-6c7d8e9f0a1b"
	batch := &controlplanev1.ProducerBatch{ProducerId: 1, ProducerEpoch: 32767, BaseSequence: 1, RecordCount: 1, BaseOffset: 1}
	segment := &controlplanev1.SegmentCommit{
		TopicId: topic, Partition: 1, Epoch: 1, BaseOffset: 1, RecordCount: 1, BytePosition: 1, SizeBytes: 1, Crc32C: 1, MinTimestampMs: -1,
		MaxTimestampMs: -1, TenureFirstOffset: 1, ProducerBatches: []*controlplanev1.ProducerBatch{batch, batch},
	}
	return []proto.Message{
		&controlplanev1.CommitRequest{SessionId: session, Objects: []*controlplanev1.ObjectCommit{
			{Key: "key", SizeBytes: 1, Segments: []*controlplanev1.SegmentCommit{segment, segment}},
		}},
		&controlplanev1.LookupRequest{Partitions: []*controlplanev1.LookupPartition{
			{TopicId: topic, Partition: 1, Position: &controlplanev1.LookupPartition_Offset{Offset: 1}, MaxSegments: 1000},
			{TopicId: topic, Partition: 1, Position: &controlplanev1.LookupPartition_TimestampMs{TimestampMs: -1}},
		}},
		&controlplanev1.AcquireRequest{SessionId: session, Partitions: []*controlplanev1.AcquirePartition{
			{TopicId: topic, Partition: 1, LastEndedEpoch: 1}, {TopicId: topic, Partition: 2},
		}},
	}
}

// The check by hand and the rules of proto agree on requests in which some fields have values at and beyond their bounds.
func TestValid_AgreesWithTheRules(t *testing.T) {
	t.Parallel()
	said := map[bool]int{}
	for _, request := range good() {
		if !Valid(request) || protovalidate.Validate(request) != nil {
			t.Fatalf("refused: %v", request)
		}
		check := func(t *rapid.T) {
			changed := proto.Clone(request)
			for range rapid.IntRange(0, 2).Draw(t, "changes") {
				spoil(t, changed.ProtoReflect())
			}
			valid := Valid(changed)
			said[valid]++
			if err := protovalidate.Validate(changed); valid != (err == nil) {
				t.Fatalf("by hand %v, by the rules %v: %v", valid, err, changed)
			}
		}
		for range 10 {
			rapid.Check(t, check)
		}
	}
	if said[true] < 300 || said[false] < 300 {
		t.Fatalf("one-sided: %v", said)
	}
}

// spoil changes one field of the message, or of one within it.
func spoil(t *rapid.T, m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	field := fields.Get(rapid.IntRange(0, fields.Len()-1).Draw(t, "field"))
	for i := range fields.Len() { // most fields are deep within
		if fields.Get(i).IsList() && rapid.Bool().Draw(t, "deeper") {
			field = fields.Get(i)
		}
	}
	if field.IsList() {
		spoilList(t, m, field)
		return
	}
	switch field.Kind() {
	case protoreflect.StringKind:
		m.Set(field, protoreflect.ValueOfString(rapid.SampledFrom([]string{
			"", "k", string(make([]byte, 200)), string(make([]byte, 201)), "0190a0b1-c2d3-4e4f-8a5b-6c7d8e9f0a1g", "0190a0b1-c2d3-4e4f-8a5b-6c7d8e9f0a1",
			"0190a0b1-c2d3-4e4f-8a5b-6c7d8e9f0a1bb", "0190a0b1c-2d3-4e4f-8a5b-6c7d8e9f0a1b", "0190a0b1-c2d3-4e4f-8a5b-6c7d8e9f0a1b", "0190A0B1-C2D3-4E4F-8A5B-6C7D8E9F0A1B",
		}).Draw(t, "text")))
	case protoreflect.BytesKind:
		m.Set(field, protoreflect.ValueOfBytes(make([]byte, rapid.SampledFrom([]int{0, 15, 16, 17}).Draw(t, "bytes"))))
	case protoreflect.Int32Kind:
		m.Set(field, protoreflect.ValueOfInt32(rapid.SampledFrom([]int32{-1 << 31, -1, 0, 1, 1000, 1001, 32767, 32768, 1<<31 - 1}).Draw(t, "int32")))
	case protoreflect.Int64Kind:
		m.Set(field, protoreflect.ValueOfInt64(rapid.SampledFrom([]int64{-1 << 63, -1, 0, 1, 1<<63 - 1}).Draw(t, "int64")))
	case protoreflect.Fixed32Kind: // no rule
	default:
		t.Fatalf("a field of kind %v: the check by hand does not know it", field.Kind())
	}
}

// spoilList empties or overfills a list, or spoils one of its messages (most often).
func spoilList(t *rapid.T, m protoreflect.Message, field protoreflect.FieldDescriptor) {
	list := m.Mutable(field).List()
	if list.Len() == 0 {
		return
	}
	switch rapid.IntRange(0, 9).Draw(t, "list") {
	case 0:
		m.Clear(field)
	case 1:
		for part := list.Get(0); list.Len() < rapid.SampledFrom([]int{100, 101, 1000, 1001}).Draw(t, "length"); {
			list.Append(part)
		}
	default:
		spoil(t, list.Get(rapid.IntRange(0, list.Len()-1).Draw(t, "part")).Message())
	}
}

func TestValid_BoundsOfSegments(t *testing.T) {
	t.Parallel()
	request, ok := good()[0].(*controlplanev1.CommitRequest)
	if !ok {
		t.Fatal("the first is a commit")
	}
	object := request.GetObjects()[0]
	segment := object.GetSegments()[0]
	for _, n := range []int{20_000, 20_001} {
		for len(object.GetSegments()) < n {
			object.Segments = append(object.Segments, segment)
		}
		if valid, err := Valid(request), protovalidate.Validate(request); valid != (err == nil) || valid != (n == 20_000) {
			t.Errorf("%d segments: by hand %v, by the rules %v", n, valid, err)
		}
	}
}

func BenchmarkValid(b *testing.B) {
	request, ok := good()[0].(*controlplanev1.CommitRequest)
	if !ok {
		b.Fatal("the first is a commit")
	}
	object := request.GetObjects()[0]
	for len(object.GetSegments()) < 1000 {
		object.Segments = append(object.Segments, object.GetSegments()[0])
	}
	for name, valid := range map[string]func() bool{
		"by hand": func() bool { return Valid(request) }, "by the rules": func() bool { return protovalidate.Validate(request) == nil },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if !valid() {
					b.Fatal("refused")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/segment")
		})
	}
}
