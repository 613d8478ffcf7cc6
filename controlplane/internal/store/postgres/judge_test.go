package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"

	"github.com/streamhouse/streamhouse/controlplane/internal/judge"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres"
	"github.com/streamhouse/streamhouse/controlplane/internal/store/postgres/db"
)

// Two judges, an agent that goes silent: its partitions find their way to the other while that one keeps beating.
func TestJudge_MovesThePartitionsOfASilentAgent(t *testing.T) {
	t.Parallel()
	// For as long as a session lasts after the first beat nobody is judged: enough for the silent one to take its leases on a machine that stands still for seconds.
	config := postgres.Config{SessionDuration: 6 * time.Second, HeartbeatInterval: 100 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
	w := newWorld(t, config)
	ctx, cancel := context.WithCancel(t.Context())
	finished := make(chan error, 2)
	for _, replica := range []*world{w, w.replica(config)} {
		j, err := judge.New(replica, judge.Config{Interval: 200 * time.Millisecond, SuspectAfter: 1500 * time.Millisecond, Logger: config.Logger})
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

// A replica that is cut off while it holds the pulse, as with the loss of a zone, keeps the others from beating only until PostgreSQL ends its
// transaction: before the pulse is old, or nobody would be judged for a session duration, and nothing taken over. There is half a second to spare: a machine that
// stood still for that long is given another chance.
func TestJudge_CutOffWhileItHoldsThePulse(t *testing.T) {
	t.Parallel()
	var wrong error
	for range 5 {
		if wrong = cutOffWhileItHoldsThePulse(t); wrong == nil {
			return
		}
		t.Log(wrong)
	}
	t.Error(wrong)
}

func cutOffWhileItHoldsThePulse(t *testing.T) error {
	t.Helper()
	w := newWorld(t, postgres.Config{})
	_, err := w.Beat(t.Context())
	w.must(err)
	w.register("a") // so that an old pulse would be followed by quiet
	lost, err := w.connection().Begin(t.Context())
	w.must(err)
	_, err = db.New(lost).LockPulse(t.Context())
	w.must(err)
	began := time.Now()
	pulse, err := w.Beat(t.Context())
	w.must(err)
	if err := lost.Commit(t.Context()); err == nil {
		t.Error("the lost replica's transaction was not ended")
	}
	if took := time.Since(began); took > 2500*time.Millisecond {
		return fmt.Errorf("the other replica's beat waited for %v", took)
	}
	if pulse.QuietUntil.After(pulse.Now) {
		return fmt.Errorf("nobody is judged until %v, %v from now", pulse.QuietUntil, pulse.QuietUntil.Sub(pulse.Now))
	}
	return nil
}
