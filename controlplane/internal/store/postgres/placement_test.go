package postgres_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// watcher applies pages as an agent does.
type watcher struct {
	revision   int64
	topics     map[string]*controlplanev1.PlacedTopic
	partitions map[string]*controlplanev1.PlacedPartition
	agents     []*controlplanev1.PlacedAgent
}

func newWatcher() *watcher {
	return &watcher{topics: map[string]*controlplanev1.PlacedTopic{}, partitions: map[string]*controlplanev1.PlacedPartition{}}
}

// apply checks what pages promise: order of revision, nothing at or below what was seen, nothing beyond the page's revision.
func (o *watcher) apply(t testing.TB, page *controlplanev1.Placement) {
	t.Helper()
	last := o.revision
	for _, row := range page.GetPartitions() {
		if row.GetRevision() <= last || row.GetRevision() > page.GetRevision() {
			t.Errorf("partition revision %d after %d, page %d", row.GetRevision(), last, page.GetRevision())
		}
		last = row.GetRevision()
		o.partitions[fmt.Sprint(row.GetTopicId(), row.GetPartition())] = row
	}
	last = o.revision
	for _, row := range page.GetTopics() {
		if row.GetRevision() <= last || row.GetRevision() > page.GetRevision() {
			t.Errorf("topic revision %d after %d, page %d", row.GetRevision(), last, page.GetRevision())
		}
		last = row.GetRevision()
		o.topics[string(row.GetTopicId())] = row
	}
	if page.GetRevision() < o.revision {
		t.Errorf("page goes back from %d to %d", o.revision, page.GetRevision())
	}
	o.revision, o.agents = page.GetRevision(), page.GetAgents()
}

func (o *watcher) catchUp(w *world, limit int) {
	w.t.Helper()
	for more := true; more; {
		page, err := w.PlacementAfter(w.t.Context(), group, o.revision, limit)
		w.must(err)
		o.apply(w.t, page)
		more = page.GetMore()
	}
}

// same compares with a watcher that begins anew. Of deleted topics a newcomer hears nothing.
func (o *watcher) same(t testing.TB, anew *watcher) {
	t.Helper()
	live := map[string]bool{}
	for id, topic := range o.topics {
		if topic.GetDeleted() {
			continue
		}
		live[id] = true
		if !proto.Equal(topic, anew.topics[id]) {
			t.Errorf("topic %v, really %v", topic, anew.topics[id])
		}
	}
	if len(live) != len(anew.topics) {
		t.Errorf("%d topics, really %d", len(live), len(anew.topics))
	}
	for key, really := range anew.partitions {
		// The name of a leader whose session ended goes without a revision: agents tell it by the list of agents.
		if got := o.partitions[key]; got.GetRevision() != really.GetRevision() || got.GetEpoch() != really.GetEpoch() ||
			got.GetLeaderSessionId() != really.GetLeaderSessionId() || got.GetAssignedAgentId() != really.GetAssignedAgentId() {
			t.Errorf("partition %v, really %v", got, really)
		}
	}
	if len(o.agents) != len(anew.agents) {
		t.Errorf("agents %v, really %v", o.agents, anew.agents)
	}
}

// Whoever follows the revisions while everything changes at once ends with what is there.
func TestPlacement_NoWatcherMissesAChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	other := w.replica(postgres.Config{})
	var changing sync.WaitGroup
	for i := range 3 {
		through := []*world{w, other, w}[i]
		changing.Go(func() { through.churn(i) })
	}
	changing.Go(func() {
		for range 40 {
			if _, _, err := other.AssignOrphans(t.Context(), group); err != nil {
				t.Error(err)
			}
		}
	})
	var done atomic.Bool
	var watching sync.WaitGroup
	watchers := []*watcher{newWatcher(), newWatcher()}
	for i, o := range watchers {
		watching.Go(func() {
			for !done.Load() {
				o.catchUp(w, 1+i*6)
			}
			o.catchUp(w, 5)
		})
	}
	changing.Wait()
	done.Store(true)
	watching.Wait()
	anew := newWatcher()
	anew.catchUp(w, 0)
	for _, o := range watchers {
		o.same(t, anew)
	}
}

// churn registers, creates, acquires, releases, deletes.
func (w *world) churn(worker int) {
	for round := range 12 {
		a := w.register(fmt.Sprintf("agent-%d", worker))
		t := w.topic(fmt.Sprintf("topic-%d-%d", worker, round), 4)
		for p := range int32(4) {
			if grant, _ := a.acquire(t, p, 0); grant != nil && p%2 == 0 {
				a.release(t, p, grant.GetEpoch())
			}
		}
		w.must(a.beat(round%3 == 0, false))
		if round%4 == 0 {
			_, err := w.DeleteTopic(w.t.Context(), &controlplanev1.DeleteTopicRequest{Name: fmt.Sprintf("topic-%d-%d", worker, round)})
			w.must(err)
		}
		if round%5 == 0 {
			a.deregister()
		}
	}
}

