package postgres_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

const group = store.DefaultAgentGroup

// world is a catalog with short names for what tests do to it.
type world struct {
	*postgres.Store
	t testing.TB
	// url for further replicas and for SQL.
	url string
}

func newWorld(t testing.TB, config postgres.Config) *world {
	t.Helper()
	config.URL = pgtest.URL(t)
	return &world{Store: pgtest.OpenURL(t, config), t: t, url: config.URL}
}

// replica is another control plane on the same catalog.
func (w *world) replica(config postgres.Config) *world {
	w.t.Helper()
	config.URL = w.url
	return &world{Store: pgtest.OpenURL(w.t, config), t: w.t, url: w.url}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// agent is a registered agent.
type agent struct {
	*world
	id      string
	group   store.AgentGroup
	session uuid.UUID
	// objects counts, for keys.
	objects int
}

func (w *world) register(id string) *agent { w.t.Helper(); return w.registerIn(group, id, "zone-a") }

func (w *world) registerIn(agentGroup store.AgentGroup, id, zone string) *agent {
	w.t.Helper()
	response, err := w.Register(w.t.Context(), agentGroup, &controlplanev1.RegisterRequest{
		AgentId: id, AgentGroup: string(agentGroup), Zone: zone, Address: "http://" + id + ":8080", Version: "test",
	})
	w.must(err)
	return &agent{world: w, id: id, group: agentGroup, session: uuid.MustParse(response.GetSessionId())}
}

// topic is a topic's id.
type topic uuid.UUID

func (w *world) topic(name string, partitions int32) topic {
	w.t.Helper()
	return w.topicWith(&controlplanev1.CreateTopicRequest{Name: name, PartitionCount: partitions})
}

func (w *world) topicWith(request *controlplanev1.CreateTopicRequest) topic {
	w.t.Helper()
	response, err := w.CreateTopic(w.t.Context(), request)
	w.must(err)
	return topic(uuid.MustParse(response.GetTopic().GetTopicId()))
}

// acquire asks for one partition.
func (a *agent) acquire(t topic, partition, lastEnded int32) (*controlplanev1.Grant, *refusalv1.Refusal) {
	a.t.Helper()
	response, err := a.Acquire(a.t.Context(), a.group, &controlplanev1.AcquireRequest{
		SessionId:  a.session.String(),
		Partitions: []*controlplanev1.AcquirePartition{{TopicId: t[:], Partition: partition, LastEndedEpoch: lastEnded}},
	})
	a.must(err)
	return response.GetOutcomes()[0].GetGrant(), response.GetOutcomes()[0].GetRefusal()
}

// lead acquires, or fails the test.
func (a *agent) lead(t topic, partition int32) *controlplanev1.Grant {
	a.t.Helper()
	grant, refusal := a.acquire(t, partition, 0)
	if refusal != nil {
		a.t.Fatalf("agent %s, partition %d: %v", a.id, partition, refusal)
	}
	return grant
}

func (a *agent) release(t topic, partition, epoch int32) *controlplanev1.ReleaseOutcome {
	a.t.Helper()
	response, err := a.Release(a.t.Context(), a.group, &controlplanev1.ReleaseRequest{
		SessionId: a.session.String(), Partitions: []*controlplanev1.ReleasePartition{{TopicId: t[:], Partition: partition, Epoch: epoch}},
	})
	a.must(err)
	return response.GetOutcomes()[0]
}

func (a *agent) heartbeat() error { return a.beat(false, false) }

func (a *agent) beat(draining, unfit bool) error {
	_, err := a.Heartbeat(a.t.Context(), a.group, &controlplanev1.HeartbeatRequest{SessionId: a.session.String(), Draining: draining, Unfit: unfit})
	return err
}

func (a *agent) deregister() {
	a.t.Helper()
	_, err := a.Deregister(a.t.Context(), a.group, &controlplanev1.DeregisterRequest{SessionId: a.session.String()})
	a.must(err)
}

// segment of count records.
func segment(t topic, partition, epoch int32, base int64, count int32, batches ...*controlplanev1.ProducerBatch) *controlplanev1.SegmentCommit {
	return &controlplanev1.SegmentCommit{
		TopicId: t[:], Partition: partition, Epoch: epoch, BaseOffset: base, RecordCount: count, SizeBytes: 100 * count, Crc32C: 0xfedcba98,
		MaxTimestampMs: 1000 + base + int64(count) - 1, MinTimestampMs: 1000 + base, ProducerBatches: batches,
	}
}

func batch(producer int64, epoch, sequence, count int32, base int64) *controlplanev1.ProducerBatch {
	return &controlplanev1.ProducerBatch{ProducerId: producer, ProducerEpoch: epoch, BaseSequence: sequence, RecordCount: count, BaseOffset: base}
}

// object of the agent, with the next key.
func (a *agent) object(segments ...*controlplanev1.SegmentCommit) *controlplanev1.ObjectCommit {
	a.objects++
	size := int64(0)
	for _, s := range segments {
		s.BytePosition = size
		size += int64(s.GetSizeBytes())
	}
	return &controlplanev1.ObjectCommit{
		Key: fmt.Sprintf("%s/0a/0-%s-%d", a.group, a.session, a.objects), SizeBytes: size + 100, Segments: segments,
	}
}

func (a *agent) commit(objects ...*controlplanev1.ObjectCommit) []*controlplanev1.ObjectOutcome {
	a.t.Helper()
	response, err := a.Commit(a.t.Context(), a.group, &controlplanev1.CommitRequest{SessionId: a.session.String(), Objects: objects})
	a.must(err)
	return response.GetObjects()
}

// committed commits one segment and answers its outcome.
func (a *agent) committed(s *controlplanev1.SegmentCommit) *controlplanev1.SegmentOutcome {
	a.t.Helper()
	outcome := a.commit(a.object(s))[0]
	if outcome.GetRefusal() != nil {
		a.t.Fatalf("object refused: %v", outcome.GetRefusal())
	}
	return outcome.GetSegments()[0]
}

func (a *agent) lookup(t topic, partition int32, offset int64) *controlplanev1.LookupOutcome {
	a.t.Helper()
	response, err := a.Lookup(a.t.Context(), a.group, &controlplanev1.LookupRequest{Partitions: []*controlplanev1.LookupPartition{
		{TopicId: t[:], Partition: partition, Position: &controlplanev1.LookupPartition_Offset{Offset: offset}},
	}})
	a.must(err)
	return response.GetOutcomes()[0]
}

func reasonOf(err error) refusalv1.Reason {
	if refused, ok := errors.AsType[*store.Refused](err); ok {
		return refused.Refusal.GetReason()
	}
	return refusalv1.Reason_REASON_UNSPECIFIED
}

func wantReason(t testing.TB, err error, want refusalv1.Reason) {
	t.Helper()
	if got := reasonOf(err); got != want {
		t.Fatalf("got %v (%v), want %v", got, err, want)
	}
}

func wantRefusal(t testing.TB, got *refusalv1.Refusal, want refusalv1.Reason) {
	t.Helper()
	if got.GetReason() != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// eventually waits for a condition, bounded.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("%s: not within 30s", what)
}

func refusalOf(err error) *refusalv1.Refusal {
	if refused, ok := errors.AsType[*store.Refused](err); ok {
		return refused.Refusal
	}
	return nil
}
