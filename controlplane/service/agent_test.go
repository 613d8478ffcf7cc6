package service_test

import (
	"testing"
	"time"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/secret"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
)

// register registers an agent of a key's agent group and returns its session.
func register(t *testing.T, api controlplanev1connect.AgentServiceClient, id, group string) string {
	t.Helper()
	response, err := api.Register(t.Context(), &controlplanev1.RegisterRequest{
		AgentId: id, AgentGroup: group, Zone: "az-a", Address: "http://127.0.0.1:1", Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	return response.GetSessionId()
}

// view is what an agent has learned from its watch.
type view struct {
	stream  controlplanev1connect.AgentServiceWatchClientStream
	topics  map[string]*controlplanev1.PlacedTopic // by name
	rows    map[int32]*controlplanev1.PlacedPartition
	agents  []*controlplanev1.PlacedAgent
	message int
}

func observe(t *testing.T, api controlplanev1connect.AgentServiceClient, session string) *view {
	t.Helper()
	stream, err := api.Watch(t.Context(), &controlplanev1.WatchRequest{SessionId: session})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stream.Close() })
	return &view{stream: stream, topics: map[string]*controlplanev1.PlacedTopic{}, rows: map[int32]*controlplanev1.PlacedPartition{}}
}

// receive applies one message.
func (v *view) receive() error {
	response, err := v.stream.Receive()
	if err != nil {
		return err
	}
	v.message++
	page := response.GetPlacement()
	for _, topic := range page.GetTopics() {
		v.topics[topic.GetName()] = topic
	}
	for _, row := range page.GetPartitions() {
		if known := v.rows[row.GetPartition()]; known.GetRevision() < row.GetRevision() {
			v.rows[row.GetPartition()] = row
		}
	}
	if page != nil {
		v.agents = page.GetAgents()
	}
	return nil
}

