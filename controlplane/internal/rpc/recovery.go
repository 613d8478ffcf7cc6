package rpc

import (
	"context"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
)

// recovery is the RecoveryService, for admins: the catalog against the bucket.
type recovery struct{ Services }

var _ controlplanev1connect.RecoveryServiceHandler = recovery{}

// restore runs a step of a recovery to its end, whatever becomes of the caller: it may be long, and the caller will ask again.
func restore[Req, Res any](ctx context.Context, request Req, call func(context.Context, Req) (Res, error)) (Res, error) {
	return transact(context.WithoutCancel(ctx), adopts, func(ctx context.Context) (Res, error) { return call(ctx, request) })
}

// look runs what only reads, and may read much.
func look[Req, Res any](ctx context.Context, request Req, call func(context.Context, Req) (Res, error)) (Res, error) {
	return transact(ctx, surveys, func(ctx context.Context) (Res, error) { return call(ctx, request) })
}

func (s recovery) BeginRecovery(ctx context.Context, request *controlplanev1.BeginRecoveryRequest) (*controlplanev1.BeginRecoveryResponse, error) {
	return restore(ctx, request, s.Recovery.BeginRecovery)
}

func (s recovery) FindUnknownKeys(ctx context.Context, request *controlplanev1.FindUnknownKeysRequest) (*controlplanev1.FindUnknownKeysResponse, error) {
	return look(ctx, request, s.Recovery.FindUnknownKeys)
}

func (s recovery) AddObjects(ctx context.Context, request *controlplanev1.AddObjectsRequest) (*controlplanev1.AddObjectsResponse, error) {
	return restore(ctx, request, s.Recovery.AddObjects)
}

func (s recovery) AddTopics(ctx context.Context, request *controlplanev1.AddTopicsRequest) (*controlplanev1.AddTopicsResponse, error) {
	return restore(ctx, request, s.Recovery.AddTopics)
}

func (s recovery) BuildLogs(ctx context.Context, request *controlplanev1.BuildLogsRequest) (*controlplanev1.BuildLogsResponse, error) {
	return restore(ctx, request, s.Recovery.BuildLogs)
}

func (s recovery) ReplayProducers(ctx context.Context, request *controlplanev1.ReplayProducersRequest) (*controlplanev1.ReplayProducersResponse, error) {
	return restore(ctx, request, s.Recovery.ReplayProducers)
}

func (s recovery) GetRecovery(ctx context.Context, request *controlplanev1.GetRecoveryRequest) (*controlplanev1.GetRecoveryResponse, error) {
	return look(ctx, request, s.Recovery.GetRecovery)
}

func (s recovery) FinishRecovery(ctx context.Context, request *controlplanev1.FinishRecoveryRequest) (*controlplanev1.FinishRecoveryResponse, error) {
	return restore(ctx, request, s.Recovery.FinishRecovery)
}

func (s recovery) AuditObjects(ctx context.Context, request *controlplanev1.AuditObjectsRequest) (*controlplanev1.AuditObjectsResponse, error) {
	return look(ctx, request, s.Recovery.AuditObjects)
}

func (s recovery) ListReferencedObjects(
	ctx context.Context, request *controlplanev1.ListReferencedObjectsRequest,
) (*controlplanev1.ListReferencedObjectsResponse, error) {
	return look(ctx, request, s.Recovery.ListReferencedObjects)
}

func (s recovery) AuditPartitions(ctx context.Context, request *controlplanev1.AuditPartitionsRequest) (*controlplanev1.AuditPartitionsResponse, error) {
	return look(ctx, request, s.Recovery.AuditPartitions)
}
