package route

import (
	"context"
	"errors"
	"testing"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// resolver answers what it is told to.
type resolver struct {
	topics []*controlplanev1.PlacedTopic
	err    error
	calls  int
}

func (r *resolver) ResolveTopics(context.Context, *controlplanev1.ResolveTopicsRequest) (*controlplanev1.ResolveTopicsResponse, error) {
	r.calls++
	return &controlplanev1.ResolveTopicsResponse{Topics: r.topics}, r.err
}

var topicA, topicB = object.UUID{1}, object.UUID{2}

func placedTopic1(id object.UUID, name string, revision int64, deleted bool) *controlplanev1.PlacedTopic {
	return &controlplanev1.PlacedTopic{TopicId: id[:], Name: name, PartitionCount: 2, Revision: revision, Deleted: deleted}
}

func placedRow(id object.UUID, assigned, leader string, epoch int32, revision int64) *controlplanev1.PlacedPartition {
	return &controlplanev1.PlacedPartition{TopicId: id[:], AssignedAgentId: assigned, LeaderAgentId: leader, Epoch: epoch, Revision: revision}
}

func TestOlderPagesChangeNothing(t *testing.T) {
	t.Parallel()
	table := New("me", &resolver{})
	p := partition.ID{Topic: topicA}
	newest := &controlplanev1.Placement{
		Revision: 9, Topics: []*controlplanev1.PlacedTopic{placedTopic1(topicA, "a", 3, false)},
		Partitions: []*controlplanev1.PlacedPartition{placedRow(topicA, "me", "me", 4, 9)},
		Agents:     []*controlplanev1.PlacedAgent{{AgentId: "me", Address: "http://me"}},
	}
	table.Apply(newest)
	changed := table.Changed()
	table.Apply(&controlplanev1.Placement{
		Revision: 8, Partitions: []*controlplanev1.PlacedPartition{placedRow(topicA, "you", "you", 3, 8)},
		Agents: []*controlplanev1.PlacedAgent{{AgentId: "you", Address: "http://you"}},
	})
	table.Apply(newest)
	if row := table.Row(p); row.Leader != "me" || row.Epoch != 4 || table.Revision() != 9 || len(table.Mine()) != 1 {
		t.Fatalf("row %+v, revision %d", row, table.Revision())
	}
	select {
	case <-changed:
		t.Fatal("waiters were woken for nothing")
	default:
	}
	table.Apply(&controlplanev1.Placement{Revision: 10, Partitions: []*controlplanev1.PlacedPartition{placedRow(topicA, "you", "you", 5, 10)}})
	<-changed
	if leader := table.Leader(p); leader.ID != "you" || leader.Address != "" || leader.Epoch != 5 || len(table.Mine()) != 0 {
		t.Fatalf("leader %+v", leader)
	}
}

func TestDeletedTopicsStayDeletedAndNamesAreFree(t *testing.T) {
	t.Parallel()
	catalog := &resolver{}
	table := New("me", catalog)
	table.Apply(&controlplanev1.Placement{
		Revision: 2, Topics: []*controlplanev1.PlacedTopic{placedTopic1(topicA, "a", 1, false)},
		Partitions: []*controlplanev1.PlacedPartition{placedRow(topicA, "me", "", 0, 2)},
	})
	table.Apply(&controlplanev1.Placement{Revision: 5, Topics: []*controlplanev1.PlacedTopic{
		placedTopic1(topicA, "a", 3, true), placedTopic1(topicB, "a", 4, false),
	}})
	table.Apply(&controlplanev1.Placement{
		Revision: 2, Topics: []*controlplanev1.PlacedTopic{placedTopic1(topicA, "a", 1, false)},
		Partitions: []*controlplanev1.PlacedPartition{placedRow(topicA, "me", "", 0, 2)},
	})
	catalog.topics = []*controlplanev1.PlacedTopic{placedTopic1(topicB, "a", 4, false)}
	topic, err := table.ResolveTopic(t.Context(), "a", "")
	if err != nil || topic.ID != topicB || !table.Deleted(topicA) || len(table.Mine()) != 0 || catalog.calls != 1 {
		t.Fatalf("topic %+v, error %v, %d calls", topic, err, catalog.calls)
	}
	if _, err := table.ResolveTopic(t.Context(), "", topicA.String()); !refusal.Is(err, refusalv1.Reason_REASON_UNKNOWN_TOPIC) {
		t.Fatalf("by the old id: %v", err)
	}
	table.Forget(topicB)
	catalog.topics = nil
	if _, err := table.ResolveTopic(t.Context(), "a", ""); !refusal.Is(err, refusalv1.Reason_REASON_UNKNOWN_TOPIC) {
		t.Fatalf("forgotten: %v", err)
	}
}

func TestUnheardTopicsAreAskedFor(t *testing.T) {
	t.Parallel()
	catalog := &resolver{}
	table := New("me", catalog)
	for i := range 2 { // nothing is remembered of what does not exist: it may be created at any moment
		if _, err := table.ResolveTopic(t.Context(), "a", ""); !refusal.Is(err, refusalv1.Reason_REASON_UNKNOWN_TOPIC) || catalog.calls != i+1 {
			t.Fatalf("%v, %d calls", err, catalog.calls)
		}
	}
	catalog.topics = []*controlplanev1.PlacedTopic{placedTopic1(topicA, "a", 1, false)}
	for i := range 2 { // a name is asked for each time, an id that has been heard of is not
		if topic, err := table.ResolveTopic(t.Context(), "a", ""); err != nil || topic.ID != topicA || catalog.calls != i+3 {
			t.Fatalf("%+v, %v, %d calls", topic, err, catalog.calls)
		}
		if topic, err := table.ResolveTopic(t.Context(), "", topicA.String()); err != nil || topic.ID != topicA || catalog.calls != i+3 {
			t.Fatalf("%+v, %v, %d calls", topic, err, catalog.calls)
		}
	}
	catalog.err = errors.New("out of reach")
	if _, err := table.ResolveTopic(t.Context(), "b", ""); !refusal.Is(err, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE) {
		t.Fatal(err)
	}
	for _, name := range []string{"a\x00b", "a/b", "..", "a b", "ä", "[", "@", "`", "{"} { // no topic's: not asked for
		if _, err := table.ResolveTopic(t.Context(), name, ""); !refusal.Is(err, refusalv1.Reason_REASON_UNKNOWN_TOPIC) {
			t.Fatalf("%q: %v", name, err)
		}
	}
	if _, err := table.ResolveTopic(t.Context(), "", "NOT-A-UUID"); !refusal.Is(err, refusalv1.Reason_REASON_INVALID) {
		t.Fatal(err)
	}
}
