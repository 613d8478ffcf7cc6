package postgres_test

import (
	"fmt"
	"testing"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

func TestTopic_Life(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	w.must(w.EnsureAgentGroup(t.Context(), "blue"))
	for _, name := range []string{"b", "a", "c"} {
		w.topic(name, 2)
	}
	w.topicWith(&controlplanev1.CreateTopicRequest{Name: "d", PartitionCount: 1, AgentGroup: "blue"})
	_, err := w.CreateTopic(t.Context(), &controlplanev1.CreateTopicRequest{Name: "a", PartitionCount: 2})
	wantReason(t, err, refusalv1.Reason_REASON_TOPIC_EXISTS)
	_, err = w.CreateTopic(t.Context(), &controlplanev1.CreateTopicRequest{Name: "a", PartitionCount: 2, AgentGroup: "blue"})
	wantReason(t, err, refusalv1.Reason_REASON_TOPIC_EXISTS)
	_, err = w.CreateTopic(t.Context(), &controlplanev1.CreateTopicRequest{Name: "e", PartitionCount: 2, AgentGroup: "red"})
	wantReason(t, err, refusalv1.Reason_REASON_UNKNOWN_AGENT_GROUP)

	if got := w.topicNames(store.EveryAgentGroup, 3); got != "a b c d" {
		t.Fatalf("all topics: %s", got)
	}
	if got := w.topicNames("blue", 10); got != "d" {
		t.Fatalf("topics of blue: %s", got)
	}
	_, err = w.ListTopics(t.Context(), group, &controlplanev1.ListTopicsRequest{PageToken: "?"})
	wantReason(t, err, refusalv1.Reason_REASON_INVALID)
	_, err = w.GetTopic(t.Context(), "blue", &controlplanev1.GetTopicRequest{Name: "a"})
	wantReason(t, err, refusalv1.Reason_REASON_UNKNOWN_TOPIC)

	size, allow := int32(77), true
	updated, err := w.UpdateTopic(t.Context(), &controlplanev1.UpdateTopicRequest{Name: "a", Config: &controlplanev1.TopicConfig{MaxRecordBytes: &size}})
	w.must(err)
	if c := updated.GetTopic().GetConfig(); c.GetMaxRecordBytes() != 77 || c.GetAllowBufferedAcks() {
		t.Fatalf("config %v", c)
	}
	_, err = w.UpdateTopic(t.Context(), &controlplanev1.UpdateTopicRequest{Name: "a", Config: &controlplanev1.TopicConfig{AllowBufferedAcks: &allow}})
	w.must(err)
	described, err := w.GetTopic(t.Context(), group, &controlplanev1.GetTopicRequest{Name: "a"})
	w.must(err)
	if c := described.GetTopic().GetConfig(); c.GetMaxRecordBytes() != 77 || !c.GetAllowBufferedAcks() || len(described.GetPartitions()) != 2 {
		t.Fatalf("topic %v", described)
	}
	_, err = w.UpdateTopic(t.Context(), &controlplanev1.UpdateTopicRequest{Name: "nope", Config: &controlplanev1.TopicConfig{}})
	wantReason(t, err, refusalv1.Reason_REASON_UNKNOWN_TOPIC)
	_, err = w.DeleteTopic(t.Context(), &controlplanev1.DeleteTopicRequest{Name: "nope"})
	wantReason(t, err, refusalv1.Reason_REASON_UNKNOWN_TOPIC)
}

// topicNames lists by pages.
func (w *world) topicNames(agentGroup store.AgentGroup, pageSize int32) string {
	w.t.Helper()
	names, token := "", ""
	for {
		page, err := w.ListTopics(w.t.Context(), agentGroup, &controlplanev1.ListTopicsRequest{PageSize: pageSize, PageToken: token})
		w.must(err)
		for _, topic := range page.GetTopics() {
			names += " " + topic.GetName()
		}
		if token = page.GetNextPageToken(); token == "" {
			return names[1:]
		}
	}
}

func TestTopic_RecreatedSharesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	old := w.topic("orders", 2)
	a.lead(old, 0)
	a.committed(segment(old, 0, 1, 0, 5, batch(1, 0, 0, 5, 0)))
	_, err := w.DeleteTopic(t.Context(), &controlplanev1.DeleteTopicRequest{Name: "orders"})
	w.must(err)
	wantOutcome(t, a.committed(segment(old, 0, 1, 5, 1)), noTopic, -1, 0)
	wantRefusal(t, a.lookup(old, 0, 0).GetRefusal(), refusalv1.Reason_REASON_UNKNOWN_TOPIC)
	_, refusal := a.acquire(old, 0, 0)
	wantRefusal(t, refusal, refusalv1.Reason_REASON_UNKNOWN_TOPIC)

	anew := w.topic("orders", 1)
	grant := a.lead(anew, 0)
	if grant.GetEpoch() != 1 || grant.GetHighWatermark() != 0 || len(grant.GetProducers()) != 0 {
		t.Fatalf("grant %v", grant)
	}
	if found := a.lookup(anew, 0, 0); len(found.GetSegments()) != 0 || found.GetHighWatermark() != 0 {
		t.Fatalf("lookup %v", found)
	}
	wantOutcome(t, a.committed(segment(anew, 0, 1, 0, 1, batch(1, 0, 0, 1, 0))), committed, 1, 1)
	w.purge()
	wantOutcome(t, a.committed(segment(old, 0, 1, 5, 1)), noTopic, -1, 0) // also when nothing of it is left
	if found := a.lookup(anew, 0, 0); len(found.GetSegments()) != 1 {
		t.Fatalf("lookup after purge %v", found)
	}
	w.checkCatalog(t)
}

