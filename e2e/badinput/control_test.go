package badinput_test

import (
	"maps"
	"math"
	"strings"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// badTopics are requests to the control plane, as an administrator.
func (s *suite) badTopics() map[string]refused {
	all := map[string]refused{}
	add := func(name, method, field string, code connect.Code, reason refusalv1.Reason, request proto.Message) {
		all[method+": "+name] = refused{method: method, request: request, code: code, reason: reason, field: field}
	}
	invalid := func(name, method, field string, request proto.Message) {
		add(name, method, field, connect.CodeInvalidArgument, refusalv1.Reason_REASON_INVALID, request)
	}
	names := map[string]string{"empty": "", "long": strings.Repeat("a", 201)}
	maps.Copy(names, odd)
	for name, text := range names {
		invalid("name "+name, "CreateTopic", "name", &controlplanev1.CreateTopicRequest{Name: text, PartitionCount: 1})
		invalid("name "+name, "GetTopic", "name", &controlplanev1.GetTopicRequest{Name: text})
		invalid("name "+name, "UpdateTopic", "name", &controlplanev1.UpdateTopicRequest{Name: text, Config: &controlplanev1.TopicConfig{}})
		invalid("name "+name, "DeleteTopic", "name", &controlplanev1.DeleteTopicRequest{Name: text})
	}
	for name, count := range map[string]int32{"no": 0, "negative": -1, "too many": 100_001, "most": math.MaxInt32, "least": math.MinInt32} {
		invalid(name+" partitions", "CreateTopic", "partition_count", &controlplanev1.CreateTopicRequest{Name: "new", PartitionCount: count})
	}
	add("there already", "CreateTopic", "", connect.CodeAlreadyExists, refusalv1.Reason_REASON_TOPIC_EXISTS,
		&controlplanev1.CreateTopicRequest{Name: orders, PartitionCount: 2})
	add("unknown agent group", "CreateTopic", "", connect.CodeNotFound, refusalv1.Reason_REASON_UNKNOWN_AGENT_GROUP,
		&controlplanev1.CreateTopicRequest{Name: "new", PartitionCount: 1, AgentGroup: "nowhere"})
	invalid("agent group", "CreateTopic", "agent_group", &controlplanev1.CreateTopicRequest{Name: "new", PartitionCount: 1, AgentGroup: "Not/A/Group"})
	for name, size := range map[string]int32{"no": 0, "negative": -1, "too many": 3<<20 + 1} {
		invalid(name+" bytes", "CreateTopic", "config.max_record_bytes",
			&controlplanev1.CreateTopicRequest{Name: "new", PartitionCount: 1, Config: &controlplanev1.TopicConfig{MaxRecordBytes: &size}})
		invalid(name+" bytes", "UpdateTopic", "config.max_record_bytes",
			&controlplanev1.UpdateTopicRequest{Name: orders, Config: &controlplanev1.TopicConfig{MaxRecordBytes: &size}})
	}
	invalid("nothing", "UpdateTopic", "config", &controlplanev1.UpdateTopicRequest{Name: orders})
	for method, request := range map[string]proto.Message{
		"GetTopic":    &controlplanev1.GetTopicRequest{Name: "nowhere"},
		"UpdateTopic": &controlplanev1.UpdateTopicRequest{Name: "nowhere", Config: &controlplanev1.TopicConfig{}},
		"DeleteTopic": &controlplanev1.DeleteTopicRequest{Name: "nowhere"},
		"ListLeases":  &controlplanev1.ListLeasesRequest{Topic: "nowhere"},
	} {
		add("unknown", method, "", connect.CodeNotFound, refusalv1.Reason_REASON_UNKNOWN_TOPIC, request)
	}
	invalid("negative page", "ListTopics", "page_size", &controlplanev1.ListTopicsRequest{PageSize: -1})
	invalid("large page", "ListLeases", "page_size", &controlplanev1.ListLeasesRequest{PageSize: 10_001})
	invalid("token", "ListTopics", "page_token", &controlplanev1.ListTopicsRequest{PageToken: "nonsense"})
	invalid("token", "ListLeases", "page_token", &controlplanev1.ListLeasesRequest{PageToken: "AAAA"})
	invalid("no name", "CreateKey", "name", &controlplanev1.CreateKeyRequest{Role: accessv1.Role_ROLE_CLIENT})
	invalid("name with nul", "CreateKey", "name", &controlplanev1.CreateKeyRequest{Name: "k\x00", Role: accessv1.Role_ROLE_CLIENT})
	invalid("leader with nul", "ListLeases", "leader_agent_id", &controlplanev1.ListLeasesRequest{LeaderAgentId: "a\x00"})
	invalid("no role", "CreateKey", "role", &controlplanev1.CreateKeyRequest{Name: "k"})
	invalid("unknown role", "CreateKey", "role", &controlplanev1.CreateKeyRequest{Name: "k", Role: 99})
	invalid("no UUID", "RevokeKey", "key_id", &controlplanev1.RevokeKeyRequest{KeyId: "42"})
	add("unknown", "RevokeKey", "", connect.CodeNotFound, refusalv1.Reason_REASON_UNKNOWN_KEY, &controlplanev1.RevokeKeyRequest{KeyId: missing})
	return all
}
