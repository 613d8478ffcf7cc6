package rpc

import (
	"context"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
)

// jobs is the JobService: each call is bounded by the agent group of the agent's key (P7).
type jobs struct{ Services }

var _ controlplanev1connect.JobServiceHandler = jobs{}

func (s jobs) ClaimJob(ctx context.Context, request *controlplanev1.ClaimJobRequest) (*controlplanev1.ClaimJobResponse, error) {
	return forAgent(ctx, writes, request, s.Store.ClaimJob)
}

func (s jobs) FinishJob(ctx context.Context, request *controlplanev1.FinishJobRequest) (*controlplanev1.FinishJobResponse, error) {
	return forAgent(ctx, writes, request, s.Store.FinishJob)
}

func (s jobs) ConfirmDeleted(ctx context.Context, request *controlplanev1.ConfirmDeletedRequest) (*controlplanev1.ConfirmDeletedResponse, error) {
	return forAgent(ctx, writes, request, s.Store.ConfirmDeleted)
}

func (s jobs) SweepKeys(ctx context.Context, request *controlplanev1.SweepKeysRequest) (*controlplanev1.SweepKeysResponse, error) {
	return forAgent(ctx, writes, request, s.Store.SweepKeys)
}

func (s jobs) CommitKeyCompaction(
	ctx context.Context, request *controlplanev1.CommitKeyCompactionRequest,
) (*controlplanev1.CommitKeyCompactionResponse, error) {
	return forAgent(ctx, writes, request, s.Store.CommitKeyCompaction)
}

func (s jobs) FinishKeyCompaction(
	ctx context.Context, request *controlplanev1.FinishKeyCompactionRequest,
) (*controlplanev1.FinishKeyCompactionResponse, error) {
	return forAgent(ctx, writes, request, s.Store.FinishKeyCompaction)
}

func (s jobs) ReadCheckpoint(ctx context.Context, request *controlplanev1.ReadCheckpointRequest) (*controlplanev1.ReadCheckpointResponse, error) {
	return forAgent(ctx, reads, request, s.Store.ReadCheckpoint)
}

func (s jobs) AnnounceOutput(ctx context.Context, request *controlplanev1.AnnounceOutputRequest) (*controlplanev1.AnnounceOutputResponse, error) {
	return forAgent(ctx, writes, request, s.Store.AnnounceOutput)
}

func (s jobs) CommitCompaction(ctx context.Context, request *controlplanev1.CommitCompactionRequest) (*controlplanev1.CommitCompactionResponse, error) {
	return forAgent(ctx, writes, request, s.Store.CommitCompaction)
}