func (w *world) purge() {
	w.t.Helper()
	for more := true; more; {
		var err error
		_, more, err = w.PurgeDeleted(w.t.Context())
		w.must(err)
	}
}

func TestP8_PurgeLeavesNothingAndCountsReferences(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	gone, stays := w.topic("gone", 2), w.topic("stays", 1)
	a.lead(gone, 0)
	a.lead(gone, 1)
	a.lead(stays, 0)
	for i := range int64(1500) { // more than a page
		o := a.object(segment(gone, 0, 1, i, 1, batch(i, 0, 0, 1, i)))
		if i == 0 {
			o = a.object(segment(gone, 0, 1, 0, 1, batch(i, 0, 0, 1, 0)), segment(gone, 1, 1, 0, 1), segment(stays, 0, 1, 0, 1))
			sortSegments(o)
		}
		if i%100 != 0 && i > 0 { // most go in by hand: it is the purge that is tried
			w.fakeSegments(t, i)
			continue
		}
		a.commit(o)
	}
	_, err := w.DeleteTopic(t.Context(), &controlplanev1.DeleteTopicRequest{Name: "gone"})
	w.must(err)
	w.purge()
	for _, table := range []string{"segments", "producers", "partitions"} {
		if n := w.number("SELECT count(*) FROM " + table + " WHERE partition_id NOT IN (SELECT partition_id FROM partitions p JOIN topics t USING (topic_id) WHERE t.name = 'stays')"); n != 0 {
			t.Errorf("%d rows left in %s", n, table)
		}
	}
	if n := w.number("SELECT count(*) FROM object_keys WHERE reference_count = 0 AND unreferenced_at IS NULL"); n != 0 {
		t.Errorf("%d objects without references are not marked", n)
	}
	if n := w.number("SELECT count(*) FROM object_keys WHERE reference_count = 1 AND unreferenced_at IS NULL"); n != 1 {
		t.Errorf("%d objects are still referenced, want the shared one", n)
	}
	w.checkCatalog(t)
	// The topic's row stays for a day, so that agents hear of it.
	if n := w.number("SELECT count(*) FROM topics"); n != 2 {
		t.Fatalf("%d topics", n)
	}
	w.sql("UPDATE topics SET deleted_at = deleted_at - interval '2 days' WHERE deleted_at IS NOT NULL")
	w.purge()
	if n := w.number("SELECT count(*) FROM topics"); n != 2 {
		t.Fatalf("P9: %d topics: one was forgotten before a checkpoint had its deletion", n)
	}
	w.sql("UPDATE topics SET recorded_revision = revision")
	w.purge()
	if n := w.number("SELECT count(*) FROM topics"); n != 1 {
		t.Fatalf("%d topics", n)
	}
}

