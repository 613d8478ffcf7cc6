package store

import (
	"context"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// KeyCompactions are what jobs that compact partitions by key do to the catalog. Both refuse with JOB_LOST whoever does not have the job any more.
type KeyCompactions interface {
	// CommitKeyCompaction puts segments of a new object in place of those that they were made of, each if these are there as they were read (P1, P2).
	// What is left out stays as it is. A repeat of the same key is answered as the first one. Locks: job, object keys, segments.
	// Refusals: INVALID (what is no key of the job's, segments that do not follow each other), OBJECT_TOMBSTONED.
	CommitKeyCompaction(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.CommitKeyCompactionRequest) (
		*controlplanev1.CommitKeyCompactionResponse, error)
	// FinishKeyCompaction writes down how far the partition is clean. Idempotent. Refusal: INVALID (beyond what the job was to do).
	FinishKeyCompaction(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.FinishKeyCompactionRequest) (
		*controlplanev1.FinishKeyCompactionResponse, error)
}
