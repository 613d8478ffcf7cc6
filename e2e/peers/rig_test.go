package peers_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/client/recordbatch"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/workload"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

const (
	topic = "orders"
	// storyTimeout is exceeded by a hang alone.
	storyTimeout = 3 * time.Minute
	// callTimeout bounds one call of a test.
	callTimeout = 40 * time.Second
)

// rig is a cluster with a topic of one partition.
type rig struct {
	*testing.T
	ctx     context.Context // a story is one bounded piece of work
	cluster *cluster.Cluster
	// id of the topic. Calls name it by this, as the SDK does: for a name every agent asks the catalog, and could not while it is cut off.
	id string
}

func newRig(t *testing.T, options cluster.Options, config client.TopicConfig) *rig {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), storyTimeout)
	t.Cleanup(cancel)
	r := &rig{T: t, ctx: ctx, cluster: cluster.Start(t, options)}
	r.createTopic(config)
	return r
}

func (r *rig) createTopic(config client.TopicConfig) {
	r.Helper()
	r.cluster.CreateTopic(r.ctx, r, topic, 1, config)
	described, _, err := r.cluster.Admin(r).DescribeTopic(r.ctx, topic)
	r.must(err)
	r.id = described.ID
}

// proxied is a cluster whose ways can be cut, with sessions of that length.
func proxied(session time.Duration) cluster.Options {
	return cluster.Options{SessionDuration: session, Proxied: true}
}

// leader is the agent that leads the partition, its epoch, and another agent.
func (r *rig) leader() (leader *cluster.Agent, epoch int32, other *cluster.Agent) {
	r.Helper()
	lease := r.cluster.AwaitLeaders(r.ctx, r, topic, func(l client.Lease) bool { return l.LeaderAgentID != "" })[0]
	for _, agent := range r.cluster.Agents {
		if agent.ID != lease.LeaderAgentID && agent.Running() {
			other = agent
		}
	}
	return r.cluster.Agent(r, lease.LeaderAgentID), lease.Epoch, other
}

// awaitSuccessor waits until another agent leads.
func (r *rig) awaitSuccessor(of *cluster.Agent) *cluster.Agent {
	r.Helper()
	lease := r.cluster.AwaitLeaders(r.ctx, r, topic, func(l client.Lease) bool { return l.LeaderAgentID != "" && l.LeaderAgentID != of.ID })[0]
	return r.cluster.Agent(r, lease.LeaderAgentID)
}

func (r *rig) at(agent *cluster.Agent) *workload.Agent {
	return workload.NewAgent(agent.URL, r.cluster.ClientKey)
}

// told is what a producer was told.
type told struct {
	stored   *dataplanev1.Stored
	buffered bool
	refusal  *refusalv1.Refusal // nil with err: nobody answered
	err      error
}

func (a told) String() string {
	switch {
	case a.stored != nil:
		return "stored: " + a.stored.String()
	case a.buffered:
		return "buffered"
	default:
		return "error: " + a.err.Error()
	}
}

// produce sends one entry to this agent and no other.
func (r *rig) produce(agent *cluster.Agent, acks dataplanev1.Acks, entry *dataplanev1.ProduceEntry) told {
	ctx, cancel := context.WithTimeout(r.ctx, callTimeout)
	defer cancel()
	if entry.Topic == nil {
		entry.Topic = &dataplanev1.ProduceEntry_TopicId{TopicId: r.id}
	}
	entry.Partition = new(int32(0))
	response, err := r.at(agent).Produce(ctx, &dataplanev1.ProduceRequest{Acks: acks, NoForward: true, Entries: []*dataplanev1.ProduceEntry{entry}})
	if err != nil {
		return told{err: err, refusal: workload.Refusal(err)}
	}
	outcome := response.GetOutcomes()[0]
	return told{stored: outcome.GetStored(), buffered: outcome.GetBuffered() != nil}
}

// insist repeats a produce that was surely not written because the catalog was out of reach: a way that was just restored may be cut once more.
func (r *rig) insist(agent *cluster.Agent, acks dataplanev1.Acks, entry *dataplanev1.ProduceEntry) told {
	for {
		answer := r.produce(agent, acks, entry)
		if answer.refusal.GetReason() != refusalv1.Reason_REASON_CATALOG_UNAVAILABLE || r.ctx.Err() != nil {
			return answer
		}
	}
}