// fakeSegments adds what a commit of one record would have.
func (w *world) fakeSegments(t *testing.T, offset int64) {
	t.Helper()
	if offset%100 != 1 {
		return
	}
	w.sql(`WITH p AS (UPDATE partitions SET high_watermark = $1 + 99 FROM topics t WHERE t.topic_id = partitions.topic_id AND t.name = 'gone' AND partition = 0 RETURNING partition_id),
	            o AS (INSERT INTO object_keys (key, session_id, size_bytes, outcome, reference_count)
	                  SELECT 'fake/' || ($1::bigint + n), gen_random_uuid(), 1, '\x01', 1 FROM generate_series(0, 98) n RETURNING object_id, key)
	       INSERT INTO segments (partition_id, base_offset, object_id, byte_position, max_timestamp_ms, record_count, size_bytes, epoch, crc32c)
	       SELECT p.partition_id, split_part(o.key, '/', 2)::bigint, o.object_id, 0, 0, 1, 1, 1, 0 FROM o, p`, offset)
}

func TestCreateTopic_OfAHundredThousandPartitions(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	w := newWorld(t, postgres.Config{})
	for _, id := range []string{"a", "b", "c"} {
		w.register(id)
	}
	w.topic("wide", 100_000)
	if n := w.number("SELECT max(c) - min(c) FROM (SELECT count(*) AS c FROM partitions GROUP BY assigned_agent_id) x"); n > 1 {
		t.Fatalf("uneven by %d", n)
	}
	if n := w.number("SELECT count(DISTINCT revision) FROM partitions"); n != 100_000 {
		t.Fatalf("%d revisions", n)
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	w.must(w.EnsureAgentGroup(t.Context(), "blue"))
	a := w.register("a")
	b := w.registerIn("blue", "b", "zone-b")
	orders := w.topic("orders", 5)
	blue := w.topicWith(&controlplanev1.CreateTopicRequest{Name: "blue", PartitionCount: 1, AgentGroup: "blue"})
	a.lead(orders, 1)
	a.lead(orders, 3)
	b.lead(blue, 0)
	w.register("c").deregister()

	agents, err := w.ListAgents(t.Context(), store.EveryAgentGroup, &controlplanev1.ListAgentsRequest{})
	w.must(err)
	got := ""
	for _, agent := range agents.GetAgents() {
		got += fmt.Sprintf("%s %s %d %v; ", agent.GetAgentGroup(), agent.GetAgentId(), agent.GetLeaseCount(), agent.GetState())
	}
	if want := "blue b 1 AGENT_STATE_LIVE; default a 2 AGENT_STATE_LIVE; default c 0 AGENT_STATE_ENDED; "; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	agents, err = w.ListAgents(t.Context(), "blue", &controlplanev1.ListAgentsRequest{AgentGroup: "default"})
	w.must(err)
	if len(agents.GetAgents()) != 0 {
		t.Fatal("P7: blue sees another agent group's agents")
	}

	if got, want := w.leases(store.EveryAgentGroup, &controlplanev1.ListLeasesRequest{PageSize: 2}), "blue/0=b@1 orders/0=@0 orders/1=a@1 orders/2=@0 orders/3=a@1 orders/4=@0"; got != want {
		t.Fatalf("leases %s, want %s", got, want)
	}
	if got, want := w.leases(group, &controlplanev1.ListLeasesRequest{LeaderAgentId: "a"}), "orders/1=a@1 orders/3=a@1"; got != want {
		t.Fatalf("leases %s, want %s", got, want)
	}
	_, err = w.ListLeases(t.Context(), group, &controlplanev1.ListLeasesRequest{Topic: "blue"})
	wantReason(t, err, refusalv1.Reason_REASON_UNKNOWN_TOPIC)
	_, err = w.ListLeases(t.Context(), group, &controlplanev1.ListLeasesRequest{PageToken: "bm9wZQ"})
	wantReason(t, err, refusalv1.Reason_REASON_INVALID)
	if n := w.number("SELECT count(*) FROM partition_leases WHERE leader = 'a' AND expires_at > now() AND epoch = 1 AND topic = 'orders'"); n != 2 {
		t.Fatalf("the view for people shows %d leases", n)
	}
}

// leases lists by pages.
func (w *world) leases(agentGroup store.AgentGroup, request *controlplanev1.ListLeasesRequest) string {
	w.t.Helper()
	got := ""
	for {
		page, err := w.ListLeases(w.t.Context(), agentGroup, request)
		w.must(err)
		for _, l := range page.GetLeases() {
			got += fmt.Sprintf(" %s/%d=%s@%d", l.GetTopic(), l.GetPartition(), l.GetLeader(), l.GetEpoch())
			if (l.GetLeader() != "") != (l.GetExpiresAt() != nil) {
				w.t.Errorf("lease %v", l)
			}
		}
		if request.PageToken = page.GetNextPageToken(); request.GetPageToken() == "" {
			return got[1:]
		}
	}
}
