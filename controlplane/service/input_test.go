package service_test

import (
	"net/http"
	"strings"
	"testing"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
)

// badNames are refused wherever a topic is named.
var badNames = []string{
	"", "a/b", "/", "../a", ".", "..", "a.b", "a\x00b", "a\nb", "\x1b[31m", "a b", "ä", "\u65e5\u672c", `a"b`, "a'b; drop table topic; --", "%2f", strings.Repeat("a", 201),
}

func TestBadInputIsNamedAndStoresNothing(t *testing.T) {
	t.Parallel()
	r := serve(t, configure(pgtest.URL(t)))
	topics, keys, cluster := r.topics(r.admin), r.keys(r.admin), r.cluster(r.admin)
	agent := r.agents(r.key(accessv1.Role_ROLE_AGENT, ""))
	ctx := t.Context()
	type refused struct {
		what, field string
		err         error
	}
	var all []refused
	add := func(what, field string, err error) { all = append(all, refused{what, field, err}) }

	for _, name := range badNames {
		_, err := topics.CreateTopic(ctx, &controlplanev1.CreateTopicRequest{Name: name, PartitionCount: 1})
		add("create "+name, "name", err)
		_, err = topics.GetTopic(ctx, &controlplanev1.GetTopicRequest{Name: name})
		add("get "+name, "name", err)
		_, err = topics.DeleteTopic(ctx, &controlplanev1.DeleteTopicRequest{Name: name})
		add("delete "+name, "name", err)
		_, err = topics.UpdateTopic(ctx, &controlplanev1.UpdateTopicRequest{Name: name, Config: &controlplanev1.TopicConfig{}})
		add("update "+name, "name", err)
	}
	for _, count := range []int32{0, -1, 100_001, 1<<31 - 1, -1 << 31} {
		_, err := topics.CreateTopic(ctx, &controlplanev1.CreateTopicRequest{Name: "a", PartitionCount: count})
		add("partitions", "partition_count", err)
	}
	for _, group := range []string{"Default", "a/b", "..", strings.Repeat("a", 41), "a_b"} {
		_, err := topics.CreateTopic(ctx, &controlplanev1.CreateTopicRequest{Name: "a", PartitionCount: 1, AgentGroup: group})
		add("group "+group, "agent_group", err)
		_, err = keys.CreateKey(ctx, &controlplanev1.CreateKeyRequest{Name: "a", Role: accessv1.Role_ROLE_AGENT, AgentGroup: group})
		add("key's group "+group, "agent_group", err)
		_, err = cluster.ListAgents(ctx, &controlplanev1.ListAgentsRequest{AgentGroup: group})
		add("agents of "+group, "agent_group", err)
	}
	for _, size := range []int32{0, -1, 3<<20 + 1} {
		_, err := topics.CreateTopic(ctx, &controlplanev1.CreateTopicRequest{
			Name: "a", PartitionCount: 1, Config: &controlplanev1.TopicConfig{MaxRecordBytes: new(size)},
		})
		add("record size", "config.max_record_bytes", err)
	}
	_, err := topics.UpdateTopic(ctx, &controlplanev1.UpdateTopicRequest{Name: "a"})
	add("update without a configuration", "config", err)
	_, err = topics.ListTopics(ctx, &controlplanev1.ListTopicsRequest{PageSize: -1})
	add("page size", "page_size", err)
	_, err = keys.CreateKey(ctx, &controlplanev1.CreateKeyRequest{Name: "a", Role: 77})
	add("unknown role", "role", err)
	_, err = keys.CreateKey(ctx, &controlplanev1.CreateKeyRequest{Name: "a"})
	add("no role", "role", err)
	_, err = keys.CreateKey(ctx, &controlplanev1.CreateKeyRequest{Role: accessv1.Role_ROLE_ADMIN})
	add("no name", "name", err)
	_, err = keys.RevokeKey(ctx, &controlplanev1.RevokeKeyRequest{KeyId: "1"})
	add("no UUID", "key_id", err)
	_, err = keys.CreateKey(ctx, &controlplanev1.CreateKeyRequest{Name: "a\x00", Role: accessv1.Role_ROLE_ADMIN})
	add("name with NUL", "name", err)
	_, err = cluster.ListLeases(ctx, &controlplanev1.ListLeasesRequest{LeaderAgentId: "a\x00"})
	add("leader with NUL", "leader_agent_id", err)
	_, err = agent.ResolveTopics(ctx, &controlplanev1.ResolveTopicsRequest{Names: []string{"a", "a\x00"}})
	add("name with NUL", "names[1]", err)
	_, err = agent.Register(ctx, &controlplanev1.RegisterRequest{AgentId: "a", AgentGroup: "default", Zone: "z", Address: "http://a:1", Version: "\x00"})
	add("version with NUL", "version", err)
	_, err = agent.Heartbeat(ctx, &controlplanev1.HeartbeatRequest{SessionId: "x"})
	add("no session", "session_id", err)
	_, err = agent.Authenticate(ctx, &controlplanev1.AuthenticateRequest{KeySha256: []byte("short")})
	add("short hash", "key_sha256", err)
	_, err = agent.AllocateProducerIds(ctx, &controlplanev1.AllocateProducerIdsRequest{})
	add("no ids", "count", err)
	_, err = agent.Lookup(ctx, &controlplanev1.LookupRequest{})
	add("no partitions", "partitions", err)
	_, err = agent.Lookup(ctx, &controlplanev1.LookupRequest{Partitions: []*controlplanev1.LookupPartition{{
		TopicId: make([]byte, 16), Position: &controlplanev1.LookupPartition_Offset{Offset: -1},
	}}})
	add("negative offset", "partitions[0].offset", err)
	_, err = agent.Commit(ctx, &controlplanev1.CommitRequest{SessionId: someSession, Objects: []*controlplanev1.ObjectCommit{{Key: "a", SizeBytes: 1}}})
	add("no segments", "objects[0].segments", err)
	_, err = agent.Register(ctx, &controlplanev1.RegisterRequest{AgentId: "a/b", AgentGroup: "default", Zone: "z", Address: "http://a:1"})
	add("agent id", "agent_id", err)
	_, err = agent.Register(ctx, &controlplanev1.RegisterRequest{AgentId: "a", AgentGroup: "default", Zone: "z", Address: "not a url"})
	add("agent address", "address", err)

	for _, bad := range all {
		if got := wants(t, bad.what, bad.err, refusalv1.Reason_REASON_INVALID); got.GetField() != bad.field {
			t.Errorf("%q: names the field %q, not %q", bad.what, got.GetField(), bad.field)
		}
	}
	for _, token := range []string{"!", "nonsense", "AAAA"} { // not base64; not UTF-8; NUL
		_, err = topics.ListTopics(ctx, &controlplanev1.ListTopicsRequest{PageToken: token})
		wants(t, "page token "+token, err, refusalv1.Reason_REASON_INVALID)
		_, err = cluster.ListLeases(ctx, &controlplanev1.ListLeasesRequest{PageToken: token})
		wants(t, "page token "+token, err, refusalv1.Reason_REASON_INVALID)
	}
	if list, err := topics.ListTopics(ctx, &controlplanev1.ListTopicsRequest{}); err != nil || len(list.GetTopics()) != 0 {
		t.Errorf("something was stored: %v, %v", list, err)
	}
}

