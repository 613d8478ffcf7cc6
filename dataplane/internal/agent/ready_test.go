package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectinprocess"

	"github.com/streamhouse/streamhouse/dataplane/internal/agent"
	"github.com/streamhouse/streamhouse/dataplane/internal/catalog"
	"github.com/streamhouse/streamhouse/dataplane/internal/controltest"
	"github.com/streamhouse/streamhouse/dataplane/internal/flush"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/session"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
)

// gone is a bucket that is out of reach until it is there.
type gone struct {
	objectstore.Memory

	there chan struct{}
}

func (g *gone) Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error {
	select {
	case <-g.there:
		return g.Memory.Put(ctx, key, body, crc32c)
	default:
		return &objectstore.OpError{Op: "put", Key: key, Err: objectstore.ErrUnavailable}
	}
}

// An agent that is not ready says what it waits for: the bucket, then the control plane, then nothing.
func TestReadinessNamesWhatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plane := connect.NewServer(func(next connect.ServerFunc) connect.ServerFunc {
			began := time.Now()
			return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
				if time.Since(began) < time.Minute {
					return connect.NewError(connect.CodeUnavailable, "not yet")
				}
				return next(ctx, spec, stream)
			}
		})
		control := controltest.New()
		controlplanev1connect.RegisterAgentServiceHandler(plane, control)
		bucket := &gone{there: make(chan struct{})}
		a, err := agent.New(agent.Config{
			Session:        session.Config{AgentID: "a", AgentGroup: "default", Zone: "z", Address: func() string { return "http://a" }},
			MaxObjectBytes: 1 << 20, MaxBufferedBytes: 1 << 20, MaxRequestBytes: 1 << 20, ProduceTimeout: time.Second,
			Flush: flush.Config{MaxUploads: 1, PutsPerSecond: 1, PutBurst: 1}, DrainDeadline: time.Second,
		}, agent.Deps{Replicas: []catalog.Replica{{Calls: connectinprocess.New(plane)}}, Store: bucket, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		go func() { control.Run(ctx); ended <- nil }()
		go func() { ended <- a.Run(ctx, ctx.Done()) }()
		time.Sleep(10 * time.Second)
		expectMissing(t, a, "bucket", "session")
		close(bucket.there)
		time.Sleep(10 * time.Second)
		expectMissing(t, a, "control_plane", "session")
		time.Sleep(time.Minute)
		expectMissing(t, a)
		cancel()
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Error(err)
		}
	})
}

func expectMissing(t *testing.T, a *agent.Agent, want ...string) {
	t.Helper()
	var missing []string
	for name, check := range maps.All(a.Checks()) {
		if check(t.Context()) != nil {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	if !slices.Equal(missing, want) {
		t.Errorf("%v is missing, want %v", missing, want)
	}
}
