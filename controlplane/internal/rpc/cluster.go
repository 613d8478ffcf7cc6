package rpc

import (
	"context"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
)

// cluster is the ClusterService: what people see of agents and leases, a client those of its agent group (P7).
type cluster struct {
	controlplanev1connect.UnimplementedClusterServiceHandler
	Services
}

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
