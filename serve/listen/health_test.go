package listen

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestReadinessComesAtOnceAndIsNotAskedTooOften: who waits for a start is not told for a second more that it is not ready; who asks without end costs one
// check a second, or twenty while there is something to wait for.
func TestReadinessComesAtOnceAndIsNotAskedTooOften(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began, asked := time.Now(), 0
		h := newHealth(map[string]Check{"catalog": func(context.Context) error {
			asked++
			if time.Since(began) < 490*time.Millisecond {
				return errors.New("not yet")
			}
			return nil
		}}, nil)
		for len(h.notReady(t.Context())) > 0 {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took > 550*time.Millisecond {
			t.Errorf("it is said to be ready after %v", took)
		}
		if most := int(time.Second / 2 / recheckEvery); asked > most+1 {
			t.Errorf("asked %d times in half a second before it is ready", asked)
		}
		asked = 0
		for since := time.Now(); time.Since(since) < 10*time.Second; time.Sleep(time.Millisecond) {
			if faults := h.notReady(t.Context()); len(faults) > 0 {
				t.Fatalf("not ready: %v", faults)
			}
		}
		if asked > 10 {
			t.Errorf("asked %d times in ten seconds", asked)
		}
	})
}
