package rebalance

import (
	"context"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/placement"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// Explain says why a partition is where it is, with the loads reported last.
func Explain(ctx context.Context, s Operated, agentGroup store.AgentGroup, request *controlplanev1.ExplainPlacementRequest) (
	*controlplanev1.ExplainPlacementResponse, error,
) {
	of, lease, err := s.FindLease(ctx, agentGroup, request.GetTopic(), request.GetPartition())
	if err != nil {
		return nil, err
	}
	in, err := s.PlacementInput(ctx, of)
	if err != nil {
		return nil, err
	}
	loads, err := s.PartitionLoads(ctx, of)
	if err != nil {
		return nil, err
	}
	in.SetLoads(loads)
	at := indexOf(in, lease)
	if at < 0 { // its topic was deleted between two looks
		return nil, store.Refuse(refusalv1.Reason_REASON_UNKNOWN_TOPIC, "topic %q has just been deleted", request.GetTopic())
	}
	response := explanation(in, placement.Explain(in.Input, at))
	response.Lease, response.Pinned = lease, lease.GetPinned()
	return response, nil
}

func indexOf(in *store.PlacementInput, lease *controlplanev1.Lease) int {
	for i, p := range in.Partitions {
		if p.Number == lease.GetPartition() && in.Topics[p.Topic].ID.String() == lease.GetTopicId() {
			return i
		}
	}
	return -1
}

func explanation(in *store.PlacementInput, e placement.Explanation) *controlplanev1.ExplainPlacementResponse {
	response := &controlplanev1.ExplainPlacementResponse{Reasons: e.Reasons, WouldMove: e.WouldMove}
	for _, c := range e.Candidates {
		agent := in.Agents[c.Agent]
		response.Candidates = append(response.Candidates, &controlplanev1.PlacementCandidate{
			AgentId: agent.ID, Zone: agent.Zone, Eligible: c.Eligible, Verdict: c.Verdict, TopicPartitions: c.TopicPartitions,
			Partitions: c.Partitions, BytesPerSecond: c.BytesPerSecond, CapacityBytesPerSecond: agent.CapacityBytesPerSecond,
		})
	}
	for _, z := range e.Zones {
		response.Zones = append(response.Zones, &controlplanev1.PlacementZone{
			Zone: z.Name, Agents: z.Agents, CapacityBytesPerSecond: z.CapacityBytesPerSecond,
			LeastPartitions: z.Least, MostPartitions: z.Most, Partitions: z.Partitions,
		})
	}
	return response
}
