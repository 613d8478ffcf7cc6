package store

import (
	"context"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// Recovery makes a catalog of what the bucket has (P9; protocol, section 8), and compares the two. It is no part of Store: package memory has
// no bucket, and the rule itself is package rebuild's, which has its own tests. The messages say what each method does, and its refusals.
type Recovery interface {
	BeginRecovery(ctx context.Context, request *controlplanev1.BeginRecoveryRequest) (*controlplanev1.BeginRecoveryResponse, error)
	FindUnknownKeys(ctx context.Context, request *controlplanev1.FindUnknownKeysRequest) (*controlplanev1.FindUnknownKeysResponse, error)
	AddObjects(ctx context.Context, request *controlplanev1.AddObjectsRequest) (*controlplanev1.AddObjectsResponse, error)
	AddTopics(ctx context.Context, request *controlplanev1.AddTopicsRequest) (*controlplanev1.AddTopicsResponse, error)
	BuildLogs(ctx context.Context, request *controlplanev1.BuildLogsRequest) (*controlplanev1.BuildLogsResponse, error)
	ReplayProducers(ctx context.Context, request *controlplanev1.ReplayProducersRequest) (*controlplanev1.ReplayProducersResponse, error)
	GetRecovery(ctx context.Context, request *controlplanev1.GetRecoveryRequest) (*controlplanev1.GetRecoveryResponse, error)
	// FinishRecovery is one transaction.
	FinishRecovery(ctx context.Context, request *controlplanev1.FinishRecoveryRequest) (*controlplanev1.FinishRecoveryResponse, error)

	// AuditObjects reads one snapshot.
	AuditObjects(ctx context.Context, request *controlplanev1.AuditObjectsRequest) (*controlplanev1.AuditObjectsResponse, error)
	ListReferencedObjects(ctx context.Context, request *controlplanev1.ListReferencedObjectsRequest) (*controlplanev1.ListReferencedObjectsResponse, error)
	AuditPartitions(ctx context.Context, request *controlplanev1.AuditPartitionsRequest) (*controlplanev1.AuditPartitionsResponse, error)
}
