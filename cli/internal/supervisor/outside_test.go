package supervisor

import (
	"errors"
	"testing"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/datadir"
)

// Nobody alive owns the folder, and yet its lock is held: by what is left of a process that was killed a moment ago, or by one that starts.
func TestDyingOwnersLockIsWaitedFor(t *testing.T) {
	t.Parallel()
	dir, err := datadir.At(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dying, err := dir.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := takeLock(t.Context(), dir); !errors.Is(err, datadir.ErrLocked) {
		t.Fatalf("a lock that stays held: %v", err)
	}
	time.AfterFunc(100*time.Millisecond, dying.Release)
	lock, err := takeLock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	lock.Release()
}
