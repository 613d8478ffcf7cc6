package recovery

import (
	"context"
	"errors"
	"fmt"
	"io"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
)

const (
	shards = 256
	// batchObjects and batchSegments bound what is told to the control plane at a time.
	batchObjects  = 1000
	batchSegments = 20_000
	// checkBytes bounds what an agent is asked to read at a time.
	checkBytes = 64 << 20
)

// objects streams the objects of a shard, each message to take, which is not called again before it has returned. Where the stream breaks it is
// begun again behind what was taken.
func (c *Cluster) objects(ctx context.Context, group string, shard int32, footers bool, take func([]*controlplanev1.StoredObject) error) error {
	after := ""
	var taking error // of take: not to be tried again
	_, err := askAgent(ctx, c, group, func(ctx context.Context, agent dataplanev1connect.BucketServiceClient) (struct{}, error) {
		stream, err := agent.Inventory(ctx, &dataplanev1.InventoryRequest{Shard: shard, After: after, Footers: footers})
		if err != nil {
			return struct{}{}, err
		}
		defer func() { _ = stream.Close() }()
		return struct{}{}, drain(stream.Receive, func(response *dataplanev1.InventoryResponse) error {
			if taking = take(response.GetObjects()); taking != nil {
				return errTaking
			}
			if n := len(response.GetObjects()); n > 0 {
				after = response.GetObjects()[n-1].GetKey()
			}
			return nil
		})
	})
	if errors.Is(err, errTaking) {
		return taking
	}
	if err != nil {
		return fmt.Errorf("inventory of agent group %s, shard %02x: %w", group, shard, err)
	}
	return nil
}

// errTaking ends a stream whose messages are not wanted any more. It is not tried again.
var errTaking = errors.New("taking ended")

// drain receives until the stream ends.
func drain[T any](receive func() (*T, error), take func(*T) error) error {
	for {
		message, err := receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := take(message); err != nil {
			return err
		}
	}
}

// footers describes objects by their keys.
func (c *Cluster) footers(ctx context.Context, group string, keys []string) (objects []*controlplanev1.StoredObject, err error) {
	return askAgent(ctx, c, group, func(ctx context.Context, agent dataplanev1connect.BucketServiceClient) ([]*controlplanev1.StoredObject, error) {
		var objects []*controlplanev1.StoredObject
		stream, err := agent.ReadFooters(ctx, &dataplanev1.ReadFootersRequest{Keys: keys})
		if err != nil {
			return nil, err
		}
		defer func() { _ = stream.Close() }()
		return objects, drain(stream.Receive, func(response *dataplanev1.ReadFootersResponse) error {
			objects = append(objects, response.GetObjects()...)
			return nil
		})
	})
}

// topics are the pages of an agent group's topics: at most some thousand partitions each.
func (c *Cluster) topics(ctx context.Context, group string, take func(*dataplanev1.ReadTopicsResponse) error) error {
	var taking error
	_, err := askAgent(ctx, c, group, func(ctx context.Context, agent dataplanev1connect.BucketServiceClient) (struct{}, error) {
		stream, err := agent.ReadTopics(ctx, &dataplanev1.ReadTopicsRequest{})
		if err != nil {
			return struct{}{}, err
		}
		defer func() { _ = stream.Close() }()
		return struct{}{}, drain(stream.Receive, func(response *dataplanev1.ReadTopicsResponse) error {
			if taking = take(response); taking != nil {
				return errTaking
			}
			return nil
		})
	})
	if errors.Is(err, errTaking) {
		return taking
	}
	if err != nil {
		return fmt.Errorf("topics of agent group %s: %w", group, err)
	}
	return nil
}

// check has segments of one agent group read, some at a time, and answers in their order.
func (c *Cluster) check(ctx context.Context, group string, ranges []*dataplanev1.SegmentRange) (checked []*dataplanev1.CheckedSegment, err error) {
	for len(ranges) > 0 {
		n, bytes := 0, int64(0)
		for n < len(ranges) && n < batchObjects && (n == 0 || bytes+int64(ranges[n].GetSizeBytes()) <= checkBytes) {
			bytes += int64(ranges[n].GetSizeBytes())
			n++
		}
		request := &dataplanev1.CheckSegmentsRequest{Segments: ranges[:n]}
		response, err := askAgent(ctx, c, group, func(ctx context.Context, agent dataplanev1connect.BucketServiceClient) (*dataplanev1.CheckSegmentsResponse, error) {
			return agent.CheckSegments(ctx, request)
		})
		if err != nil {
			return nil, fmt.Errorf("read segments of agent group %s: %w", group, err)
		}
		if len(response.GetSegments()) != n {
			return nil, fmt.Errorf("read segments of agent group %s: %d answers to %d questions", group, len(response.GetSegments()), n)
		}
		checked, ranges = append(checked, response.GetSegments()...), ranges[n:]
	}
	return checked, nil
}

// inBatches gives objects on in batches that a message can hold.
func inBatches(objects []*controlplanev1.StoredObject, give func([]*controlplanev1.StoredObject) error) error {
	first, segments := 0, 0
	for i, o := range objects {
		segments += len(o.GetSegments())
		if i > first && (i-first == batchObjects || segments > batchSegments) {
			if err := give(objects[first:i]); err != nil {
				return err
			}
			first, segments = i, len(o.GetSegments())
		}
	}
	if first == len(objects) {
		return nil
	}
	return give(objects[first:])
}

func (c *Cluster) audit(ctx context.Context, objects []*controlplanev1.StoredObject) ([]*controlplanev1.AuditedObject, error) {
	response, err := ask(ctx, c, func(ctx context.Context, s controlplanev1connect.RecoveryServiceClient) (*controlplanev1.AuditObjectsResponse, error) {
		return s.AuditObjects(ctx, &controlplanev1.AuditObjectsRequest{Objects: objects})
	})
	if err == nil && len(response.GetObjects()) != len(objects) {
		err = fmt.Errorf("%d answers to %d questions", len(response.GetObjects()), len(objects))
	}
	if err != nil {
		return nil, fmt.Errorf("compare objects: %w", err)
	}
	return response.GetObjects(), nil
}
