package judge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a catalog that only says what it was asked: the judge's own part is when to ask. What is answered is PostgreSQL's, and
// tested there.
type recorder struct {
	mu    sync.Mutex
	calls map[string]int
	pulse func(now time.Time) store.Pulse
	slow  time.Duration
	err   error
	// silentAt is when the first session becomes silent for too long, if it does; suspectedAt when it was suspected.
	silentAt, suspectedAt time.Time
	unsettled             chan struct{}
	orphans               int
}

func newRecorder() *recorder {
	return &recorder{
		calls: map[string]int{}, unsettled: make(chan struct{}, 1),
		pulse: func(now time.Time) store.Pulse { return store.Pulse{BeatAt: now, QuietUntil: now, Now: now} },
	}
}

func (r *recorder) called(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls[name]++
}

func (r *recorder) count(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls[name]
}

func (r *recorder) Beat(ctx context.Context) (store.Pulse, error) {
	r.called("beat")
	select {
	case <-time.After(r.slow):
	case <-ctx.Done():
		return store.Pulse{}, ctx.Err()
	}
	return r.pulse(time.Now()), r.err
}

func (r *recorder) EndSilent(context.Context) (int, error) { r.called("end"); return 0, nil }

func (r *recorder) SuspectSilent(_ context.Context, after time.Duration) (int, error) {
	r.called(fmt.Sprint("suspect ", after))
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.silentAt.IsZero() && !time.Now().Before(r.silentAt) && r.suspectedAt.IsZero() {
		r.suspectedAt = time.Now()
	}
	return 0, nil
}

func (r *recorder) UntilSilent(_ context.Context, after time.Duration) (time.Duration, error) {
	r.called("until")
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.silentAt.IsZero() {
		return time.Until(r.silentAt), nil
	}
	return after, nil
}

func (r *recorder) SessionAddress(context.Context, store.AgentGroup, uuid.UUID) (string, error) {
	return "", errors.New("a judge asks nobody")
}

func (r *recorder) SuspectRefused(context.Context, store.AgentGroup, uuid.UUID) (bool, error) {
	return false, errors.New("a judge hears of no refusal")
}

func (r *recorder) Unsettled() <-chan struct{} { return r.unsettled }

func (r *recorder) UnsettledAgentGroups(context.Context) ([]store.AgentGroup, error) {
	r.called("look")
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.orphans > 0 {
		return []store.AgentGroup{"default"}, nil
	}
	return nil, nil
}

func (r *recorder) AssignOrphans(context.Context, store.AgentGroup) (int, bool, error) {
	r.called("assign")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.orphans--
	return 1, r.orphans > 0, nil
}

func (r *recorder) PurgeDeleted(context.Context) (int, bool, error) {
	r.called("purge")
	return 0, false, nil
}

// run lets a judge work for a time, on virtual time.
func run(t *testing.T, r *recorder, d time.Duration) {
	t.Helper()
	j, err := New(r, Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := j.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestJudge_TicksEachSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		run(t, r, 10500*time.Millisecond)
		if r.count("beat") != 10 || r.count("end") != 10 || r.count("suspect 2s") != 9 {
			t.Fatalf("calls %v", r.calls)
		}
	})
}

func TestP10_JudgeThatIsLateJudgesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		r.slow = 501 * time.Millisecond // it fell asleep between its tick and its judgement
		run(t, r, 10*time.Second)
		if r.count("beat") < 5 || r.count("end") != 0 || r.count("suspect 2s") != 0 {
			t.Fatalf("calls %v", r.calls)
		}
	})
}

func TestP10_JudgeWaitsWhileItIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		begun := time.Now()
		r.pulse = func(now time.Time) store.Pulse {
			return store.Pulse{BeatAt: now, QuietUntil: begun.Add(5500 * time.Millisecond), Now: now}
		}
		run(t, r, 10500*time.Millisecond)
		if r.count("beat") != 10 || r.count("end") != 5 {
			t.Fatalf("calls %v", r.calls)
		}
	})
}

func TestJudge_SurvivesADatabaseOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		r.err = errors.New("connection refused")
		run(t, r, 5500*time.Millisecond)
		if r.count("beat") != 5 || r.count("end") != 0 {
			t.Fatalf("calls %v", r.calls)
		}
	})
}

// Ticks come once a second, suspicion when it is due.
func TestJudge_SuspectsWhenSilenceIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		r.silentAt = time.Now().Add(5400 * time.Millisecond)
		run(t, r, 7*time.Second)
		if took := r.suspectedAt.Sub(r.silentAt); took < 0 || took > 10*time.Millisecond {
			t.Fatalf("suspected %v after it was due", took)
		}
		if r.count("beat") != 6 && r.count("beat") != 7 || r.count("until") > 8 {
			t.Fatalf("calls %v", r.calls)
		}
	})
}

// A catalog that was out of reach for less than it takes the pulse to grow old has heard no heartbeat either: nobody is suspected for that.
func TestP10_JudgeListensBeforeItSuspects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		begun := time.Now()
		r.pulse = func(now time.Time) store.Pulse {
			r.mu.Lock()
			defer r.mu.Unlock()
			at := now.Sub(begun)
			if at > 4500*time.Millisecond && at < 6500*time.Millisecond {
				r.err = errors.New("connection refused")
			} else {
				r.err = nil
			}
			return store.Pulse{BeatAt: now, QuietUntil: now, Now: now}
		}
		r.silentAt = begun.Add(6400 * time.Millisecond) // all agents: their heartbeats were not heard
		run(t, r, 12*time.Second)
		if at := r.suspectedAt.Sub(begun); at < 8*time.Second {
			t.Fatalf("suspected %v after the start: the catalog was back for less than suspect-after", at)
		}
	})
}

func TestJudge_SettlesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorder()
		go func() {
			time.Sleep(100 * time.Millisecond)
			r.mu.Lock()
			r.orphans = 3
			r.mu.Unlock()
			r.unsettled <- struct{}{}
		}()
		run(t, r, 200*time.Millisecond)
		if r.count("assign") != 3 {
			t.Fatalf("calls %v", r.calls)
		}
	})
}

func TestBeat(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	long := 30 * time.Second
	for name, c := range map[string]struct {
		beatAt, quietUntil time.Time
		want               time.Time
	}{
		"present":             {now.Add(-time.Second), now.Add(-time.Hour), now.Add(-time.Hour)},
		"present and quiet":   {now.Add(-time.Second), now.Add(time.Second), now.Add(time.Second)},
		"just present":        {now.Add(-PulseAge), now, now},
		"absent":              {now.Add(-PulseAge - 1), now.Add(-time.Hour), now.Add(long)},
		"from the future":     {now.Add(1), now.Add(time.Hour), now.Add(long)},
		"absent, quiet later": {now.Add(-time.Hour), now.Add(-time.Minute), now.Add(long)},
	} {
		got := Beat(store.Pulse{BeatAt: c.beatAt, QuietUntil: c.quietUntil, Now: now}, long)
		if !got.BeatAt.Equal(now) || !got.QuietUntil.Equal(c.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestNew_RefusesBadConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{{Interval: 2 * time.Second}, {Interval: time.Millisecond}, {SuspectAfter: time.Millisecond}} {
		if _, err := New(newRecorder(), c); err == nil {
			t.Errorf("%+v accepted", c)
		}
	}
}
