package fetch

import (
	"context"

	"github.com/streamhouse/streamhouse/dataplane/internal/notice"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
)

// Notices tells another agent of the agent group what this one commits; see peer.proto.
func (s *Service) Notices(ctx context.Context, stream dataplanev1connect.PeerServiceNoticesServerStream) error {
	if err := s.authorize(ctx); err != nil {
		return err
	}
	return s.board.Serve(ctx, s.stopping, stream.Receive, stream.Send)
}

// openNotices listens to the agent at an address.
func (s *Service) openNotices(ctx context.Context, address string) (notice.Stream, error) {
	client, err := s.config.Peers.Client(address)
	if err != nil {
		return nil, err
	}
	return client.Notices(ctx)
}
