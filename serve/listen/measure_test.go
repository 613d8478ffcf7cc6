package listen_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	"github.com/streamhouse/streamhouse/serve/listen"
	"github.com/streamhouse/streamhouse/serve/secret"
	"github.com/streamhouse/streamhouse/serve/telemetry"
)

func TestCallsAreMeasuredByMethodAndCode(t *testing.T) {
	t.Parallel()
	provider, err := telemetry.New(telemetry.DefaultConfig(), telemetry.Identity{Service: "test"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = provider.Close(t.Context()) })
	f := serve(t, topics{}, agents{}, func(o *listen.Options) { o.Routes, o.Meter = provider.Mount, provider.Meter() })
	caller := controlplanev1connect.NewTopicServiceClient(dial(t, f.URL(), secret.Secret{}))
	if _, err := caller.GetTopic(t.Context(), &controlplanev1.GetTopicRequest{Name: "orders"}); err == nil {
		t.Fatal("answered without a key")
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL()+"/metrics", nil) // no key
	if err != nil {
		t.Fatal(err)
	}
	_, _, text := do(t, client(t, false), request)
	want := `streamhouse_rpc_duration_seconds_count{code="unauthenticated",method="streamhouse.controlplane.v1.TopicService/GetTopic"} 1`
	if !strings.Contains(text, want) {
		t.Errorf("no %s in\n%s", want, text)
	}
}

// TestReadinessIsMeasuredByCheck: an alert can tell what a process waits for, without asking it.
func TestReadinessIsMeasuredByCheck(t *testing.T) {
	t.Parallel()
	provider, err := telemetry.New(telemetry.DefaultConfig(), telemetry.Identity{Service: "test"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = provider.Close(t.Context()) })
	f := serve(t, topics{}, agents{}, func(o *listen.Options) {
		o.Routes, o.Meter = provider.Mount, provider.Meter()
		o.Ready = map[string]listen.Check{
			"catalog": func(context.Context) error { return errors.New("host db.example refuses") }, "session": func(context.Context) error { return nil },
		}
	})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, text := do(t, client(t, false), request)
	for _, want := range []string{`streamhouse_ready_ratio{check="catalog"} 0`, `streamhouse_ready_ratio{check="session"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
