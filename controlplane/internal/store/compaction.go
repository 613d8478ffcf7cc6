package store

import (
	"context"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// Compactions are what agents say of the jobs of compaction that they have (protocol, section 7). Whatever names a job that is not the caller's any
// more is refused with JOB_LOST; while the catalog is halted or being verified all of it is refused.
type Compactions interface {
	// AnnounceOutput remembers what the job is about to write, so that whoever takes it over can go on. Idempotent by key.
	// Refusal: INVALID (the key is not one of the job's).
	AnnounceOutput(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.AnnounceOutputRequest) (*controlplanev1.AnnounceOutputResponse, error)
	// CommitCompaction puts segments of the output in the place of those that they were copied of, each for itself: where these are not all
	// there any more, or are others, nothing changes. Idempotent. Refusals: INVALID (the output was not announced, segments out of order),
	// OBJECT_TOMBSTONED.
	CommitCompaction(ctx context.Context, agentGroup AgentGroup, request *controlplanev1.CommitCompactionRequest) (*controlplanev1.CommitCompactionResponse, error)
}
