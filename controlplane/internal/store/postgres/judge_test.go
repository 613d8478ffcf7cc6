package postgres_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/judge"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
)

// Two judges, an agent that goes silent: its partitions find their way to the other while that one keeps beating.
func TestJudge_MovesThePartitionsOfASilentAgent(t *testing.T) {
	t.Parallel()
	config := postgres.Config{SessionDuration: 2 * time.Second, HeartbeatInterval: 100 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
	w := newWorld(t, config)
	ctx, cancel := context.WithCancel(t.Context())
	finished := make(chan error, 2)
	for _, replica := range []*world{w, w.replica(config)} {
		j, err := judge.New(replica, judge.Config{Interval: 200 * time.Millisecond, SuspectAfter: 500 * time.Millisecond, Logger: config.Logger})
		w.must(err)
		go func() { finished <- j.Run(ctx) }()
	}
	defer func() {
		cancel()
		w.must(<-finished)
		w.must(<-finished)
	}()
	eventually(t, "the first beat", func() bool {
		return w.number("SELECT count(*) FROM pulse WHERE beat_at > clock_timestamp() - interval '1 s'") == 1
	})
	silent, alive := w.register("silent"), w.register("alive")
	orders := w.topic("orders", 4)
	for p := range int32(4) {
		if grant, refusal := silent.acquire(orders, p, 0); grant == nil {
			wantRefusal(t, refusal, refusalv1.Reason_REASON_NOT_ASSIGNED)
		}
	}
	led := map[int32]int32{}
	eventually(t, "the other agent leads all", func() bool {
		w.must(alive.heartbeat())
		for p := range int32(4) {
			if grant, _ := alive.acquire(orders, p, 0); grant != nil {
				led[p] = grant.GetEpoch()
			}
		}
		return len(led) == 4
	})
	if led[0]+led[1]+led[2]+led[3] != 6 { // two partitions were led before
		t.Fatalf("epochs %v", led)
	}
	eventually(t, "the silent session ends", func() bool {
		w.must(alive.heartbeat())
		return reasonOf(w.CheckSession(t.Context(), group, silent.session)) == refusalv1.Reason_REASON_SESSION_EXPIRED
	})
}
