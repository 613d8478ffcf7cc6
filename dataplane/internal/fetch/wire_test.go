package fetch

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore/s3test"
	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/refusal"
	"github.com/streamhouse/streamhouse/serve/secret"
)

// readers is the reading half of a RecordService.
type readers struct {
	dataplanev1connect.UnimplementedRecordServiceHandler
	*Service
}

func (h readers) Fetch(ctx context.Context, req *dataplanev1.FetchRequest) (*dataplanev1.FetchResponse, error) {
	return h.Service.Fetch(ctx, req)
}

func (h readers) Consume(ctx context.Context, req *dataplanev1.ConsumeRequest, stream dataplanev1connect.RecordServiceConsumeServerStream) error {
	return h.Service.Consume(ctx, req, stream)
}

func (h readers) ListOffsets(ctx context.Context, req *dataplanev1.ListOffsetsRequest) (*dataplanev1.ListOffsetsResponse, error) {
	return h.Service.ListOffsets(ctx, req)
}

// client calls the agent as a client of its group does, without a network.
func (r *rig) client() dataplanev1connect.RecordServiceClient {
	asClient := func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			return next(access.With(ctx, access.Principal{Role: accessv1.Role_ROLE_CLIENT, AgentGroup: "group"}), spec, stream)
		}
	}
	server := connect.NewServer(refusal.Interceptor(slog.New(slog.DiscardHandler), nil), asClient)
	dataplanev1connect.RegisterRecordServiceHandler(server, readers{Service: r.Service})
	return dataplanev1connect.NewRecordServiceClient(connect.NewClient(connectinprocess.New(server)))
}

func TestRefusalsReachTheClient(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		r.write([][]rec{plain(3)}, 0)
		_, err := r.client().Fetch(t.Context(), request(0, 9))
		got, ok := refusal.FromError(err)
		if !ok || got.GetReason() != refusalv1.Reason_REASON_OUT_OF_RANGE || got.GetOffsets().GetHighWatermark() != 3 || connect.CodeOf(err) != connect.CodeOutOfRange {
			t.Errorf("error %v with %v", err, got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req := request(0, 3)
		req.MaxWaitMs = 60_000
		if _, err := r.client().Fetch(ctx, req); connect.CodeOf(err) != connect.CodeDeadlineExceeded {
			t.Errorf("error %v after the caller's deadline", err)
		}
	})
}

func TestStreamIsReadAndEndsTyped(t *testing.T) {
	inBubble(t, 1, Config{}, func(t *testing.T, r *rig) {
		r.write([][]rec{plain(3)}, 0)
		req := from(0, offsetAt(0))
		req.Topic = &dataplanev1.ConsumeRequest_TopicName{TopicName: topicName}
		stream, err := r.client().Consume(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		go func() { time.Sleep(time.Minute); r.Stop() }()
		var got []int64
		for {
			var res *dataplanev1.ConsumeResponse
			if res, err = stream.Receive(); err != nil {
				break
			}
			got = append(got, offsets(t, res.GetFetched().GetBatches())...)
		}
		wantOffsets(t, got, 0, 3)
		if reason, ok := refusal.FromError(err); errors.Is(err, io.EOF) || !ok || reason.GetReason() != refusalv1.Reason_REASON_NO_LEADER || connect.CodeOf(err) != connect.CodeUnavailable {
			t.Errorf("the stream ended with %v", err)
		}
		if err := stream.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestReadsFromS3(t *testing.T) {
	server := s3test.Start(t)
	store, err := objectstore.NewS3(t.Context(), objectstore.Config{
		Endpoint: server.Endpoint, Bucket: server.Bucket, Region: server.Region, PathStyle: true,
		AccessKey: server.AccessKey, SecretKey: secret.New(server.SecretKey), Attempts: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	withAgent(t, 3, Config{}, store, func(t *testing.T, r *rig) {
		var keys []string
		for range 20 {
			keys = append(keys, r.write([][]rec{plain(7), plain(2)}, 0, 1, 2)[0].ObjectKey)
		}
		req := from(0, offsetAt(0))
		req.Partitions = append(req.Partitions, from(1, offsetAt(50)).GetPartitions()...)
		c := r.consumer(req)
		for deadline := time.Now().Add(20 * time.Second); c.at(0) < 180 || c.at(1) < 180; {
			if time.Now().After(deadline) {
				t.Fatalf("read up to %d and %d, want 180", c.at(0), c.at(1))
			}
			time.Sleep(5 * time.Millisecond)
		}
		c.hangUp()
		wantOffsets(t, offsets(t, r.fetch(request(2, 0)).GetBatches()), 0, 180)

		last := r.write([][]rec{plain(2)}, 0)[0]
		if err := store.Delete(t.Context(), append(keys, last.ObjectKey)); err != nil {
			t.Fatal(err)
		}
		_, err := r.Fetch(r.ctx, request(0, 180)) // lost for good
		wantRefusal(t, err, refusalv1.Reason_REASON_INTERNAL)
		r.write([][]rec{plain(2)}, 1)
		server.Kill(t)
		_, err = r.Fetch(r.ctx, request(1, 180))
		wantRefusal(t, err, refusalv1.Reason_REASON_BUCKET_UNAVAILABLE)
		wantOffsets(t, offsets(t, r.fetch(request(2, 0)).GetBatches()), 0, 180) // from the cache
	})
}