// plain is an entry of one record.
func plain(value string) *dataplanev1.ProduceEntry {
	return &dataplanev1.ProduceEntry{Payload: &dataplanev1.ProduceEntry_Records{
		Records: &dataplanev1.PlainRecords{Records: []*dataplanev1.Record{{Value: []byte(value)}}},
	}}
}

// numbered is an entry of one record of an idempotent producer.
func (r *rig) numbered(id int64, epoch int16, sequence int32, value string) *dataplanev1.ProduceEntry {
	r.Helper()
	b := recordbatch.NewBuilder(recordbatch.None, recordbatch.Limits{})
	if err := b.Append(time.Now().UnixMilli(), nil, []byte(value), nil); err != nil {
		r.Fatal(err)
	}
	encoded, err := b.AppendBatch(nil, recordbatch.Producer{ID: id, Epoch: epoch, BaseSequence: sequence})
	if err != nil {
		r.Fatal(err)
	}
	return &dataplanev1.ProduceEntry{Payload: &dataplanev1.ProduceEntry_Batch{Batch: encoded}}
}

// producerID allocates one.
func (r *rig) producerID(agent *cluster.Agent) int64 {
	r.Helper()
	response, err := r.at(agent).AllocateProducerId(r.ctx, &dataplanev1.AllocateProducerIdRequest{})
	if err != nil {
		r.Fatal(err)
	}
	return response.GetProducerId()
}

const durable = dataplanev1.Acks_ACKS_DURABLE

// wantStored fails the test unless the record was stored at the offset.
func (r *rig) wantStored(what string, got told, offset int64) {
	r.Helper()
	if got.stored == nil || got.stored.GetBaseOffset() != offset {
		r.Fatalf("%s: %v, want it stored at %d", what, got, offset)
	}
}

// wantRepeat fails the test unless the record was recognised as the one at the offset.
func (r *rig) wantRepeat(what string, got told, offset int64) {
	r.Helper()
	r.wantStored(what, got, offset)
	if !got.stored.GetDuplicate() {
		r.Errorf("%s: not said to be a repeat", what)
	}
}

// wantRefused fails the test unless the record was refused for the reason.
func (r *rig) wantRefused(what string, got told, reason refusalv1.Reason) {
	r.Helper()
	if got.refusal.GetReason() != reason {
		r.Fatalf("%s: %v, want %v", what, got, reason)
	}
}

// wantLog fails the test unless each agent that runs tells this log, and no other.
func (r *rig) wantLog(want ...string) {
	r.Helper()
	for _, agent := range r.cluster.Agents {
		if !agent.Running() {
			continue
		}
		var got []string
		for i, read := range r.at(agent).ReadLog(r.ctx, r, topic) {
			if read.Offset != int64(i) {
				r.Errorf("%s: offset %d after %d records", agent.ID, read.Offset, i)
			}
			got = append(got, read.ID)
		}
		if !slices.Equal(got, want) {
			r.Errorf("%s tells %q, want %q", agent.ID, got, want)
		}
	}
}

// eventually waits for a condition.
func (r *rig) eventually(what string, is func() bool) {
	r.Helper()
	for !is() {
		select {
		case <-r.ctx.Done():
			r.Fatalf("waited in vain: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// copies is how many files of the bucket's server contain the text; the records of these tests are not compressed where it matters.
func (r *rig) copies(text string) (n int) {
	r.Helper()
	err := filepath.WalkDir(r.cluster.S3.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil //nolint:nilerr // a file that has gone meanwhile
		}
		if content, err := os.ReadFile(path); err == nil && strings.Contains(string(content), text) {
			n++
		}
		return nil
	})
	if err != nil {
		r.Fatal(err)
	}
	return n
}

// awaitLive waits until the control plane calls the agent live again.
func (r *rig) awaitLive(id string) {
	r.Helper()
	admin := r.cluster.Admin(r)
	r.eventually("agent "+id+" is live", func() bool {
		agents, err := admin.ListAgents(r.ctx, "")
		return err == nil && slices.ContainsFunc(agents, func(a client.Agent) bool { return a.ID == id && a.State == client.AgentLive })
	})
}
