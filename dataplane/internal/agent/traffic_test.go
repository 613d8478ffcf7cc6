package agent_test

import (
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/agent"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

// total sums what an agent has reported for a direction and a zone.
func (s *story) total(agent string, direction controlplanev1.TrafficDirection, zone string) int64 {
	var total int64
	for _, row := range s.Control.Report(agent).GetTraffic() {
		if row.GetDirection() == direction && row.GetZone() == zone {
			total += row.GetBytes()
		}
	}
	return total
}

func TestAgentsReportTheirTrafficByZone(t *testing.T) {
	tell(t, 2, func(s *story) {
		in := func(zone string) func(*agent.Config) { return func(c *agent.Config) { c.Session.Zone = zone } }
		a, b := s.Start("a", in("east")), s.Start("b", in("west"))
		s.move(0, a)
		s.move(1, b)
		size := int64(len(s.batch("x", 0, -1)))
		for i := range 40 {
			for p := range int32(2) { // b forwards what is for a
				req := request(p, s.batch("x", 0, -1))
				req.ClientZone = "west"
				if _, r := s.outcome(b.Client.Produce(s.ctx(5*time.Second), req)); r != nil {
					t.Fatal(r)
				}
			}
			if i%4 == 0 {
				_, err := a.Client.Fetch(s.ctx(5*time.Second), &dataplanev1.FetchRequest{ClientZone: "east", Partitions: []*dataplanev1.FetchPartition{{
					Topic: &dataplanev1.FetchPartition_TopicName{TopicName: "orders"}, Offset: int64(i),
				}}})
				if err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
		}
		time.Sleep(15 * time.Second)
		const (
			produce = controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_PRODUCE
			fetch   = controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_FETCH
			forward = controlplanev1.TrafficDirection_TRAFFIC_DIRECTION_FORWARD
		)
		for _, want := range []struct {
			agent     string
			direction controlplanev1.TrafficDirection
			zone      string
			bytes     int64
		}{{"b", produce, "west", 80 * size}, {"b", forward, "east", 40 * size}, {"a", produce, "west", 0}, {"a", fetch, "east", 10 * size}} {
			if got := s.total(want.agent, want.direction, want.zone); got != want.bytes {
				t.Errorf("%s counted %d bytes of %v with %s, want %d", want.agent, got, want.direction, want.zone, want.bytes)
			}
		}
		report := s.Control.Report("a")
		if report.GetInBytesPerSecond() == 0 || report.GetInBytesPerSecond() > size {
			t.Errorf("a takes %d bytes per second", report.GetInBytesPerSecond())
		}
	})
}
