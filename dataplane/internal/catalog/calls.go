package catalog

import (
	"context"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
)

// Register starts a session; see the proto.
func (c *Client) Register(ctx context.Context, req *controlplanev1.RegisterRequest) (*controlplanev1.RegisterResponse, error) {
	return call(ctx, c, req, controlplanev1connect.AgentServiceClient.Register)
}

// Heartbeat renews the session; see the proto.
func (c *Client) Heartbeat(ctx context.Context, req *controlplanev1.HeartbeatRequest) (*controlplanev1.HeartbeatResponse, error) {
	return call(ctx, c, req, controlplanev1connect.AgentServiceClient.Heartbeat)
}

// Deregister ends the session; see the proto.
func (c *Client) Deregister(ctx context.Context, req *controlplanev1.DeregisterRequest) (*controlplanev1.DeregisterResponse, error) {
	return call(ctx, c, req, controlplanev1connect.AgentServiceClient.Deregister)
}

// Acquire acquires leases; see the proto.
func (c *Client) Acquire(ctx context.Context, req *controlplanev1.AcquireRequest) (*controlplanev1.AcquireResponse, error) {
	return call(ctx, c, req, controlplanev1connect.AgentServiceClient.Acquire)
}

// Release ends tenures; see the proto.
func (c *Client) Release(ctx context.Context, req *controlplanev1.ReleaseRequest) (*controlplanev1.ReleaseResponse, error) {
	return call(ctx, c, req, controlplanev1connect.AgentServiceClient.Release)
}

// Commit commits uploaded objects; see the proto.
func (c *Client) Commit(ctx context.Context, req *controlplanev1.CommitRequest) (*controlplanev1.CommitResponse, error) {
	return call(ctx, c, req, controlplanev1connect.AgentServiceClient.Commit)
}

// Lookup reads partitions and segments from the primary database; see the proto.
func (c *Client) Lookup(ctx context.Context, req *controlplanev1.LookupRequest) (*controlplanev1.LookupResponse, error) {
	return call(ctx, c, req, controlplanev1connect.AgentServiceClient.Lookup)
}

// LookupProducers reads the committed state of producers; see the proto.
func (c *Client) LookupProducers(ctx context.Context, req *controlplanev1.LookupProducersRequest) (*controlplanev1.LookupProducersResponse, error) {
	return call(ctx, c, req, controlplanev1connect.AgentServiceClient.LookupProducers)
}

// ResolveTopics finds topics past every cache; see the proto.
func (c *Client) ResolveTopics(ctx context.Context, req *controlplanev1.ResolveTopicsRequest) (*controlplanev1.ResolveTopicsResponse, error) {
	return call(ctx, c, req, controlplanev1connect.AgentServiceClient.ResolveTopics)
}

// AllocateProducerIds reserves producer ids; see the proto.
func (c *Client) AllocateProducerIds(ctx context.Context, req *controlplanev1.AllocateProducerIdsRequest) (*controlplanev1.AllocateProducerIdsResponse, error) {
	return call(ctx, c, req, controlplanev1connect.AgentServiceClient.AllocateProducerIds)
}

// Authenticate says whose key this is; see the proto.
func (c *Client) Authenticate(ctx context.Context, req *controlplanev1.AuthenticateRequest) (*controlplanev1.AuthenticateResponse, error) {
	return call(ctx, c, req, controlplanev1connect.AgentServiceClient.Authenticate)
}

// ClaimJob asks for work on the bucket; see the proto.
func (c *Client) ClaimJob(ctx context.Context, req *controlplanev1.ClaimJobRequest) (*controlplanev1.ClaimJobResponse, error) {
	return callJobs(ctx, c, req, controlplanev1connect.JobServiceClient.ClaimJob)
}

// FinishJob ends a job; see the proto.
func (c *Client) FinishJob(ctx context.Context, req *controlplanev1.FinishJobRequest) (*controlplanev1.FinishJobResponse, error) {
	return callJobs(ctx, c, req, controlplanev1connect.JobServiceClient.FinishJob)
}

// ConfirmDeleted says which objects are gone; see the proto.
func (c *Client) ConfirmDeleted(ctx context.Context, req *controlplanev1.ConfirmDeletedRequest) (*controlplanev1.ConfirmDeletedResponse, error) {
	return callJobs(ctx, c, req, controlplanev1connect.JobServiceClient.ConfirmDeleted)
}

// SweepKeys asks which of the keys that were found are dead; see the proto.
func (c *Client) SweepKeys(ctx context.Context, req *controlplanev1.SweepKeysRequest) (*controlplanev1.SweepKeysResponse, error) {
	return callJobs(ctx, c, req, controlplanev1connect.JobServiceClient.SweepKeys)
}

// CommitKeyCompaction puts what compaction by key has left in its place; see the proto.
func (c *Client) CommitKeyCompaction(ctx context.Context, req *controlplanev1.CommitKeyCompactionRequest) (*controlplanev1.CommitKeyCompactionResponse, error) {
	return callJobs(ctx, c, req, controlplanev1connect.JobServiceClient.CommitKeyCompaction)
}

// FinishKeyCompaction says how far a partition is clean; see the proto.
func (c *Client) FinishKeyCompaction(ctx context.Context, req *controlplanev1.FinishKeyCompactionRequest) (*controlplanev1.FinishKeyCompactionResponse, error) {
	return callJobs(ctx, c, req, controlplanev1connect.JobServiceClient.FinishKeyCompaction)
}

// ReadCheckpoint reads a page of what a checkpoint is made of; see the proto.
func (c *Client) ReadCheckpoint(ctx context.Context, req *controlplanev1.ReadCheckpointRequest) (*controlplanev1.ReadCheckpointResponse, error) {
	return callJobs(ctx, c, req, controlplanev1connect.JobServiceClient.ReadCheckpoint)
}

// AnnounceOutput says what a compaction is about to write; see the proto.
func (c *Client) AnnounceOutput(ctx context.Context, req *controlplanev1.AnnounceOutputRequest) (*controlplanev1.AnnounceOutputResponse, error) {
	return callJobs(ctx, c, req, controlplanev1connect.JobServiceClient.AnnounceOutput)
}

// CommitCompaction puts what was compacted in the place of what it was copied of; see the proto.
func (c *Client) CommitCompaction(ctx context.Context, req *controlplanev1.CommitCompactionRequest) (*controlplanev1.CommitCompactionResponse, error) {
	return callJobs(ctx, c, req, controlplanev1connect.JobServiceClient.CommitCompaction)
}
