package access_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/wire"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

func method(t *testing.T, name string) protoreflect.MethodDescriptor {
	t.Helper()
	for _, m := range append(wire.Methods("streamhouse.dataplane.v1"), wire.Methods("streamhouse.controlplane.v1")...) {
		if string(m.Name()) == name {
			return m
		}
	}
	t.Fatalf("no RPC %s", name)
	return nil
}

// ask calls an RPC and returns the error.
func ask(ctx context.Context, t *testing.T, url, key, name string, request, response proto.Message) error {
	t.Helper()
	if response == nil {
		response = wire.Response(method(t, name))
	}
	return wire.Call(ctx, wire.Dial(t, wire.Suited(method(t, name)), url, key), method(t, name), request, response)
}

func expect(ctx context.Context, t *testing.T, url, key, name string, request proto.Message, want ...refusalv1.Reason) {
	t.Helper()
	err := ask(ctx, t, url, key, name, request, nil)
	if got := wire.Refusal(err).GetReason(); !slices.Contains(want, got) || (err != nil && got == 0) {
		t.Errorf("%s at %s: got %v (%v), wanted %v", name, url, got, err, want)
	}
}

func produce(topic string) *dataplanev1.ProduceRequest {
	return &dataplanev1.ProduceRequest{Entries: []*dataplanev1.ProduceEntry{{
		Topic: &dataplanev1.ProduceEntry_TopicName{TopicName: topic}, Partition: new(int32(0)),
		Payload: &dataplanev1.ProduceEntry_Records{Records: &dataplanev1.PlainRecords{Records: []*dataplanev1.Record{{Value: []byte("x")}}}},
	}}}
}

// calls are one of each kind that a client may make about a topic.
func calls(topic string) map[string]proto.Message {
	earliest := &dataplanev1.OffsetPosition{Position: &dataplanev1.OffsetPosition_Edge{Edge: dataplanev1.OffsetEdge_OFFSET_EDGE_EARLIEST}}
	return map[string]proto.Message{
		"Produce":     produce(topic),
		"Fetch":       &dataplanev1.FetchRequest{Partitions: []*dataplanev1.FetchPartition{{Topic: &dataplanev1.FetchPartition_TopicName{TopicName: topic}}}},
		"Consume":     &dataplanev1.ConsumeRequest{Topic: &dataplanev1.ConsumeRequest_TopicName{TopicName: topic}},
		"ListOffsets": &dataplanev1.ListOffsetsRequest{Partitions: []*dataplanev1.ListOffsetsPartition{{Topic: &dataplanev1.ListOffsetsPartition_TopicName{TopicName: topic}, Position: earliest}}},
		"GetMetadata": &dataplanev1.GetMetadataRequest{Topics: []string{topic}}, "AllocateProducerId": &dataplanev1.AllocateProducerIdRequest{},
	}
}

// otherClients knock at both agents, for both topics: a client gets in at its own agent group's agents, for its own topics, and nowhere else.
func otherClients(ctx context.Context, t *testing.T, s *suite) {
	for _, c := range []struct {
		agent      *cluster.Agent
		own, other string
		group      string
	}{{s.homeAgent, homeTopic, awayTopic, home}, {s.awayAgent, awayTopic, homeTopic, away}} {
		stranger := s.keys[home][client.RoleClient]
		if c.group == home {
			stranger = s.keys[away][client.RoleClient]
		}
		for _, topic := range []string{c.own, c.other} {
			for name, request := range calls(topic) {
				expect(ctx, t, c.agent.URL, stranger, name, request, refusalv1.Reason_REASON_WRONG_AGENT_GROUP)
			}
		}
		friend := s.keys[c.group][client.RoleClient]
		for name, request := range calls(c.other) { // the other's topic, at one's own agent: as if it did not exist
			if name != "AllocateProducerId" && name != "GetMetadata" {
				expect(ctx, t, c.agent.URL, friend, name, request, refusalv1.Reason_REASON_UNKNOWN_TOPIC, refusalv1.Reason_REASON_WRONG_AGENT_GROUP)
			}
		}
		expect(ctx, t, c.agent.URL, friend, "Produce", produce(c.own), 0)
		expect(ctx, t, c.agent.URL, friend, "Fetch", calls(c.own)["Fetch"], 0)
	}
}

