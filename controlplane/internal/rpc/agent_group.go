package rpc

import (
	"context"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
)

// agentGroups is the AgentGroupService, for admins.
type agentGroups struct{ Services }

var _ controlplanev1connect.AgentGroupServiceHandler = agentGroups{}

func (s agentGroups) CreateAgentGroup(
	ctx context.Context, request *controlplanev1.CreateAgentGroupRequest,
) (*controlplanev1.CreateAgentGroupResponse, error) {
	return transact(ctx, writes, func(ctx context.Context) (*controlplanev1.CreateAgentGroupResponse, error) {
		return s.Store.CreateAgentGroup(ctx, request)
	})
}

func (s agentGroups) ListAgentGroups(
	ctx context.Context, _ *controlplanev1.ListAgentGroupsRequest,
) (*controlplanev1.ListAgentGroupsResponse, error) {
	return transact(ctx, reads, s.Store.ListAgentGroups)
}

func (s agentGroups) DeleteAgentGroup(
	ctx context.Context, request *controlplanev1.DeleteAgentGroupRequest,
) (*controlplanev1.DeleteAgentGroupResponse, error) {
	return transact(ctx, writes, func(ctx context.Context) (*controlplanev1.DeleteAgentGroupResponse, error) {
		return s.Store.DeleteAgentGroup(ctx, request)
	})
}
