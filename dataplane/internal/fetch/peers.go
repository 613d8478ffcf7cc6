package fetch

import (
	"context"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	"github.com/streamhouse/streamhouse/dataplane/internal/notice"
	"github.com/streamhouse/streamhouse/dataplane/internal/traffic"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
)

// Notices tells another agent of the agent group what this one commits; see peer.proto.
func (s *Service) Notices(ctx context.Context, stream dataplanev1connect.PeerServiceNoticesServerStream) error {
	if err := s.authorize(ctx); err != nil {
		return err
	}
	send := stream.Send
	if s.config.Traffic != nil {
		zone := traffic.ClientZone(ctx, "")
		send = func(res *dataplanev1.NoticesResponse) error {
			if len(res.GetNotices()) > 0 {
				s.config.Traffic.Noticed(zone, proto.Size(res))
			}
			return stream.Send(res)
		}
	}
	return s.board.Serve(ctx, s.stopping, stream.Receive, send)
}

// openNotices listens to the agent at an address.
func (s *Service) openNotices(ctx context.Context, address string) (notice.Stream, error) {
	client, err := s.config.Peers.Client(address)
	if err != nil {
		return nil, err
	}
	ctx, info := connect.NewClientContext(ctx)
	info.RequestHeader().Set(traffic.ZoneHeader, s.config.Zone)
	return client.Notices(ctx)
}
