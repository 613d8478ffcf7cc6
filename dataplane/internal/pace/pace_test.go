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

func TestAllWhoShareItKeepTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, began := New(1<<20, nil), time.Now()
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for range 5 {
					if err := p.Wait(t.Context(), 1<<20); err != nil {
						t.Error(err)
					}
				}
			})
		}
		readers.Wait()
		if took := time.Since(began); took != 19*time.Second { // the first one is not waited for
			t.Errorf("20 MiB at 1 MiB a second took %s", took)
		}
	})
}

func TestBusyAgentsComeFirstButNotForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Bool
		busy.Store(true)
		p, began := New(1<<40, busy.Load), time.Now()
		time.AfterFunc(time.Second, func() { busy.Store(false) })
		if err := p.Wait(t.Context(), 1); err != nil || time.Since(began).Round(time.Second/10) != time.Second {
			t.Errorf("%v after %s, the agent was busy for a second", err, time.Since(began))
		}
		busy.Store(true)
		began = time.Now()
		if err := p.Wait(t.Context(), 1); err != nil || time.Since(began) != patience {
			t.Errorf("%v after %s, want %s", err, time.Since(began), patience)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p := New(1, nil)
		_ = p.Wait(ctx, 1000)
		if err := p.Wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if err := (*Pace)(nil).Wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody is held back, and the context has ended: %v", err)
		}
	})
}
