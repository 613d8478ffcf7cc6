package callers

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// silence answers until it is cut off; then every question takes as long as the asker waits.
type silence struct {
	keys
	cut bool
}

func (s *silence) Authenticate(ctx context.Context, req *controlplanev1.AuthenticateRequest) (*controlplanev1.AuthenticateResponse, error) {
	s.mu.Lock()
	cut := s.cut
	s.mu.Unlock()
	if !cut {
		return s.keys.Authenticate(ctx, req)
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// A control plane that does not answer costs a hundred callers one timeout, not one after the other; and once it has been noticed, none but the one who asks.
func TestCallersShareAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		catalog := &silence{}
		c := New(catalog)
		hundred := func() (longest time.Duration, refused int) {
			var mu sync.Mutex
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					began := time.Now()
					_, err := c.Authenticate(t.Context(), access.Hash("k"))
					mu.Lock()
					defer mu.Unlock()
					longest = max(longest, time.Since(began))
					if refusal.Is(err, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE) {
						refused++
					}
				})
			}
			all.Wait()
			return longest, refused
		}
		if _, refused := hundred(); refused > 0 {
			t.Fatalf("%d refused", refused)
		}
		time.Sleep(knownFor)
		catalog.mu.Lock()
		catalog.cut = true
		catalog.mu.Unlock()
		if longest, refused := hundred(); longest > askTimeout || refused > 0 {
			t.Errorf("the outage is noticed: %v, %d refused", longest, refused)
		}
		time.Sleep(time.Second)
		go func() { _, _ = c.Authenticate(t.Context(), access.Hash("k")) }() // the one who asks
		synctest.Wait()
		if longest, refused := hundred(); longest > 0 || refused > 0 {
			t.Errorf("it is known: %v, %d refused", longest, refused)
		}
		time.Sleep(staleFor)
		if longest, refused := hundred(); longest > askTimeout || refused != 100 {
			t.Errorf("the memory is too old: %v, %d refused", longest, refused)
		}
		catalog.mu.Lock()
		catalog.cut = false
		catalog.mu.Unlock()
		if _, refused := hundred(); refused == 100 {
			t.Error("nobody noticed that it is back")
		}
		if longest, refused := hundred(); longest > 0 || refused > 0 {
			t.Errorf("it is back: %v, %d refused", longest, refused)
		}
	})
}
