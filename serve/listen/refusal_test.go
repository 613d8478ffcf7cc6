package listen_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/proto"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/listen"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// full is a refusal with every field set.
func full(reason refusalv1.Reason) *refusalv1.Refusal {
	return &refusalv1.Refusal{
		Reason: reason, Written: refusalv1.Written_WRITTEN_SURELY_NOT, Message: "go elsewhere: ünïcode, \"quotes\", 100%",
		Topic: "orders", Partition: proto.Int32(0), Entry: proto.Int32(3), Field: "partitions[0].batch",
		Leader: &refusalv1.Leader{AgentId: "a", Address: "http://10.0.3.7:8080", Zone: "eu-west-1a", Epoch: 7}, Epoch: 7,
		Offsets:  &refusalv1.Offsets{LogStartOffset: 1, HighWatermark: 1 << 40, NextOffset: 2},
		Sequence: &refusalv1.Sequence{ExpectedSequence: 1<<31 - 1, ProducerEpoch: 32767}, RetryAfterMs: 250,
	}
}

// TestEveryRefusalRoundTrips sends every reason over real HTTP in every protocol and reads it as a client does.
func TestEveryRefusalRoundTrips(t *testing.T) {
	t.Parallel()
	f := serve(t, topics{get: func(_ context.Context, r *controlplanev1.GetTopicRequest) (*controlplanev1.GetTopicResponse, error) {
		return nil, refusal.Error(full(refusalv1.Reason(refusalv1.Reason_value[r.GetName()])))
	}}, agents{}, nil)
	for protocol, options := range protocols {
		api := controlplanev1connect.NewTopicServiceClient(dial(t, f.URL(), f.keys.admin, options...))
		for number, name := range refusalv1.Reason_name {
			if number == 0 {
				continue
			}
			_, err := api.GetTopic(t.Context(), &controlplanev1.GetTopicRequest{Name: name})
			got, ok := refusal.FromError(err)
			if !ok || !proto.Equal(got, full(refusalv1.Reason(number))) {
				t.Errorf("%s %s: got %v from %v", protocol, name, got, err)
			}
			if code := connect.CodeOf(err); code != refusal.Code(refusalv1.Reason(number)) {
				t.Errorf("%s %s: code %v", protocol, name, code)
			}
		}
	}
}

