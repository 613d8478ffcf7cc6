package rebalance

import (
	"cmp"
	"context"
	"slices"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/placement"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// mostMoves is how many moves an answer names.
const mostMoves = 10_000

// Operated is what operators' calls need of the catalog.
type Operated interface {
	DescribeAgent(ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.DescribeAgentRequest) (*controlplanev1.DescribeAgentResponse, error)
	PlacementInput(ctx context.Context, agentGroup store.AgentGroup) (*store.PlacementInput, error)
	PartitionLoads(ctx context.Context, agentGroup store.AgentGroup) (map[store.PartitionID]int64, error)
	FindLease(ctx context.Context, agentGroup store.AgentGroup, topic string, partition int32) (store.AgentGroup, *controlplanev1.Lease, error)
	RequestDrain(ctx context.Context, agentID string) (store.AgentGroup, error)
}

// Drain says where an agent's partitions go, and, unless it is a dry run, has it drain. The plan is made before: right after, each replica begins
// to carry it out.
func Drain(ctx context.Context, s Operated, request *controlplanev1.DrainAgentRequest) (*controlplanev1.DrainAgentResponse, error) {
	described, err := s.DescribeAgent(ctx, store.EveryAgentGroup, &controlplanev1.DescribeAgentRequest{AgentId: request.GetAgentId()})
	if err != nil {
		return nil, err
	}
	agent := described.GetAgent()
	if agent.GetState() == controlplanev1.AgentState_AGENT_STATE_ENDED {
		return nil, store.Refuse(refusalv1.Reason_REASON_UNKNOWN_AGENT, "the session of agent %q has ended", request.GetAgentId())
	}
	in, err := s.PlacementInput(ctx, store.AgentGroup(agent.GetAgentGroup()))
	if err != nil {
		return nil, err
	}
	response := movesAway(in, request.GetAgentId())
	if !request.GetDryRun() {
		_, err = s.RequestDrain(ctx, request.GetAgentId())
	}
	return response, err
}

// movesAway are the moves of the agent's partitions, those that it hands over already included.
func movesAway(in *store.PlacementInput, agentID string) *controlplanev1.DrainAgentResponse {
	agent := int32(slices.IndexFunc(in.Agents, func(a placement.Agent) bool { return a.ID == agentID }))
	if agent == placement.Nobody {
		return &controlplanev1.DrainAgentResponse{}
	}
	to := make(map[int32]int32) // by partition
	for i, p := range in.Partitions {
		switch {
		case p.Agent == agent:
			to[int32(i)] = placement.Nobody
		case in.Leaders[i] == agent:
			to[int32(i)] = p.Agent
		}
	}
	in.Agents[agent].State = placement.Draining
	for _, move := range placement.Repair(in.Input).Moves {
		if move.From == agent {
			to[move.Partition] = move.To
		}
	}
	response := &controlplanev1.DrainAgentResponse{MoveCount: int32(len(to))}
	for i, target := range to {
		topic := in.Topics[in.Partitions[i].Topic]
		response.Moves = append(response.Moves, &controlplanev1.Move{
			Topic: topic.Name, TopicId: topic.ID.String(), Partition: in.Partitions[i].Number, FromAgentId: agentID, ToAgentId: in.Agent(target),
		})
	}
	slices.SortFunc(response.Moves, func(a, b *controlplanev1.Move) int {
		return cmp.Or(cmp.Compare(a.GetTopic(), b.GetTopic()), cmp.Compare(a.GetPartition(), b.GetPartition()))
	})
	response.Moves = response.GetMoves()[:min(len(to), mostMoves)]
	return response
}
