package service_test

import (
	"strings"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/controlplane/internal/pgtest"
)

// A database that forgets in a crash what it has acknowledged is refused at the start, and the process says what to change.
func TestP1_UnsafeDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	config := configure(pgtest.URL(t))
	config.AllowUnsafeDatabase = false
	r := launch(t, config)
	select {
	case err := <-r.ended:
		r.ended <- err
		if err == nil || !strings.Contains(err.Error(), "fsync is off") || !strings.Contains(err.Error(), "--allow-unsafe-database") {
			t.Errorf("ended with %v", err)
		}
	case <-r.ready:
		t.Error("served")
	case <-time.After(30 * time.Second):
		t.Error("neither served nor ended")
	}
}