// otherAgents uses the agent key of one group at every door for what is another's: sessions, leases, lookups, topics, peers.
func otherAgents(ctx context.Context, t *testing.T, s *suite) {
	control, key := s.ControlPlanes[0].URL, s.keys[away][client.RoleAgent]
	topic, _, err := s.Admin(t).DescribeTopic(ctx, homeTopic)
	if err != nil {
		t.Fatal(err)
	}
	id := uuidBytes(t, topic.ID)
	register := &controlplanev1.RegisterRequest{AgentId: "intruder", AgentGroup: home, Zone: "az-a", Address: "http://127.0.0.1:1", Version: "0"}
	expect(ctx, t, control, key, "Register", register, refusalv1.Reason_REASON_WRONG_AGENT_GROUP)
	register.AgentGroup = away
	session := &controlplanev1.RegisterResponse{}
	if err := ask(ctx, t, control, key, "Register", register, session); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = ask(ctx, t, control, key, "Deregister", &controlplanev1.DeregisterRequest{SessionId: session.GetSessionId()}, nil)
	}()
	acquired := &controlplanev1.AcquireResponse{}
	err = ask(ctx, t, control, key, "Acquire",
		&controlplanev1.AcquireRequest{SessionId: session.GetSessionId(), Partitions: []*controlplanev1.AcquirePartition{{TopicId: id}}}, acquired)
	if err != nil || acquired.GetOutcomes()[0].GetRefusal().GetReason() != refusalv1.Reason_REASON_WRONG_AGENT_GROUP {
		t.Errorf("acquire: %v, %v", acquired, err)
	}
	looked := &controlplanev1.LookupResponse{}
	err = ask(ctx, t, control, key, "Lookup", &controlplanev1.LookupRequest{Partitions: []*controlplanev1.LookupPartition{{TopicId: id}}}, looked)
	if r := looked.GetOutcomes()[0]; err != nil || r.GetRefusal().GetReason() != refusalv1.Reason_REASON_WRONG_AGENT_GROUP || r.GetHighWatermark() != 0 || r.GetLeaderSessionId() != "" {
		t.Errorf("lookup: %v, %v", looked, err)
	}
	resolved := &controlplanev1.ResolveTopicsResponse{}
	err = ask(ctx, t, control, key, "ResolveTopics", &controlplanev1.ResolveTopicsRequest{Names: []string{homeTopic}, TopicIds: [][]byte{id}}, resolved)
	if err != nil || len(resolved.GetTopics())+len(resolved.GetPartitions()) > 0 {
		t.Errorf("resolve: %v, %v", resolved, err)
	}
	s.commitElsewhere(ctx, t, session.GetSessionId(), id)
	s.watchElsewhere(ctx, t, session.GetSessionId(), id)
	forward := &dataplanev1.ForwardProduceRequest{Produce: produce(homeTopic)}
	forward.Produce.Entries[0].Topic = &dataplanev1.ProduceEntry_TopicId{TopicId: topic.ID}
	expect(ctx, t, s.homeAgent.URL, key, "ForwardProduce", forward, refusalv1.Reason_REASON_WRONG_AGENT_GROUP)
	at := &dataplanev1.PeerPartition{TopicId: id}
	for name, request := range map[string]proto.Message{
		"TakeOver":   &dataplanev1.TakeOverRequest{Partitions: []*dataplanev1.TakeOverPartition{{Partition: at, Epoch: 1}}},
		"ReadObject": &dataplanev1.ReadObjectRequest{ObjectKey: home + "/00/0-" + session.GetSessionId() + "-1", SizeBytes: 1},
		"Notices":    &dataplanev1.NoticesRequest{Add: []*dataplanev1.PeerPartition{at}},
	} {
		expect(ctx, t, s.homeAgent.URL, key, name, request, refusalv1.Reason_REASON_WRONG_AGENT_GROUP)
	}
	for name, request := range calls(homeTopic) {
		expect(ctx, t, s.homeAgent.URL, key, name, request, refusalv1.Reason_REASON_MISSING_ROLE)
	}
}

// commitElsewhere commits an object for another group's partition: under its own prefix, and under the other's.
func (s *suite) commitElsewhere(ctx context.Context, t *testing.T, session string, topic []byte) {
	t.Helper()
	_, before, err := s.Admin(t).DescribeTopic(ctx, homeTopic)
	if err != nil {
		t.Fatal(err)
	}
	for _, group := range []string{away, home} {
		commit := &controlplanev1.CommitRequest{SessionId: session, Objects: []*controlplanev1.ObjectCommit{{
			Key: group + "/00/0-" + session + "-1", SizeBytes: 1000,
			Segments: []*controlplanev1.SegmentCommit{{
				TopicId: topic, Epoch: before[0].Epoch, BaseOffset: before[0].HighWatermark, RecordCount: 1, SizeBytes: 100,
			}},
		}}}
		answer := &controlplanev1.CommitResponse{}
		err := ask(ctx, t, s.ControlPlanes[0].URL, s.keys[away][client.RoleAgent], "Commit", commit, answer)
		t.Logf("a commit under %s/: %v, %v", group, answer, err)
		for _, object := range answer.GetObjects() {
			for _, entry := range object.GetSegments() {
				if entry.GetResult() == controlplanev1.SegmentResult_SEGMENT_RESULT_COMMITTED {
					t.Errorf("a commit under %s/ for the other's partition: %v", group, entry)
				}
			}
		}
	}
	_, after, err := s.Admin(t).DescribeTopic(ctx, homeTopic)
	if err != nil || after[0].Epoch != before[0].Epoch {
		t.Errorf("the partition went from %+v to %+v, %v", before[0], after[0], err)
	}
}