const someSession = "5b0c4f5e-0a55-4a9c-8e4f-6f0b5b1d2c3a"

func TestWhatIsNotThereAndWhatIsThereTwice(t *testing.T) {
	t.Parallel()
	r := serve(t, configure(pgtest.URL(t)))
	topics, ctx := r.topics(r.admin), t.Context()
	first, err := topics.CreateTopic(ctx, &controlplanev1.CreateTopicRequest{Name: "orders", PartitionCount: 3})
	if err != nil {
		t.Fatal(err)
	}
	_, err = topics.CreateTopic(ctx, &controlplanev1.CreateTopicRequest{Name: "orders", PartitionCount: 3})
	wants(t, "the same topic again", err, refusalv1.Reason_REASON_TOPIC_EXISTS)
	_, err = topics.CreateTopic(ctx, &controlplanev1.CreateTopicRequest{Name: "other", PartitionCount: 1, AgentGroup: "nowhere"})
	wants(t, "an unknown agent group", err, refusalv1.Reason_REASON_UNKNOWN_AGENT_GROUP)
	_, err = topics.GetTopic(ctx, &controlplanev1.GetTopicRequest{Name: "nothing"})
	if got := wants(t, "get", err, refusalv1.Reason_REASON_UNKNOWN_TOPIC); got.GetTopic() != "nothing" {
		t.Errorf("names the topic %q", got.GetTopic())
	}
	_, err = topics.DeleteTopic(ctx, &controlplanev1.DeleteTopicRequest{Name: "nothing"})
	wants(t, "delete", err, refusalv1.Reason_REASON_UNKNOWN_TOPIC)
	_, err = topics.UpdateTopic(ctx, &controlplanev1.UpdateTopicRequest{Name: "nothing", Config: &controlplanev1.TopicConfig{}})
	wants(t, "update", err, refusalv1.Reason_REASON_UNKNOWN_TOPIC)
	_, err = r.cluster(r.admin).ListLeases(ctx, &controlplanev1.ListLeasesRequest{Topic: "nothing"})
	wants(t, "leases", err, refusalv1.Reason_REASON_UNKNOWN_TOPIC)
	if _, err := topics.DeleteTopic(ctx, &controlplanev1.DeleteTopicRequest{Name: "orders"}); err != nil {
		t.Fatal(err)
	}
	again, err := topics.CreateTopic(ctx, &controlplanev1.CreateTopicRequest{Name: "orders", PartitionCount: 3})
	if err != nil || again.GetTopic().GetTopicId() == first.GetTopic().GetTopicId() {
		t.Errorf("a topic made anew shares nothing with the old one: %v, %v", again, err)
	}
}

