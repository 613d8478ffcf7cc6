package rpc

import (
	"context"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"

	"github.com/streamhouse/streamhouse/controlplane/internal/overview"
	"github.com/streamhouse/streamhouse/controlplane/internal/rebalance"
	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// cluster is the ClusterService: what people see of agents and leases, a client those of its agent group (P7).
type cluster struct{ Services }

var _ controlplanev1connect.ClusterServiceHandler = cluster{}

func (s cluster) ListAgents(ctx context.Context, request *controlplanev1.ListAgentsRequest) (*controlplanev1.ListAgentsResponse, error) {
	return forCaller(ctx, request, s.Store.ListAgents)
}

func (s cluster) ListLeases(ctx context.Context, request *controlplanev1.ListLeasesRequest) (*controlplanev1.ListLeasesResponse, error) {
	if err := storable("leader_agent_id", request.GetLeaderAgentId()); err != nil {
		return nil, err
	}
	return forCaller(ctx, request, s.Store.ListLeases)
}

func (s cluster) DescribeAgent(
	ctx context.Context, request *controlplanev1.DescribeAgentRequest,
) (*controlplanev1.DescribeAgentResponse, error) {
	return forCaller(ctx, request, s.Store.DescribeAgent)
}

// DrainAgent writes first, so that what it answers is what happens.
func (s cluster) DrainAgent(ctx context.Context, request *controlplanev1.DrainAgentRequest) (*controlplanev1.DrainAgentResponse, error) {
	return transact(ctx, writes, func(ctx context.Context) (*controlplanev1.DrainAgentResponse, error) {
		return rebalance.Drain(ctx, s.Store, request)
	})
}

func (s cluster) TransferLease(
	ctx context.Context, request *controlplanev1.TransferLeaseRequest,
) (*controlplanev1.TransferLeaseResponse, error) {
	return transact(ctx, writes, func(ctx context.Context) (*controlplanev1.TransferLeaseResponse, error) {
		return s.Store.TransferLease(ctx, request)
	})
}

func (s cluster) ExplainPlacement(
	ctx context.Context, request *controlplanev1.ExplainPlacementRequest,
) (*controlplanev1.ExplainPlacementResponse, error) {
	return forCaller(ctx, request, func(
		ctx context.Context, agentGroup store.AgentGroup, request *controlplanev1.ExplainPlacementRequest,
	) (*controlplanev1.ExplainPlacementResponse, error) {
		return rebalance.Explain(ctx, s.Store, agentGroup, request)
	})
}

func (s cluster) GetPartitionHistory(
	ctx context.Context, request *controlplanev1.GetPartitionHistoryRequest,
) (*controlplanev1.GetPartitionHistoryResponse, error) {
	return forCaller(ctx, request, s.Store.PartitionHistory)
}

func (s cluster) GetClusterStatus(
	ctx context.Context, request *controlplanev1.GetClusterStatusRequest,
) (*controlplanev1.GetClusterStatusResponse, error) {
	return forCaller(ctx, request, func(
		ctx context.Context, agentGroup store.AgentGroup, _ *controlplanev1.GetClusterStatusRequest,
	) (*controlplanev1.GetClusterStatusResponse, error) {
		view, err := s.Store.ClusterView(ctx, agentGroup)
		if err != nil {
			return nil, err
		}
		catalog, err := s.Store.CatalogStatus(ctx)
		if err != nil {
			return nil, err
		}
		return overview.Of(view, catalog, s.Name), nil
	})
}
