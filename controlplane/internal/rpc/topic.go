package rpc

import (
	"context"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
)

// topics is the TopicService. Only admins change topics; a client sees those of its agent group (P7).
type topics struct{ Services }

var _ controlplanev1connect.TopicServiceHandler = topics{}

func (s topics) CreateTopic(ctx context.Context, request *controlplanev1.CreateTopicRequest) (*controlplanev1.CreateTopicResponse, error) {
	return transact(ctx, writes, func(ctx context.Context) (*controlplanev1.CreateTopicResponse, error) {
		return s.Store.CreateTopic(ctx, request)
	})
}

func (s topics) GetTopic(ctx context.Context, request *controlplanev1.GetTopicRequest) (*controlplanev1.GetTopicResponse, error) {
	return forCaller(ctx, request, s.Store.GetTopic)
}

func (s topics) ListTopics(ctx context.Context, request *controlplanev1.ListTopicsRequest) (*controlplanev1.ListTopicsResponse, error) {
	return forCaller(ctx, request, s.Store.ListTopics)
}

func (s topics) UpdateTopic(ctx context.Context, request *controlplanev1.UpdateTopicRequest) (*controlplanev1.UpdateTopicResponse, error) {
	return transact(ctx, writes, func(ctx context.Context) (*controlplanev1.UpdateTopicResponse, error) {
		return s.Store.UpdateTopic(ctx, request)
	})
}

func (s topics) DeleteRecords(ctx context.Context, request *controlplanev1.DeleteRecordsRequest) (*controlplanev1.DeleteRecordsResponse, error) {
	return transact(ctx, writes, func(ctx context.Context) (*controlplanev1.DeleteRecordsResponse, error) {
		return s.Store.DeleteRecords(ctx, request)
	})
}

func (s topics) DeleteTopic(ctx context.Context, request *controlplanev1.DeleteTopicRequest) (*controlplanev1.DeleteTopicResponse, error) {
	return transact(ctx, writes, func(ctx context.Context) (*controlplanev1.DeleteTopicResponse, error) {
		return s.Store.DeleteTopic(ctx, request)
	})
}