// until applies messages until what is awaited is there.
func (v *view) until(t *testing.T, what string, there func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !there(); {
		if err := v.receive(); err != nil {
			t.Fatalf("waiting for %s: %v", what, err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen within 20 s", what)
		}
	}
}

// TestTheLifeOfAnAgentOverTwoReplicas goes from registration to the loss of the session, each step on whichever replica comes next.
func TestTheLifeOfAnAgentOverTwoReplicas(t *testing.T) {
	t.Parallel()
	config := configure(pgtest.URL(t))
	one, two := serve(t, config), serve(t, config)
	key := one.key(accessv1.Role_ROLE_AGENT, "")
	agentOne, agentTwo := one.agents(key), two.agents(key)
	ctx := t.Context()

	session := register(t, agentOne, "agent-1", "default")
	seen := observe(t, agentTwo, session) // watches where nothing below happens
	seen.until(t, "the agent to see itself", func() bool { return len(seen.agents) == 1 })
	created, err := one.topics(one.admin).CreateTopic(ctx, &controlplanev1.CreateTopicRequest{Name: "orders", PartitionCount: 2})
	if err != nil {
		t.Fatal(err)
	}
	seen.until(t, "both partitions to be assigned", func() bool {
		return seen.rows[0].GetAssignedAgentId() == "agent-1" && seen.rows[1].GetAssignedAgentId() == "agent-1"
	})
	if topic := seen.topics["orders"]; topic.GetPartitionCount() != 2 || topic.GetConfig().GetMaxRecordBytes() != 1<<20 {
		t.Errorf("got %v", topic)
	}
	topicID := seen.rows[0].GetTopicId()
	acquired, err := agentTwo.Acquire(ctx, &controlplanev1.AcquireRequest{
		SessionId: session, Partitions: []*controlplanev1.AcquirePartition{{TopicId: topicID}, {TopicId: topicID, Partition: 1}, {TopicId: topicID, Partition: 2}},
	})
	if err != nil || len(acquired.GetOutcomes()) != 3 {
		t.Fatalf("got %v, %v", acquired, err)
	}
	if epoch := acquired.GetOutcomes()[0].GetGrant().GetEpoch(); epoch != 1 {
		t.Errorf("the first epoch is %d", epoch)
	}
	if reason := acquired.GetOutcomes()[2].GetRefusal().GetReason(); reason != refusalv1.Reason_REASON_UNKNOWN_PARTITION {
		t.Errorf("a partition that is not there: %v", reason)
	}
	seen.until(t, "the lease to be seen", func() bool { return seen.rows[0].GetLeaderAgentId() == "agent-1" && seen.rows[0].GetEpoch() == 1 })

	leases, err := two.cluster(two.admin).ListLeases(ctx, &controlplanev1.ListLeasesRequest{Topic: "orders"})
	if err != nil || len(leases.GetLeases()) != 2 || leases.GetLeases()[0].GetLeader() != "agent-1" || leases.GetLeases()[0].GetTopicId() != created.GetTopic().GetTopicId() {
		t.Errorf("got %v, %v", leases, err)
	}
	beat, err := agentTwo.Heartbeat(ctx, &controlplanev1.HeartbeatRequest{SessionId: session})
	if err != nil || len(beat.GetPlacement().GetPartitions()) != 2 || beat.GetSessionDurationMs() != 30_000 {
		t.Errorf("a heartbeat that knows nothing gets everything: %v, %v", beat, err)
	}

	// Another process takes the agent id over: the old session's watch ends with the reason, wherever it is.
	register(t, agentOne, "agent-1", "default")
	for err == nil {
		err = seen.receive()
	}
	wants(t, "the watch of a superseded session", err, refusalv1.Reason_REASON_SESSION_SUPERSEDED)
	_, err = agentOne.Heartbeat(ctx, &controlplanev1.HeartbeatRequest{SessionId: session})
	wants(t, "its heartbeat", err, refusalv1.Reason_REASON_SESSION_SUPERSEDED)
	_, err = agentOne.Heartbeat(ctx, &controlplanev1.HeartbeatRequest{SessionId: someSession})
	wants(t, "a session that never was", err, refusalv1.Reason_REASON_SESSION_EXPIRED)
}

// TestP7_AgentGroupsDoNotMeet has agents and clients of two agent groups look at, and reach for, what belongs to the other.
func TestP7_AgentGroupsDoNotMeet(t *testing.T) {
	t.Parallel()
	config := configure(pgtest.URL(t))
	config.AgentGroups = []string{"other"}
	r := serve(t, config)
	ctx := t.Context()
	home, away := r.agents(r.key(accessv1.Role_ROLE_AGENT, "default")), r.agents(r.key(accessv1.Role_ROLE_AGENT, "other"))
	homeSession, awaySession := register(t, home, "home-1", "default"), register(t, away, "away-1", "other")
	_, err := home.Register(ctx, &controlplanev1.RegisterRequest{AgentId: "home-2", AgentGroup: "other", Zone: "z", Address: "http://127.0.0.1:1"})
	wants(t, "register in another agent group", err, refusalv1.Reason_REASON_WRONG_AGENT_GROUP)

	if _, err := r.topics(r.admin).CreateTopic(ctx, &controlplanev1.CreateTopicRequest{Name: "secret", PartitionCount: 1, AgentGroup: "other"}); err != nil {
		t.Fatal(err)
	}
	seen := observe(t, away, awaySession)
	seen.until(t, "the owner to see its topic", func() bool { return seen.rows[0].GetAssignedAgentId() == "away-1" })
	topicID := seen.rows[0].GetTopicId()

	blind := observe(t, home, homeSession)
	blind.until(t, "two messages", func() bool { return blind.message >= 2 })
	if len(blind.topics) != 0 || len(blind.rows) != 0 || len(blind.agents) != 1 {
		t.Errorf("sees %v %v %v", blind.topics, blind.rows, blind.agents)
	}
	_, err = home.Heartbeat(ctx, &controlplanev1.HeartbeatRequest{SessionId: awaySession})
	wants(t, "heartbeat of another's session", err, refusalv1.Reason_REASON_SESSION_EXPIRED)
	acquired, err := home.Acquire(ctx, &controlplanev1.AcquireRequest{SessionId: homeSession, Partitions: []*controlplanev1.AcquirePartition{{TopicId: topicID}}})
	if err != nil || acquired.GetOutcomes()[0].GetRefusal().GetReason() != refusalv1.Reason_REASON_WRONG_AGENT_GROUP {
		t.Errorf("acquire: got %v, %v", acquired, err)
	}
	looked, err := home.Lookup(ctx, &controlplanev1.LookupRequest{Partitions: []*controlplanev1.LookupPartition{{TopicId: topicID}}})
	if err != nil || looked.GetOutcomes()[0].GetRefusal().GetReason() != refusalv1.Reason_REASON_WRONG_AGENT_GROUP {
		t.Errorf("lookup: got %v, %v", looked, err)
	}
	resolved, err := home.ResolveTopics(ctx, &controlplanev1.ResolveTopicsRequest{Names: []string{"secret"}, TopicIds: [][]byte{topicID}})
	if err != nil || len(resolved.GetTopics()) != 0 {
		t.Errorf("resolve: got %v, %v", resolved, err)
	}
	clientsSee(t, r, r.key(accessv1.Role_ROLE_CLIENT, "default"), 0)
	clientsSee(t, r, r.key(accessv1.Role_ROLE_CLIENT, "other"), 1)
	clientsSee(t, r, r.admin, 1)
}

// clientsSee checks how many topics and leases of the other agent group a key shows.
func clientsSee(t *testing.T, r *replica, key secret.Secret, want int) {
	t.Helper()
	topics, err := r.topics(key).ListTopics(t.Context(), &controlplanev1.ListTopicsRequest{})
	if err != nil || len(topics.GetTopics()) != want {
		t.Errorf("topics: got %v, %v", topics, err)
	}
	leases, err := r.cluster(key).ListLeases(t.Context(), &controlplanev1.ListLeasesRequest{})
	if err != nil || len(leases.GetLeases()) != want {
		t.Errorf("leases: got %v, %v", leases, err)
	}
	agents, err := r.cluster(key).ListAgents(t.Context(), &controlplanev1.ListAgentsRequest{AgentGroup: "other"})
	if err != nil || len(agents.GetAgents()) != want {
		t.Errorf("agents: got %v, %v", agents, err)
	}
	_, err = r.topics(key).GetTopic(t.Context(), &controlplanev1.GetTopicRequest{Name: "secret"})
	if want == 0 {
		wants(t, "get", err, refusalv1.Reason_REASON_UNKNOWN_TOPIC)
	} else if err != nil {
		t.Errorf("get: %v", err)
	}
}

// TestStopEndsWatchesAndLeavesNothing stops a replica under a watch; not parallel, because it counts goroutines.
func TestStopEndsWatchesAndLeavesNothing(t *testing.T) {
	database := pgtest.URL(t)
	noLeaks(t)
	r := serve(t, configure(database))
	api := r.agents(r.key(accessv1.Role_ROLE_AGENT, ""))
	seen := observe(t, api, register(t, api, "agent-1", "default"))
	seen.until(t, "the first message", func() bool { return seen.message > 0 })
	began := time.Now()
	r.stop()
	err := seen.receive()
	for err == nil {
		err = seen.receive()
	}
	wants(t, "the watch at a stop", err, refusalv1.Reason_REASON_NO_LEADER)
	if err := r.end(); err != nil || time.Since(began) > 8*time.Second { // a watch that held it up would for as long as a stop may take: 10 s
		t.Errorf("Run said %v after %v", err, time.Since(began))
	}
}
