package route_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/route"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// While the control plane is out of reach askers share the failure of a call, as they would its answer: nobody waits for the calls of all others in turn.
func TestAskersShareAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		catalog := &slowNames{err: errors.New("out of reach")}
		table := route.New("a", catalog)
		began := time.Now()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := table.ResolveTopic(t.Context(), "orders", ""); !refusal.Is(err, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE) {
					t.Errorf("orders: %v", err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took > 3*time.Second || catalog.calls > 4 {
			t.Errorf("100 askers made %d calls and took %v", catalog.calls, took)
		}
	})
}
