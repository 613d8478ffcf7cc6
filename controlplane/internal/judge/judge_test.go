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

	"go.uber.org/goleak"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a catalog that only says what it was asked: the judge's own part is when to ask. What is answered is PostgreSQL's, and
// tested there.
type recorder struct {
	mu        sync.Mutex
	calls     map[string]int
	pulse     func(now time.Time) store.Pulse
	slow      time.Duration
	err       error
	unsettled chan struct{}
	orphans   int
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
	return 0, nil
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
		if r.count("beat") != 10 || r.count("end") != 10 || r.count("suspect 2s") != 10 {
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