func TestFaultsAreHidden(t *testing.T) {
	t.Parallel()
	const detail = "password=hunter2 at db.internal"
	faults := map[string]func() error{
		"plain":   func() error { return errors.New(detail) },
		"wrapped": func() error { return fmt.Errorf("commit: %w", errors.New(detail)) },
		"panic":   func() error { panic(detail) },
		"remote":  func() error { return connect.NewError(connect.CodeNotFound, detail).WithRemote() },
		"unknown": func() error { return connect.NewError(connect.CodeUnknown, detail) },
	}
	f := serve(t, topics{get: func(_ context.Context, r *controlplanev1.GetTopicRequest) (*controlplanev1.GetTopicResponse, error) {
		return nil, faults[r.GetName()]()
	}}, agents{}, nil)
	api := controlplanev1connect.NewTopicServiceClient(dial(t, f.URL(), f.keys.admin))
	for name := range faults {
		_, err := api.GetTopic(t.Context(), &controlplanev1.GetTopicRequest{Name: name})
		got, _ := refusal.FromError(err)
		if connect.CodeOf(err) != connect.CodeInternal || got.GetReason() != refusalv1.Reason_REASON_INTERNAL {
			t.Errorf("%s: got %v", name, err)
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(got.String(), "hunter2") {
			t.Errorf("%s: the caller sees %v", name, err)
		}
	}
	if n := strings.Count(f.log.String(), "call failed"); n != len(faults) || !strings.Contains(f.log.String(), "hunter2") {
		t.Errorf("the log must have each fault once, with its text; %d of %d in\n%s", n, len(faults), f.log.String())
	}
}

func TestP6_WhatIsRefusedAtTheDoorWasSurelyNotWritten(t *testing.T) {
	t.Parallel()
	f := serve(t, topics{create: func(context.Context, *controlplanev1.CreateTopicRequest) (*controlplanev1.CreateTopicResponse, error) {
		return nil, errors.New("after something was appended")
	}}, agents{}, func(o *listen.Options) {
		o.Writes = func(procedure string) bool {
			return procedure == controlplanev1connect.TopicServiceCreateTopicProcedure
		}
		o.Transport = []connecthttp.Option{connecthttp.WithReadMaxBytes(1 << 10)}
	})
	admin := controlplanev1connect.NewTopicServiceClient(dial(t, f.URL(), f.keys.admin))
	stranger := controlplanev1connect.NewTopicServiceClient(dial(t, f.URL(), f.keys.agent))
	good := &controlplanev1.CreateTopicRequest{Name: "a", PartitionCount: 1}
	for name, c := range map[string]struct {
		api     controlplanev1connect.TopicServiceClient
		request *controlplanev1.CreateTopicRequest
		reason  refusalv1.Reason
		written refusalv1.Written
	}{
		"role":    {stranger, good, refusalv1.Reason_REASON_MISSING_ROLE, refusalv1.Written_WRITTEN_SURELY_NOT},
		"invalid": {admin, &controlplanev1.CreateTopicRequest{Name: "a"}, refusalv1.Reason_REASON_INVALID, refusalv1.Written_WRITTEN_SURELY_NOT},
		"large": {
			admin, &controlplanev1.CreateTopicRequest{Name: strings.Repeat("a", 2<<10)},
			refusalv1.Reason_REASON_MESSAGE_TOO_LARGE, refusalv1.Written_WRITTEN_SURELY_NOT,
		},
		"fault": {admin, good, refusalv1.Reason_REASON_INTERNAL, refusalv1.Written_WRITTEN_POSSIBLY},
	} {
		_, err := c.api.CreateTopic(t.Context(), c.request)
		got, ok := refusal.FromError(err)
		if !ok || got.GetReason() != c.reason || got.GetWritten() != c.written {
			t.Errorf("%s: got %v from %v", name, got, err)
		}
	}
}

func TestInvalidFieldsAreNamed(t *testing.T) {
	t.Parallel()
	f := serve(t, topics{}, agents{}, nil)
	admin := controlplanev1connect.NewTopicServiceClient(dial(t, f.URL(), f.keys.admin))
	_, err := admin.CreateTopic(t.Context(), &controlplanev1.CreateTopicRequest{
		Name: "a", PartitionCount: 1, Config: &controlplanev1.TopicConfig{MaxRecordBytes: proto.Int32(-1)},
	})
	got, _ := refusal.FromError(err)
	if connect.CodeOf(err) != connect.CodeInvalidArgument || got.GetField() != "config.max_record_bytes" ||
		!strings.Contains(got.GetMessage(), "config.max_record_bytes") {
		t.Errorf("got %v, %v", got, err)
	}
	agent := controlplanev1connect.NewAgentServiceClient(dial(t, f.URL(), f.keys.agent))
	_, err = agent.Acquire(t.Context(), &controlplanev1.AcquireRequest{
		SessionId:  "5b0c4f5e-0a55-4a9c-8e4f-6f0b5b1d2c3a",
		Partitions: []*controlplanev1.AcquirePartition{{TopicId: make([]byte, 16)}, {TopicId: make([]byte, 15)}},
	})
	got, _ = refusal.FromError(err)
	if got.GetField() != "partitions[1].topic_id" {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestMalformedRequests sends bytes that no client of ours sends.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	f := serve(t, topics{get: func(context.Context, *controlplanev1.GetTopicRequest) (*controlplanev1.GetTopicResponse, error) {
		return &controlplanev1.GetTopicResponse{}, nil
	}}, agents{}, nil)
	post := func(path, contentType, content string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.URL()+path, strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", contentType)
		request.Header.Set("Authorization", "Bearer "+f.keys.admin.Reveal())
		status, _, content := do(t, client(t, false), request)
		return status, content
	}
	const get = "/streamhouse.controlplane.v1.TopicService/GetTopic"
	for name, c := range map[string]struct {
		path, contentType, content string
		status                     int
		says                       string
	}{
		"fine":            {get, "application/json", `{"name":"a"}`, 200, "{}"},
		"cut json":        {get, "application/json", `{"name":`, 400, `"code":"invalid_argument"`},
		"no json":         {get, "application/json", `name=a`, 400, `"code":"invalid_argument"`},
		"unknown field":   {get, "application/json", `{"name":"a","colour":1}`, 200, "{}"}, // a newer client may send it
		"wrong type":      {get, "application/json", `{"name":7}`, 400, `"code":"invalid_argument"`},
		"bad name":        {get, "application/json", `{"name":"a/b"}`, 400, `"field":"name"`},
		"control char":    {get, "application/json", `{"name":"a\u0007"}`, 400, `"field":"name"`},
		"broken protobuf": {get, "application/proto", "\xff\xff\xff", 400, `"code":"invalid_argument"`},
		"other type":      {get, "text/plain", "a", 415, ""},
		"unknown method":  {"/streamhouse.controlplane.v1.TopicService/Nothing", "application/json", "{}", 501, "unimplemented"},
		"unknown service": {"/nothing.Nothing/Nothing", "application/json", "{}", 404, ""},
		"too large":       {get, "application/json", `{"name":"` + strings.Repeat("a", 5<<20) + `"}`, 429, "REASON_MESSAGE_TOO_LARGE"},
	} {
		status, content := post(c.path, c.contentType, c.content)
		if status != c.status || !strings.Contains(content, c.says) {
			t.Errorf("%s: got %d %s", name, status, content)
		}
	}
}

func TestDeadlineAndCancel(t *testing.T) {
	t.Parallel()
	f := serve(t, topics{get: func(ctx context.Context, _ *controlplanev1.GetTopicRequest) (*controlplanev1.GetTopicResponse, error) {
		<-ctx.Done()
		return nil, fmt.Errorf("query: %w", ctx.Err())
	}}, agents{}, nil)
	for protocol, options := range protocols {
		api := controlplanev1connect.NewTopicServiceClient(dial(t, f.URL(), f.keys.admin, options...))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := api.GetTopic(ctx, &controlplanev1.GetTopicRequest{Name: "a"})
		cancel()
		if connect.CodeOf(err) != connect.CodeDeadlineExceeded {
			t.Errorf("%s: got %v", protocol, err)
		}
	}
	if strings.Contains(f.log.String(), "call failed") {
		t.Errorf("a caller who goes away is no fault:\n%s", f.log.String())
	}
}

// TestBrokenFramesAreTheCallersFault sends frames that end early or are not what they say: invalid input, and nothing for the log of faults.
func TestBrokenFramesAreTheCallersFault(t *testing.T) {
	t.Parallel()
	f := serve(t, topics{}, agents{}, nil)
	for name, frame := range map[string]string{
		"half a header": "\x00\x00", "cut": "\x00\x00\x00\x00\x64short", "compressed, it says": "\x01\x00\x00\x00\x05short",
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.URL()+"/streamhouse.controlplane.v1.TopicService/GetTopic", strings.NewReader(frame))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/grpc-web+proto")
		request.Header.Set("Authorization", "Bearer "+f.keys.admin.Reveal())
		_, header, content := do(t, client(t, false), request)
		if header.Get("Grpc-Status") != "3" { // InvalidArgument
			t.Errorf("%s: got %v %q", name, header, content)
		}
	}
	if strings.Contains(f.log.String(), "call failed") {
		t.Errorf("the log calls it a fault:\n%s", f.log.String())
	}
}