// TestRawRequests sends what no client of ours sends.
func TestRawRequests(t *testing.T) {
	t.Parallel()
	r := serve(t, configure(pgtest.URL(t)))
	create := r.url + controlplanev1connect.TopicServiceCreateTopicProcedure
	for name, c := range map[string]struct {
		body, contentType string
		status            int
	}{
		"cut json":        {`{"name":"a",`, "application/json", http.StatusBadRequest},
		"no json":         {`hello`, "application/json", http.StatusBadRequest},
		"a number":        {`{"name":"a","partitionCount":"many"}`, "application/json", http.StatusBadRequest},
		"a huge number":   {`{"name":"a","partitionCount":99999999999999999999}`, "application/json", http.StatusBadRequest},
		"broken protobuf": {"\x0a\xff", "application/proto", http.StatusBadRequest},
		"empty":           {"", "application/json", http.StatusBadRequest},
		"too large":       {`{"name":"` + strings.Repeat("a", 5<<20) + `"}`, "application/json", http.StatusTooManyRequests},
		"another type":    {"a", "text/html", http.StatusUnsupportedMediaType},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, create, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", c.contentType)
		request.Header.Set("Authorization", "Bearer "+r.admin.Reveal())
		transport := &http.Transport{}
		response, err := (&http.Client{Transport: transport}).Do(request)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = response.Body.Close()
		transport.CloseIdleConnections()
		if response.StatusCode != c.status {
			t.Errorf("%s: got %d, want %d", name, response.StatusCode, c.status)
		}
	}
	if list, err := r.topics(r.admin).ListTopics(t.Context(), &controlplanev1.ListTopicsRequest{}); err != nil || len(list.GetTopics()) != 0 {
		t.Errorf("something was stored, or the process suffers: %v, %v", list, err)
	}
}
