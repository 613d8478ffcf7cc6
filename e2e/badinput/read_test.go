package badinput_test

import (
	"math"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

func fetch(topic string, partition int32, offset int64) *dataplanev1.FetchRequest {
	return &dataplanev1.FetchRequest{Partitions: []*dataplanev1.FetchPartition{{
		Topic: &dataplanev1.FetchPartition_TopicName{TopicName: topic}, Partition: partition, Offset: offset,
	}}}
}

func at(offset int64) *dataplanev1.OffsetPosition {
	return &dataplanev1.OffsetPosition{Position: &dataplanev1.OffsetPosition_Offset{Offset: offset}}
}

func edge(e dataplanev1.OffsetEdge) *dataplanev1.OffsetPosition {
	return &dataplanev1.OffsetPosition{Position: &dataplanev1.OffsetPosition_Edge{Edge: e}}
}

func consume(topic string, partition int32, position *dataplanev1.OffsetPosition) *dataplanev1.ConsumeRequest {
	return &dataplanev1.ConsumeRequest{
		Topic: &dataplanev1.ConsumeRequest_TopicName{TopicName: topic}, Partitions: []*dataplanev1.ConsumePartition{{Partition: partition, Position: position}},
	}
}

func list(topic string, partition int32, position *dataplanev1.OffsetPosition) *dataplanev1.ListOffsetsRequest {
	return &dataplanev1.ListOffsetsRequest{Partitions: []*dataplanev1.ListOffsetsPartition{{
		Topic: &dataplanev1.ListOffsetsPartition_TopicName{TopicName: topic}, Partition: partition, Position: position,
	}}}
}

// namesOffsets says whether a refusal names where the log of orders begins and ends.
func namesOffsets(r *refusalv1.Refusal) bool {
	return r.GetOffsets().GetLogStartOffset() == 0 && r.GetOffsets().GetHighWatermark() == stored && r.GetTopic() == orders && r.Partition != nil
}

func (s *suite) badReads() map[string]refused {
	all := map[string]refused{}
	invalid := func(name, method, field string, request proto.Message) {
		all[name] = refused{method: method, request: request, code: connect.CodeInvalidArgument, reason: refusalv1.Reason_REASON_INVALID, field: field}
	}
	// Every way to read, from wherever.
	reads := func(name, topic string, partition int32, offset int64, want refused) {
		for method, request := range map[string]proto.Message{
			"Fetch": fetch(topic, partition, offset), "Consume": consume(topic, partition, at(offset)), "ListOffsets": list(topic, partition, at(offset)),
		} {
			want.method, want.request = method, request
			all[method+" of "+name] = want
		}
	}
	unknownTopic := refused{code: connect.CodeNotFound, reason: refusalv1.Reason_REASON_UNKNOWN_TOPIC}
	reads("unknown topic", "nowhere", 0, 0, unknownTopic)
	for name, topic := range odd {
		reads("a name with "+name, topic, 0, 0, unknownTopic)
	}
	unknownPartition := refused{code: connect.CodeNotFound, reason: refusalv1.Reason_REASON_UNKNOWN_PARTITION}
	reads("unknown partition", orders, 2, 0, unknownPartition)
	reads("partition far away", orders, math.MaxInt32, 0, unknownPartition)
	outOfRange := refused{code: connect.CodeOutOfRange, reason: refusalv1.Reason_REASON_OUT_OF_RANGE, also: namesOffsets}
	reads("offset past the end", orders, 0, stored+1, outOfRange)
	reads("offset far past the end", orders, 0, math.MaxInt64, outOfRange)

	invalid("negative offset", "Fetch", "partitions[0].offset", fetch(orders, 0, -1))
	invalid("least offset", "Fetch", "partitions[0].offset", fetch(orders, 0, math.MinInt64))
	invalid("negative partition", "Fetch", "partitions[0].partition", fetch(orders, -1, 0))
	invalid("nothing to fetch", "Fetch", "partitions", &dataplanev1.FetchRequest{})
	invalid("no topic to fetch", "Fetch", "partitions[0].topic", &dataplanev1.FetchRequest{Partitions: []*dataplanev1.FetchPartition{{}}})
	for name, change := range map[string]func(*dataplanev1.FetchRequest) string{
		"long wait":      func(r *dataplanev1.FetchRequest) string { r.MaxWaitMs = 60_001; return "max_wait_ms" },
		"negative wait":  func(r *dataplanev1.FetchRequest) string { r.MaxWaitMs = -1; return "max_wait_ms" },
		"too many bytes": func(r *dataplanev1.FetchRequest) string { r.MaxBytes = 3<<20 + 1; return "max_bytes" },
		"negative bytes": func(r *dataplanev1.FetchRequest) string { r.MaxBytes = -1; return "max_bytes" },
		"too many partitions": func(r *dataplanev1.FetchRequest) string {
			for range 1000 {
				r.Partitions = append(r.Partitions, r.GetPartitions()[0])
			}
			return "partitions"
		},
	} {
		request := fetch(orders, 0, 0)
		field := change(request)
		invalid(name, "Fetch", field, request)
	}
	invalid("consume: negative offset", "Consume", "partitions[0].position.offset", consume(orders, 0, at(-1)))
	invalid("consume: negative partition", "Consume", "partitions[0].partition", consume(orders, -1, at(0)))
	invalid("consume: no position", "Consume", "partitions[0].position", consume(orders, 0, nil))
	invalid("consume: no place", "Consume", "partitions[0].position.position", consume(orders, 0, &dataplanev1.OffsetPosition{}))
	invalid("consume: no edge", "Consume", "partitions[0].position.edge", consume(orders, 0, edge(0)))
	invalid("consume: no topic", "Consume", "topic", &dataplanev1.ConsumeRequest{})
	invalid("list: negative offset", "ListOffsets", "partitions[0].position.offset", list(orders, 0, at(-1)))
	invalid("list: unknown edge", "ListOffsets", "partitions[0].position.edge", list(orders, 0, edge(9)))
	invalid("list: nothing", "ListOffsets", "partitions", &dataplanev1.ListOffsetsRequest{})
	invalid("metadata: no name", "GetMetadata", "topics[0]", &dataplanev1.GetMetadataRequest{Topics: []string{""}})
	return all
}
