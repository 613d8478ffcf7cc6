package fetch

import (
	"testing"
	"testing/synctest"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

func TestReadersOfALeavingAgentAreSentToItsZone(t *testing.T) {
	inBubble(t, 1, Config{Self: "a", Zone: "z1"}, func(t *testing.T, r *rig) {
		r.table.Apply(&controlplanev1.Placement{Revision: 2, Agents: []*controlplanev1.PlacedAgent{
			{AgentId: "a", Zone: "z1", Address: "http://a"},
			{AgentId: "b", Zone: "z2", Address: "http://b"},
			{AgentId: "c", Zone: "z1", Address: "http://c"},
			{AgentId: "d", Zone: "z1", Address: "http://d", Draining: true},
		}})
		stream := r.consumer(&dataplanev1.ConsumeRequest{})
		polls := make(chan time.Duration, 2)
		poll := func() {
			began := time.Now()
			req := request(0, 0)
			req.MaxWaitMs = 30_000
			if got := r.fetch(req); got.GetNextOffset() != 0 || len(got.GetBatches()) > 0 {
				t.Errorf("fetched %v", got)
			}
			polls <- time.Since(began)
		}
		go poll()
		time.Sleep(time.Second)
		r.Drain()
		synctest.Wait()
		if moved := wantRefusal(t, stream.end(), refusalv1.Reason_REASON_MOVED); moved.GetLeader().GetAgentId() != "c" || moved.GetLeader().GetAddress() != "http://c" {
			t.Errorf("refusal %v, want to be sent to c", moved)
		}
		if took := <-polls; took != time.Second {
			t.Errorf("a long poll ended after %s, want with the drain", took)
		}
		if poll(); <-polls != leavingWait {
			t.Error("a later poll does not wait a moment")
		}
		wantRefusal(t, r.consumer(&dataplanev1.ConsumeRequest{}).end(), refusalv1.Reason_REASON_MOVED)
		r.write([][]rec{plain(2)}, 0)
		wantOffsets(t, offsets(t, r.fetch(request(0, 0)).GetBatches()), 0, 2)
	})
}

func TestReadersOfTheLastAgentAreSentNowhere(t *testing.T) {
	inBubble(t, 1, Config{Self: "a"}, func(t *testing.T, r *rig) {
		r.Drain()
		if moved := wantRefusal(t, r.consumer(&dataplanev1.ConsumeRequest{}).end(), refusalv1.Reason_REASON_MOVED); moved.GetLeader() != nil {
			t.Errorf("refusal %v names an agent", moved)
		}
	})
}
