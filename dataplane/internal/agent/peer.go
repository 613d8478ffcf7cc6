package agent

import (
	"context"

	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"

	"github.com/streamhouse/streamhouse/dataplane/internal/callers"
	"github.com/streamhouse/streamhouse/dataplane/internal/fetch"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	"github.com/streamhouse/streamhouse/dataplane/internal/produce"
)

// peerService is PeerService. P7: every door asks whose key it is before anything else.
type peerService struct {
	dataplanev1connect.UnimplementedPeerServiceHandler

	agentGroup string
	produce    *produce.Service
	reader     *fetch.Service
}

// Notices tells another agent what this one commits.
func (p peerService) Notices(ctx context.Context, stream dataplanev1connect.PeerServiceNoticesServerStream) error {
	if err := callers.Admit(ctx, p.agentGroup); err != nil {
		return err
	}
	return p.reader.Notices(ctx, stream)
}

// ReadObject reads from the bucket for another agent of the zone.
func (p peerService) ReadObject(ctx context.Context, req *dataplanev1.ReadObjectRequest) (*dataplanev1.ReadObjectResponse, error) {
	if err := callers.Admit(ctx, p.agentGroup); err != nil {
		return nil, err
	}
	return p.reader.ReadObject(ctx, req)
}

// ForwardProduce takes a Produce from another agent.
func (p peerService) ForwardProduce(
	ctx context.Context, req *dataplanev1.ForwardProduceRequest,
) (*dataplanev1.ForwardProduceResponse, error) {
	return p.produce.ForwardProduce(ctx, req)
}

// TakeOver takes word from an agent that has handed partitions over to this one.
func (p peerService) TakeOver(ctx context.Context, req *dataplanev1.TakeOverRequest) (*dataplanev1.TakeOverResponse, error) {
	if err := callers.Admit(ctx, p.agentGroup); err != nil {
		return nil, err
	}
	granted := make([]produce.Granted, len(req.GetPartitions()))
	for i, g := range req.GetPartitions() {
		id := g.GetPartition()
		granted[i] = produce.Granted{
			Partition: partition.ID{Topic: object.UUID(id.GetTopicId()), Number: id.GetPartition()}, Epoch: g.GetEpoch(),
		}
	}
	p.produce.Expect(granted...)
	return &dataplanev1.TakeOverResponse{}, nil
}
