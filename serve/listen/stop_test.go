package listen_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/listen"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// lasting is a stream that lasts until its context ends.
func lasting(ctx context.Context, stream controlplanev1connect.AgentServiceWatchServerStream) error {
	if err := stream.Send(&controlplanev1.WatchResponse{}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func TestStopEndsStreamsAndWaitsForCalls(t *testing.T) {
	t.Parallel()
	for protocol, options := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			entered := make(chan struct{})
			f := serve(t, topics{get: func(ctx context.Context, _ *controlplanev1.GetTopicRequest) (*controlplanev1.GetTopicResponse, error) {
				close(entered)
				<-listen.Stopping(ctx) // a long poll
				return &controlplanev1.GetTopicResponse{Topic: &controlplanev1.Topic{Name: "late"}}, ctx.Err()
			}}, agents{watch: lasting}, nil)
			watch, err := controlplanev1connect.NewAgentServiceClient(dial(t, f.URL(), f.keys.agent, options...)).
				Watch(t.Context(), &controlplanev1.WatchRequest{SessionId: "5b0c4f5e-0a55-4a9c-8e4f-6f0b5b1d2c3a"})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = watch.Close() }()
			if _, err := watch.Receive(); err != nil {
				t.Fatal(err)
			}
			type answer struct {
				response *controlplanev1.GetTopicResponse
				err      error
			}
			answered := make(chan answer, 1)
			api := controlplanev1connect.NewTopicServiceClient(dial(t, f.URL(), f.keys.admin, options...))
			go func() {
				response, err := api.GetTopic(context.WithoutCancel(t.Context()), &controlplanev1.GetTopicRequest{Name: "a"})
				answered <- answer{response, err}
			}()
			<-entered
			f.stop()
			if _, err := watch.Receive(); !refusal.Is(err, refusalv1.Reason_REASON_NO_LEADER) || connect.CodeOf(err) != connect.CodeUnavailable {
				t.Errorf("the stream ended with %v", err)
			}
			if got := <-answered; got.err != nil || got.response.GetTopic().GetName() != "late" {
				t.Errorf("the call in flight got %v, %v", got.response, got.err)
			}
			if err := <-f.ended; err != nil {
				t.Errorf("Run: %v", err)
			}
			f.ended <- nil // for the cleanup
		})
	}
}

func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	f := serve(t, topics{get: func(context.Context, *controlplanev1.GetTopicRequest) (*controlplanev1.GetTopicResponse, error) {
		close(entered)
		<-release // deaf to its context
		return &controlplanev1.GetTopicResponse{}, nil
	}}, agents{}, func(o *listen.Options) { o.Config.StopTimeout = 100 * time.Millisecond })
	defer close(release)
	failed := make(chan error, 1)
	api := controlplanev1connect.NewTopicServiceClient(dial(t, f.URL(), f.keys.admin))
	go func() {
		_, err := api.GetTopic(context.WithoutCancel(t.Context()), &controlplanev1.GetTopicRequest{Name: "a"})
		failed <- err
	}()
	<-entered
	began := time.Now()
	f.stop()
	if err := <-f.ended; !errors.Is(err, listen.ErrCut) || time.Since(began) > 10*time.Second {
		t.Errorf("got %v after %v", err, time.Since(began))
	}
	f.ended <- nil
	if err := <-failed; err == nil {
		t.Error("the call was cut, and yet it was answered")
	} else if _, verdict := refusal.FromError(err); verdict {
		t.Errorf("a cut call is no verdict: %v", err)
	}
}

// TestCallsBeyondTheLimitAreRefused fills the limit with calls of one method, and knocks with another, and with a stream.
func TestCallsBeyondTheLimitAreRefused(t *testing.T) {
	t.Parallel()
	const most = 3
	entered, release := make(chan struct{}), make(chan struct{})
	f := serve(t, topics{
		get: func(context.Context, *controlplanev1.GetTopicRequest) (*controlplanev1.GetTopicResponse, error) {
			entered <- struct{}{}
			<-release
			return &controlplanev1.GetTopicResponse{}, nil
		},
		create: func(context.Context, *controlplanev1.CreateTopicRequest) (*controlplanev1.CreateTopicResponse, error) {
			return &controlplanev1.CreateTopicResponse{}, nil
		},
	}, agents{watch: lasting}, func(o *listen.Options) { o.MaxCalls = most })
	api := controlplanev1connect.NewTopicServiceClient(dial(t, f.URL(), f.keys.admin))
	answers := make(chan error, most)
	for range most {
		go func() {
			_, err := api.GetTopic(context.WithoutCancel(t.Context()), &controlplanev1.GetTopicRequest{Name: "a"})
			answers <- err
		}()
		<-entered
	}
	create := func() error {
		_, err := api.CreateTopic(t.Context(), &controlplanev1.CreateTopicRequest{Name: "a", PartitionCount: 1})
		return err
	}
	got, _ := refusal.FromError(create())
	if got.GetReason() != refusalv1.Reason_REASON_OVERLOADED || got.GetRetryAfterMs() == 0 {
		t.Errorf("got %v", got)
	}
	watch, err := controlplanev1connect.NewAgentServiceClient(dial(t, f.URL(), f.keys.agent)).
		Watch(t.Context(), &controlplanev1.WatchRequest{SessionId: "5b0c4f5e-0a55-4a9c-8e4f-6f0b5b1d2c3a"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = watch.Close() }()
	if _, err := watch.Receive(); err != nil {
		t.Errorf("streams are not counted: %v", err)
	}
	close(release)
	for range most {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	waitFor(t, func() bool { return create() == nil })
}

func TestAStreamThatEndsByItselfKeepsItsOwnError(t *testing.T) {
	t.Parallel()
	for want, end := range map[string]error{"": nil, "topic": refusal.UnknownTopic("topic")} {
		f := serve(t, topics{}, agents{watch: func(context.Context, controlplanev1connect.AgentServiceWatchServerStream) error { return end }}, nil)
		watch, err := controlplanev1connect.NewAgentServiceClient(dial(t, f.URL(), f.keys.agent)).
			Watch(t.Context(), &controlplanev1.WatchRequest{SessionId: "5b0c4f5e-0a55-4a9c-8e4f-6f0b5b1d2c3a"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = watch.Receive()
		_ = watch.Close()
		if got, _ := refusal.FromError(err); got.GetTopic() != want || (end == nil) != errors.Is(err, io.EOF) {
			t.Errorf("got %v", err)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	t.Parallel()
	good := listen.Config{Listen: ":0", StopTimeout: time.Second}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*listen.Config){
		"no port":     func(c *listen.Config) { c.Listen = "localhost" },
		"key alone":   func(c *listen.Config) { c.TLSKey = "a" },
		"cert alone":  func(c *listen.Config) { c.TLSCert = "a" },
		"no timeout":  func(c *listen.Config) { c.StopTimeout = 0 },
		"bad origin":  func(c *listen.Config) { c.CORSOrigins = []string{"console.example.com"} },
		"origin path": func(c *listen.Config) { c.CORSOrigins = []string{"https://a/b"} },
	} {
		config := good
		change(&config)
		if err := config.Validate(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for address, valid := range map[string]bool{
		"http://10.0.0.1:8080": true, "https://a.example.com": true, "http://[::1]:80/": true,
		"10.0.0.1:8080": false, "ftp://a": false, "http://": false, "http://a/b": false, "http://u:p@a": false, "http://:80": false, "": false,
	} {
		if err := listen.ValidBaseURL(address); (err == nil) != valid {
			t.Errorf("%q: got %v", address, err)
		}
	}
}
