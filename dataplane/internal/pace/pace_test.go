package pace

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func nothing(context.Context) error { return nil }

func TestAllWhoShareItKeepTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, began := New(1<<20, nil), time.Now()
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for range 5 {
					if err := p.Do(t.Context(), 1<<20, nothing); err != nil {
						t.Error(err)
					}
				}
			})
		}
		readers.Wait()
		if took := time.Since(began); took != 19*time.Second { // the first one is not waited for
			t.Errorf("20 MiB at 1 MiB a second took %s", took)
		}
		began = time.Now()
		for range 17 {
			_ = p.Do(t.Context(), 0, nothing)
		}
		if took := time.Since(began); took != 2*time.Second { // the MiB before, and 16 requests
			t.Errorf("17 requests of no bytes at 1 MiB a second took %s", took)
		}
	})
}

func TestTwoStepsAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := New(1<<40, nil)
		var now, most atomic.Int64
		var readers sync.WaitGroup
		for range 8 {
			readers.Go(func() {
				_ = p.Do(t.Context(), 1, func(context.Context) error {
					if n := now.Add(1); n > most.Load() {
						most.Store(n)
					}
					time.Sleep(time.Second)
					now.Add(-1)
					return nil
				})
			})
		}
		readers.Wait()
		if most.Load() != stepsAtATime {
			t.Errorf("%d steps at a time, want %d", most.Load(), stepsAtATime)
		}
	})
}

// producers make 100 calls a second. Each waits 10 ms, and as many more as background work did steps in the last second.
type producers struct {
	began   time.Time
	slower  time.Duration // by each step in a second
	steps   []time.Time
	pressed bool

	calls int64
	took  time.Duration
	at    time.Time
}

func (f *producers) step() { f.steps = append(f.steps, time.Now()) }

func (f *producers) Pressed() bool { return f.pressed }

func (f *producers) Answered() (calls int64, took time.Duration) {
	now := time.Now()
	for ; f.at.Add(10 * time.Millisecond).Before(now); f.at = f.at.Add(10 * time.Millisecond) {
		recent := 0
		for i := len(f.steps) - 1; i >= 0 && f.at.Sub(f.steps[i]) < time.Second; i-- {
			recent++
		}
		f.calls, f.took = f.calls+1, f.took+10*time.Millisecond+time.Duration(recent)*f.slower
	}
	return f.calls, f.took
}

// busyFor does steps of 64 KiB, 5 ms each, for so long, and answers how many there were in the last half of it.
func busyFor(t *testing.T, p *Pace, f *producers, length time.Duration) (steps int) {
	t.Helper()
	for began := time.Now(); time.Since(began) < length; {
		if err := p.Do(t.Context(), leastBytes, func(context.Context) error { f.step(); time.Sleep(5 * time.Millisecond); return nil }); err != nil {
			t.Fatal(err)
		}
		if time.Since(began) > length/2 {
			steps++
		}
	}
	return steps
}

// Nobody is held back whom producers do not feel; who is felt gets less, but an eighth of the rate at least; and what was usual is forgotten.
func TestProducersComeFirst(t *testing.T) {
	t.Parallel()
	const rate = 64 * leastBytes // 64 steps a second
	for name, test := range map[string]struct {
		slower      time.Duration
		pressed     bool
		least, most int // steps in 20 s
	}{
		"not felt":        {0, false, 1270, 1290},
		"felt":            {200 * time.Microsecond, false, 240, 900},
		"felt very much":  {5 * time.Millisecond, false, 160, 260},
		"about to refuse": {0, true, 150, 165},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &producers{began: time.Now(), at: time.Now(), slower: test.slower, pressed: test.pressed}
				time.Sleep(time.Minute)
				p := New(rate, f)
				if steps := busyFor(t, p, f, 40*time.Second); steps < test.least || steps > test.most {
					t.Errorf("%d steps in 20 s, want %d to %d", steps, test.least, test.most)
				}
			})
		})
	}
}

// Producers who have become slower by themselves do not starve the background: after some minutes that is what is usual.
func TestWhatIsUsualIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &producers{began: time.Now(), at: time.Now()}
		p := New(64*leastBytes, f)
		busyFor(t, p, f, 30*time.Second)
		f.steps, f.slower = nil, 0
		slower := &slow{producers: f}
		p.foreground = slower
		if steps := busyFor(t, p, f, 40*time.Second); steps > 200 {
			t.Errorf("%d steps in 20 s while producers wait for three times as long", steps)
		}
		busyFor(t, p, f, 2*patience)
		if steps := busyFor(t, p, f, 40*time.Second); steps < 1270 {
			t.Errorf("%d steps in 20 s some minutes later", steps)
		}
	})
}

// slow makes each call 20 ms slower than it was, from its beginning on.
type slow struct {
	*producers
	before int64
}

func (s *slow) Answered() (calls int64, took time.Duration) {
	calls, took = s.producers.Answered()
	if s.before == 0 {
		s.before = calls
	}
	return calls, took + time.Duration(calls-s.before)*20*time.Millisecond
}

// A job that is always held back ends: a step takes twice its time, and the bytes eight times.
func TestAStarvedJobEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &producers{began: time.Now(), at: time.Now(), slower: time.Second, pressed: true}
		time.Sleep(time.Minute)
		p, began := New(0, f), time.Now()
		const gibibyte, step = 1 << 30, 4 << 20
		for range gibibyte / step {
			if err := p.Do(t.Context(), step, func(context.Context) error { f.step(); time.Sleep(40 * time.Millisecond); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 127*time.Second || took > 129*time.Second {
			t.Errorf("a GiB took %s", took)
		}
	})
}

func TestDoEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p := New(1, nil)
		_ = p.Do(ctx, 1000, nothing)
		if err := p.Do(ctx, 1, nothing); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		full := New(1<<40, nil)
		full.steps <- struct{}{}
		full.steps <- struct{}{}
		if err := full.Do(ctx, 1, nothing); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if err := (*Pace)(nil).Do(t.Context(), 1, func(context.Context) error { return errStep }); !errors.Is(err, errStep) {
			t.Errorf("nobody is held back, and the step fails: %v", err)
		}
	})
}

var errStep = errors.New("a step that fails")
