package client

import (
	"fmt"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/client/internal/fakecluster"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

// produceSome produces records without a key, in small batches.
func produceSome(t *testing.T, p *Producer, n int) {
	t.Helper()
	for i := range n {
		p.Produce(t.Context(), plain("orders", fmt.Sprint("some value to fill batches with ", i)), nil)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestZoneIsSentAndNeverLeftByRecordsWithoutAKey(t *testing.T) {
	bubble(t, []string{"a1/z1", "a2/z2", "a3/z2", "a4/z3"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 8)
		f.OnProduce(func(agent string, r *dataplanev1.ProduceRequest) fakecluster.Fault {
			if r.GetClientZone() != "z2" || agent == "a1" || agent == "a4" {
				t.Errorf("request from zone %q at %s", r.GetClientZone(), agent)
			}
			return fakecluster.Fault{}
		})
		p := producer(t, c, WithBatchBytes(1<<10))
		produceSome(t, p, 300)
		f.Drain("a2") // its partitions will move: others of the zone take its part
		if _, e := c.agents.refresh(t.Context(), "orders", ""); e != nil {
			t.Fatal(e)
		}
		before := f.Requests("a2", "Produce")
		produceSome(t, p, 300)
		if n := f.Requests("a2", "Produce") - before; n > 0 {
			t.Errorf("%d requests to an agent that leaves", n)
		}
		f.Suspect("a3", true) // nobody else in the zone: still better than to cross
		if _, e := c.agents.refresh(t.Context(), "orders", ""); e != nil {
			t.Fatal(e)
		}
		produceSome(t, p, 300)
	}, WithZone("z2"))
}

func TestFetchesLeaveTheZoneOnlyWhileNobodyAnswersThere(t *testing.T) {
	bubble(t, []string{"a1/z1", "a2/z2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 2)
		p := producer(t, c)
		k := consumer(t, c, From(Beginning()), WithFetchWait(100*time.Millisecond))
		read := func(n int) {
			t.Helper()
			produceSome(t, p, n)
			for n > 0 {
				rs, err := k.Poll(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				n -= len(rs)
			}
		}
		read(10)
		if n := f.Requests("a1", "Fetch"); n > 0 {
			t.Errorf("%d fetches left the zone", n)
		}
		f.Lead("orders", 0, "a1")
		f.Lead("orders", 1, "a1")
		f.Freeze("a2")
		read(10)
		if f.Requests("a1", "Fetch") == 0 {
			t.Error("nobody fetched in another zone while its own was silent")
		}
		f.Thaw("a2")
		time.Sleep(mostPenalty + time.Minute) // passed over for a while, then tried again
		left := f.Requests("a1", "Fetch")
		read(10)
		if n := f.Requests("a1", "Fetch") - left; n > 0 {
			t.Errorf("%d fetches left the zone although it answers again", n)
		}
	}, WithZone("z2"))
}

func TestP2_AgentThatLeavesIsLeftAtOnce(t *testing.T) {
	bubble(t, []string{"a1/z1", "a2/z1", "a3/z2"}, func(t *testing.T, f *fakecluster.Cluster, c *Client) {
		f.CreateTopic("orders", 6)
		fill(t, c, 500)
		k := consumer(t, c, From(Beginning()), WithFetchBytes(1<<16))
		got := map[int32][]int64{}
		read := func(n int) {
			t.Helper()
			for n > 0 {
				rs, err := k.Poll(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range rs {
					noteOffset(t, got, r) // each once, in order
				}
				n -= len(rs)
			}
		}
		read(500)
		f.Leave("a1")
		began := time.Now()
		fill(t, c, 500)
		read(500)
		if d := time.Since(began); d > 100*time.Millisecond {
			t.Errorf("it took %v to go elsewhere", d)
		}
		if f.Requests("a3", "Fetch") > 0 {
			t.Error("a zone was left in which an agent stays")
		}
	}, WithZone("z1"))
}
