package rpc

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	"github.com/streamhouse/streamhouse/serve/listen"
	"github.com/streamhouse/streamhouse/serve/refusal"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/watch"
)

// agents is the AgentService: each call is bounded by the agent group of the agent's key (P7).
type agents struct{ Services }

var _ controlplanev1connect.AgentServiceHandler = agents{}

func (s agents) Register(ctx context.Context, request *controlplanev1.RegisterRequest) (*controlplanev1.RegisterResponse, error) {
	if err := storable("version", request.GetVersion()); err != nil {
		return nil, err
	}
	return forAgent(ctx, writes, request, s.Store.Register)
}

func (s agents) Heartbeat(ctx context.Context, request *controlplanev1.HeartbeatRequest) (*controlplanev1.HeartbeatResponse, error) {
	return forAgent(ctx, writes, request, s.Store.Heartbeat)
}

func (s agents) Deregister(ctx context.Context, request *controlplanev1.DeregisterRequest) (*controlplanev1.DeregisterResponse, error) {
	return forAgent(ctx, writes, request, s.Store.Deregister)
}

func (s agents) Acquire(ctx context.Context, request *controlplanev1.AcquireRequest) (*controlplanev1.AcquireResponse, error) {
	return forAgent(ctx, writes, request, s.Store.Acquire)
}

func (s agents) Release(ctx context.Context, request *controlplanev1.ReleaseRequest) (*controlplanev1.ReleaseResponse, error) {
	return forAgent(ctx, writes, request, s.Store.Release)
}

func (s agents) Commit(ctx context.Context, request *controlplanev1.CommitRequest) (*controlplanev1.CommitResponse, error) {
	return forAgent(ctx, writes, request, s.Store.Commit)
}

func (s agents) Lookup(ctx context.Context, request *controlplanev1.LookupRequest) (*controlplanev1.LookupResponse, error) {
	return forAgent(ctx, reads, request, s.Store.Lookup)
}

func (s agents) LookupProducers(
	ctx context.Context, request *controlplanev1.LookupProducersRequest,
) (*controlplanev1.LookupProducersResponse, error) {
	return forAgent(ctx, reads, request, s.Store.LookupProducers)
}

func (s agents) ResolveTopics(
	ctx context.Context, request *controlplanev1.ResolveTopicsRequest,
) (*controlplanev1.ResolveTopicsResponse, error) {
	for i, name := range request.GetNames() {
		if err := storable(fmt.Sprintf("names[%d]", i), name); err != nil {
			return nil, err
		}
	}
	return forAgent(ctx, reads, request, s.Store.ResolveTopics)
}

func (s agents) AllocateProducerIds(
	ctx context.Context, request *controlplanev1.AllocateProducerIdsRequest,
) (*controlplanev1.AllocateProducerIdsResponse, error) {
	return transact(ctx, writes, func(ctx context.Context) (*controlplanev1.AllocateProducerIdsResponse, error) {
		return s.Store.AllocateProducerIds(ctx, request)
	})
}

// Authenticate answers for any key: whoever has a key's hash has seen the key.
func (s agents) Authenticate(
	ctx context.Context, request *controlplanev1.AuthenticateRequest,
) (*controlplanev1.AuthenticateResponse, error) {
	return transact(ctx, reads, func(ctx context.Context) (*controlplanev1.AuthenticateResponse, error) {
		principal, err := s.Store.Authenticate(ctx, store.KeyHash(request.GetKeySha256()))
		if err != nil {
			return nil, err
		}
		return &controlplanev1.AuthenticateResponse{
			KeyId:      principal.KeyID.String(),
			Name:       principal.Name,
			Role:       principal.Role,
			AgentGroup: string(principal.AgentGroup),
		}, nil
	})
}

// Watch has no bound in time: it lasts until the session, the caller or this process ends.
func (s agents) Watch(
	ctx context.Context, request *controlplanev1.WatchRequest, stream controlplanev1connect.AgentServiceWatchServerStream,
) error {
	group, err := agentGroupOf(ctx)
	if err != nil {
		return err
	}
	session, err := uuid.Parse(request.GetSessionId())
	if err != nil {
		return refusal.Invalid("session_id", "session_id: must be a UUID")
	}
	watcher := watch.Watcher{AgentGroup: group, SessionID: session, Revision: request.GetRevision()}
	err = s.Hub.Watch(ctx, watcher, stream.Send)
	if refused, ok := errors.AsType[*store.Refused](err); ok {
		return refusedToConnect(ctx, refused)
	}
	select {
	case <-listen.Stopping(ctx): // this process breaks its watches itself
	default:
		s.WatchBroke(group, session)
	}
	return err
}
