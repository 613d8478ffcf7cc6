package peers_test

import (
	"context"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/streamhouse/streamhouse/client"
	"github.com/streamhouse/streamhouse/e2e/cluster"
	"github.com/streamhouse/streamhouse/e2e/workload"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// fetch reads from an agent and no other.
func (r *rig) fetch(agent *cluster.Agent, offset int64, wait time.Duration) (*dataplanev1.FetchedPartition, error) {
	ctx, cancel := context.WithTimeout(r.ctx, callTimeout)
	defer cancel()
	response, err := r.at(agent).Fetch(ctx, &dataplanev1.FetchRequest{
		Decode: true, MaxWaitMs: int32(wait.Milliseconds()),
		Partitions: []*dataplanev1.FetchPartition{{Topic: &dataplanev1.FetchPartition_TopicId{TopicId: r.id}, Offset: offset}},
	})
	if err != nil {
		return nil, err
	}
	return response.GetPartitions()[0], nil
}

// wantUnavailable fails the test unless the answer is that nobody can know now.
func (r *rig) wantUnavailable(what string, err error) {
	r.Helper()
	if connect.CodeOf(err) != connect.CodeUnavailable || workload.Refusal(err).GetReason() != refusalv1.Reason_REASON_CATALOG_UNAVAILABLE {
		r.Errorf("%s: %v, want it unavailable", what, err)
	}
}

// A leader is cut off from the control plane and replaced; a record is acknowledged at the next one. A reader asks the old one, which has led all along as far as
// it knows. Who answers from the leader's memory says "nothing there", and the reader has lost an acknowledged record (P4). Here the old leader still serves what
// it knows to be committed, and of the end it says that it cannot know.
func TestP4_FetchAtADeposedLeader(t *testing.T) {
	t.Parallel()
	r := newRig(t, proxied(3*time.Second), client.TopicConfig{})
	leader, _, _ := r.leader()
	r.wantStored("zero", r.produce(leader, durable, plain("zero")), 0)
	if got, err := r.fetch(leader, 1, 0); err != nil || len(got.GetRecords()) > 0 || got.GetHighWatermark() != 1 {
		t.Fatalf("the end while it leads: %v, %v", got, err)
	}
	leader.Control[0].Silence(t)
	successor := r.awaitSuccessor(leader)
	r.wantStored("one", r.produce(successor, durable, plain("one")), 1)

	_, err := r.fetch(leader, 1, 0)
	r.wantUnavailable("a fetch at the old end", err)
	_, err = r.fetch(leader, 1, time.Second)
	r.wantUnavailable("a fetch that waits at the old end", err)
	_, err = r.fetch(leader, 2, 0)
	r.wantUnavailable("a fetch beyond the old end", err)
	_, err = r.at(leader).ListOffsets(r.ctx, r.latest())
	r.wantUnavailable("the end", err)
	if got, err := r.fetch(leader, 0, 0); err != nil || len(got.GetRecords()) == 0 || string(got.GetRecords()[0].GetValue()) != "zero" {
		t.Errorf("what the old leader knows to be committed: %v, %v", got, err)
	}

	leader.Control[0].Restore(r.ctx)
	r.awaitLive(leader.ID)
	r.wantLog("zero", "one")
}

func (r *rig) latest() *dataplanev1.ListOffsetsRequest {
	return &dataplanev1.ListOffsetsRequest{Partitions: []*dataplanev1.ListOffsetsPartition{{
		Topic:    &dataplanev1.ListOffsetsPartition_TopicId{TopicId: r.id},
		Position: &dataplanev1.OffsetPosition{Position: &dataplanev1.OffsetPosition_Edge{Edge: dataplanev1.OffsetEdge_OFFSET_EDGE_LATEST}},
	}}}
}

// A leader is stopped, replaced, and a record is acknowledged at the next one. A fetch at the old end was sent to it meanwhile, and is the first thing that it sees
// when it goes on: before any notice of its successor, and with a session that by its own clock still lives.
func TestP4_FetchThatWakesADeposedLeader(t *testing.T) {
	t.Parallel()
	r := newRig(t, cluster.Options{SessionDuration: 30 * time.Second, SuspectAfter: 2 * time.Second}, client.TopicConfig{})
	leader, _, _ := r.leader()
	r.wantStored("zero", r.produce(leader, durable, plain("zero")), 0)
	r.must(leader.Pause())
	successor := r.awaitSuccessor(leader)
	r.wantStored("one", r.produce(successor, durable, plain("one")), 1)
	const readers = 20
	ends := make(chan string, readers)
	for range readers {
		go func() {
			got, err := r.fetch(leader, 1, 0)
			switch {
			case err != nil && connect.CodeOf(err) != connect.CodeUnavailable:
				ends <- err.Error()
			case err == nil && len(got.GetRecords()) == 0:
				ends <- "nothing there"
			default:
				ends <- ""
			}
		}()
	}
	time.Sleep(300 * time.Millisecond) // they are in its socket now
	r.must(leader.Resume())
	for range readers {
		if wrong := <-ends; wrong != "" {
			t.Errorf("a reader was told: %s", wrong)
		}
	}
	r.wantLog("zero", "one")
}
