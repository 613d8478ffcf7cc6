package inventory

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
)

const (
	// together is how many footers a call reads at a time.
	together = 32
	// messageSegments bounds a message: an object with more is alone in its own.
	messageSegments = 20_000
)

// Inventory lists a shard page by page, and reads the footers of some objects at a time.
func (s *Service) Inventory(
	ctx context.Context, request *dataplanev1.InventoryRequest, stream dataplanev1connect.BucketServiceInventoryServerStream,
) error {
	done, err := s.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	prefix := fmt.Sprintf("%s%02x/", object.GroupPrefix(s.agentGroup), request.GetShard())
	for after := request.GetAfter(); ; {
		page, err := s.store.List(ctx, prefix, after, objectstore.MaxListLimit)
		if err != nil {
			return unavailable(ctx, err)
		}
		found := objectsOf(page.Objects)
		if err := s.inspect(ctx, found, request.GetFooters(), func(objects []*controlplanev1.StoredObject) error {
			return stream.Send(&dataplanev1.InventoryResponse{Objects: objects})
		}); err != nil {
			return err
		}
		if !page.More || len(page.Objects) == 0 {
			return nil
		}
		after = page.Objects[len(page.Objects)-1].Key
	}
}

// objectsOf leaves out what is no object of the log.
func objectsOf(infos []objectstore.Info) (objects []*controlplanev1.StoredObject) {
	for _, info := range infos {
		if _, err := object.ParseKey(info.Key); err == nil {
			objects = append(objects, stored(info))
		}
	}
	return objects
}

func stored(info objectstore.Info) *controlplanev1.StoredObject {
	return &controlplanev1.StoredObject{Key: info.Key, SizeBytes: info.SizeBytes, ModifiedAt: timestamppb.New(info.ModifiedAt)}
}

// ReadFooters describes the objects under some keys.
func (s *Service) ReadFooters(
	ctx context.Context, request *dataplanev1.ReadFootersRequest, stream dataplanev1connect.BucketServiceReadFootersServerStream,
) error {
	if err := s.mine(request.GetKeys()...); err != nil {
		return err
	}
	done, err := s.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	objects := make([]*controlplanev1.StoredObject, len(request.GetKeys()))
	err = inParallel(ctx, len(objects), func(ctx context.Context, i int) error {
		info, err := s.store.Head(ctx, request.GetKeys()[i])
		if err == nil {
			objects[i] = stored(info)
		}
		return unlessGone(err)
	})
	if err != nil {
		return unavailable(ctx, err)
	}
	return s.inspect(ctx, present(objects), true, func(objects []*controlplanev1.StoredObject) error {
		return stream.Send(&dataplanev1.ReadFootersResponse{Objects: objects})
	})
}

func unlessGone(err error) error {
	if errors.Is(err, objectstore.ErrNotFound) {
		return nil
	}
	return err
}

func present(objects []*controlplanev1.StoredObject) (there []*controlplanev1.StoredObject) {
	for _, o := range objects {
		if o != nil {
			there = append(there, o)
		}
	}
	return there
}

// inParallel does n things, some at a time.
func inParallel(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(together)
	for i := range n {
		g.Go(func() error { return do(ctx, i) })
	}
	return g.Wait()
}

// inspect sends the objects, with their footers if they are wanted, in order.
func (s *Service) inspect(ctx context.Context, objects []*controlplanev1.StoredObject, footers bool, send func([]*controlplanev1.StoredObject) error) error {
	if !footers {
		return send(objects)
	}
	for len(objects) > 0 {
		some := objects[:min(together, len(objects))]
		objects = objects[len(some):]
		if err := inParallel(ctx, len(some), func(ctx context.Context, i int) error {
			gone, err := s.readFooter(ctx, some[i])
			if gone {
				some[i] = nil
			}
			return err
		}); err != nil {
			return unavailable(ctx, err)
		}
		if err := sendInPieces(present(some), send); err != nil {
			return err
		}
	}
	return nil
}

func sendInPieces(objects []*controlplanev1.StoredObject, send func([]*controlplanev1.StoredObject) error) error {
	first, segments := 0, 0
	for i, o := range objects {
		if segments += len(o.GetSegments()); segments > messageSegments && i > first {
			if err := send(objects[first:i]); err != nil {
				return err
			}
			first, segments = i, len(o.GetSegments())
		}
	}
	return send(objects[first:])
}

// readFooter fills in what the footer says, or why it says nothing. An error: the bucket does not answer.
func (s *Service) readFooter(ctx context.Context, o *controlplanev1.StoredObject) (gone bool, err error) {
	footer, err := object.ReadFooter(ctx, s.store, o.GetKey())
	_, unknownVersion := errors.AsType[*object.VersionError](err)
	switch {
	case errors.Is(err, objectstore.ErrNotFound):
		return true, nil
	case unknownVersion, errors.Is(err, object.ErrCorrupt):
		o.Fault = err.Error()
		return false, nil
	case err != nil:
		return false, err
	}
	o.Segments = make([]*controlplanev1.StoredSegment, len(footer.Segments))
	for i, f := range footer.Segments {
		o.Segments[i] = &controlplanev1.StoredSegment{
			TopicId: f.TopicID[:], Partition: f.Partition, Epoch: f.Epoch, BaseOffset: f.BaseOffset, RecordCount: f.RecordCount,
			BytePosition: f.BytePosition, SizeBytes: f.SizeBytes, Crc32C: f.CRC32C, MaxTimestampMs: f.MaxTimestampMs, TenureFirstOffset: f.TenureFirstOffset,
		}
	}
	return false, nil
}