func TestPlacement_ARevisionBeyondTheNewestBeginsAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	w.register("a")
	w.topic("orders", 3)
	page, err := w.PlacementAfter(t.Context(), group, 1<<40, 0)
	w.must(err)
	if len(page.GetPartitions()) != 3 || len(page.GetAgents()) != 1 {
		t.Fatalf("page %v", page)
	}
	same, err := w.PlacementAfter(t.Context(), group, page.GetRevision(), 0)
	w.must(err)
	if len(same.GetPartitions()) != 0 || len(same.GetAgents()) != 1 || same.GetRevision() != page.GetRevision() {
		t.Fatalf("page without changes %v", same)
	}
}

func TestSignals_AreLevelTriggered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	for range 3 {
		w.register("a") // nobody listens: nothing blocks
	}
	for _, c := range []<-chan struct{}{w.PlacementChanged(), w.Unsettled()} {
		select {
		case <-c:
		default:
			t.Fatal("no signal")
		}
		select {
		case <-c:
			t.Fatal("more than one signal")
		default:
		}
	}
}

func TestResolveTopics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	w.must(w.EnsureAgentGroup(t.Context(), "blue"))
	orders := w.topic("orders", 2)
	w.topicWith(&controlplanev1.CreateTopicRequest{Name: "blue", PartitionCount: 1, AgentGroup: "blue"})
	payments := w.topic("payments", 1)
	response, err := w.ResolveTopics(t.Context(), group, &controlplanev1.ResolveTopicsRequest{
		Names: []string{"orders", "blue", "nope"}, TopicIds: [][]byte{payments[:]},
	})
	w.must(err)
	if len(response.GetTopics()) != 2 || len(response.GetPartitions()) != 3 || string(response.GetTopics()[0].GetTopicId()) != string(orders[:]) {
		t.Fatalf("response %v", response)
	}
	empty, err := w.ResolveTopics(t.Context(), group, &controlplanev1.ResolveTopicsRequest{Names: []string{"nope"}})
	w.must(err)
	if len(empty.GetTopics()) != 0 {
		t.Fatalf("response %v", empty)
	}
}

// The short way that agents take for topics whose partitions they know says the same, and says nothing in the name of a catalog that does not serve.
func TestResolveTopics_WithoutPartitions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	w.must(w.EnsureAgentGroup(t.Context(), "blue"))
	orders, payments := w.topic("orders", 2), w.topic("payments", 1)
	w.topicWith(&controlplanev1.CreateTopicRequest{Name: "blue", PartitionCount: 1, AgentGroup: "blue"})
	ask := &controlplanev1.ResolveTopicsRequest{Names: []string{"orders", "blue", "nope"}, TopicIds: [][]byte{payments[:]}, TopicsOnly: true}
	response, err := w.ResolveTopics(t.Context(), group, ask)
	w.must(err)
	if len(response.GetTopics()) != 2 || len(response.GetPartitions()) != 0 || string(response.GetTopics()[0].GetTopicId()) != string(orders[:]) ||
		string(response.GetTopics()[1].GetTopicId()) != string(payments[:]) {
		t.Fatalf("response %v", response)
	}
	_, err = w.DeleteTopic(t.Context(), &controlplanev1.DeleteTopicRequest{Name: "orders"})
	w.must(err)
	response, err = w.ResolveTopics(t.Context(), group, ask)
	w.must(err)
	if len(response.GetTopics()) != 1 {
		t.Fatalf("after a deletion: %v", response)
	}
	a.loses(payments, 0, 0)
	_, err = w.ResolveTopics(t.Context(), group, ask)
	wantRefusal(t, refusalOf(err), refusalv1.Reason_REASON_CATALOG_HALTED)
}

func TestLookup_ByTimestamp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Config{})
	a := w.register("a")
	orders := w.topic("orders", 1)
	a.lead(orders, 0)
	for i, newest := range []int64{100, 300, 200, 400} { // producers' clocks differ
		s := segment(orders, 0, 1, int64(i), 1)
		s.MaxTimestampMs = newest
		a.committed(s)
	}
	for _, c := range []struct{ time, first int64 }{{0, 0}, {100, 0}, {101, 1}, {250, 1}, {300, 1}, {301, 3}, {400, 3}, {401, -1}} {
		response, err := w.Lookup(t.Context(), group, &controlplanev1.LookupRequest{Partitions: []*controlplanev1.LookupPartition{
			{TopicId: orders[:], Position: &controlplanev1.LookupPartition_TimestampMs{TimestampMs: c.time}, MaxSegments: 2},
		}})
		w.must(err)
		first := int64(-1)
		if segments := response.GetOutcomes()[0].GetSegments(); len(segments) > 0 {
			first = segments[0].GetBaseOffset()
		}
		if first != c.first {
			t.Errorf("time %d: first segment at %d, want %d", c.time, first, c.first)
		}
	}
}