// watchElsewhere expects the placement that a session is told to have nothing of the other agent group.
func (s *suite) watchElsewhere(ctx context.Context, t *testing.T, session string, topic []byte) {
	t.Helper()
	seen := &controlplanev1.WatchResponse{}
	if err := ask(ctx, t, s.ControlPlanes[0].URL, s.keys[away][client.RoleAgent], "Watch", &controlplanev1.WatchRequest{SessionId: session}, seen); err != nil {
		t.Fatal(err)
	}
	for _, placed := range seen.GetPlacement().GetTopics() {
		if string(placed.GetTopicId()) == string(topic) || placed.GetName() == homeTopic {
			t.Errorf("it is told of %v", placed)
		}
	}
	for _, agent := range seen.GetPlacement().GetAgents() {
		if agent.GetAgentId() == s.homeAgent.ID {
			t.Errorf("it is told of %v", agent)
		}
	}
}

// visible is what a client may see: topics, agents and leases of its own agent group.
func visible(ctx context.Context, t *testing.T, s *suite) {
	admin := s.Client(t, client.WithAPIKey(s.keys[away][client.RoleClient])).Admin()
	topics, err := admin.ListTopics(ctx)
	if err != nil || len(topics) != 1 || topics[0].Name != awayTopic {
		t.Errorf("topics: %v, %v", topics, err)
	}
	leases, err := admin.ListLeases(ctx, client.LeaseFilter{})
	if err != nil || len(leases) != 1 || leases[0].Topic != awayTopic {
		t.Errorf("leases: %v, %v", leases, err)
	}
	agents, err := admin.ListAgents(ctx, "")
	for _, a := range agents {
		if a.AgentGroup != away {
			t.Errorf("sees the agent %+v", a)
		}
	}
	if err != nil || len(agents) == 0 {
		t.Errorf("agents: %v, %v", agents, err)
	}
	if agents, err := admin.ListAgents(ctx, home); err == nil && len(agents) > 0 {
		t.Errorf("the other group's agents: %v", agents)
	}
	if _, _, err := admin.DescribeTopic(ctx, homeTopic); !errors.Is(err, client.ReasonUnknownTopic) && !errors.Is(err, client.ReasonWrongAgentGroup) {
		t.Errorf("the other's topic: %v", err)
	}
	if _, err := admin.CreateTopic(ctx, client.NewTopic{Name: "mine", PartitionCount: 1}); !errors.Is(err, client.ReasonMissingRole) {
		t.Errorf("create: %v", err)
	}
}

// revocationBound is how long an agent may go on with what it remembers of a key, and some slack.
const revocationBound = 30*time.Second + 5*time.Second

// revoked uses a key before and after it is revoked: an agent that has never seen it refuses at once, one that has within 30 s. Only
// long runs wait for that.
func revoked(ctx context.Context, t *testing.T, s *suite) {
	admin := s.Admin(t)
	made, secret, err := admin.CreateKey(ctx, "soon revoked", client.RoleClient, home)
	if err != nil {
		t.Fatal(err)
	}
	never, unseen, err := admin.CreateKey(ctx, "revoked before it is used", client.RoleClient, home)
	if err != nil {
		t.Fatal(err)
	}
	expect(ctx, t, s.homeAgent.URL, secret, "Fetch", calls(homeTopic)["Fetch"], 0)
	for _, key := range []client.Key{made, never} {
		if _, err := admin.RevokeKey(ctx, key.ID); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Now()
	expect(ctx, t, s.ControlPlanes[0].URL, secret, "ListTopics", &controlplanev1.ListTopicsRequest{}, refusalv1.Reason_REASON_UNAUTHENTICATED)
	expect(ctx, t, s.homeAgent.URL, unseen, "Fetch", calls(homeTopic)["Fetch"], refusalv1.Reason_REASON_UNAUTHENTICATED)
	if !long() {
		return
	}
	for {
		err := ask(ctx, t, s.homeAgent.URL, secret, "Fetch", calls(homeTopic)["Fetch"], nil)
		switch {
		case connect.CodeOf(err) == connect.CodeUnauthenticated:
			t.Logf("refused after %v", time.Since(at))
			return
		case time.Since(at) > revocationBound:
			t.Fatalf("after %v: %v", time.Since(at), err)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// long says whether every test runs several times, as in make prove.
func long() bool {
	return os.Getenv("STREAMHOUSE_TRIALS") != "" || flag.Lookup("test.count").Value.String() != "1"
}

// uuidBytes are the 16 bytes of a UUID.
func uuidBytes(t *testing.T, text string) []byte {
	t.Helper()
	var id []byte
	for i := 0; i < len(text); {
		if text[i] == '-' {
			i++
			continue
		}
		id = append(id, nibble(text[i])<<4|nibble(text[i+1]))
		i += 2
	}
	if len(id) != 16 {
		t.Fatalf("%q is no UUID", text)
	}
	return id
}

func nibble(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}
