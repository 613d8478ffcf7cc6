package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/control"
	"github.com/streamhouse/streamhouse/cli/internal/datadir"
)

// What other commands do to a cluster that another process runs.

// ErrNotRunning says that no cluster runs in the data dir.
var ErrNotRunning = errors.New("no dev is running there: start one with `streamhouse dev`")

// Running returns the way to give orders to the cluster in the data dir, or ErrNotRunning.
func Running(dir datadir.Dir) (control.Caller, error) {
	owner, alive, err := dir.Owner()
	if err != nil {
		return control.Caller{}, err
	}
	if !alive {
		return control.Caller{}, fmt.Errorf("%s: %w", dir.Path(), ErrNotRunning)
	}
	return control.Caller{Socket: owner.Socket}, nil
}

const (
	orderTime   = 10 * time.Second
	downTime    = 100 * time.Second // all graces together
	killedGrace = 2 * time.Second
)

// Down stops the cluster in the data dir and waits until nothing of it runs. A cluster whose owner was killed, or does not listen, is
// ended process by process. It returns what had to be ended so.
func Down(ctx context.Context, dir datadir.Dir) ([]datadir.Started, error) {
	owner, alive, err := dir.Owner()
	if err != nil {
		return nil, err
	}
	if alive {
		if err := stopOwner(ctx, dir, owner); err != nil {
			return nil, err
		}
	}
	lock, err := takeLock(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) { // no dev has ever been there
		return nil, nil
	}
	if errors.Is(err, datadir.ErrLocked) {
		return nil, errors.New("a dev is just starting or stopping there: try again")
	}
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	ended, err := dir.EndLeftovers(ctx, EndLeftover)
	if err != nil {
		return ended, err
	}
	dir.RemoveOwner()
	return ended, dir.RemoveCluster()
}

// takeLock takes the folder. A process that was killed counts as dead before the last of its threads has ended, and holds its lock until
// then: that moment is waited for.
func takeLock(ctx context.Context, dir datadir.Dir) (*datadir.Lock, error) {
	lock, err := dir.Lock()
	if !errors.Is(err, datadir.ErrLocked) {
		return lock, err
	}
	if _, alive, ownerErr := dir.Owner(); ownerErr != nil || alive {
		return nil, err
	}
	moment, cancel := context.WithTimeout(ctx, killedGrace)
	defer cancel()
	if dir.WaitUnlocked(moment) != nil {
		return nil, err
	}
	return dir.Lock()
}

func stopOwner(ctx context.Context, dir datadir.Dir, owner datadir.Owner) error {
	asked, cancel := context.WithTimeout(ctx, orderTime)
	err := control.Caller{Socket: owner.Socket}.Stop(asked)
	cancel()
	if err == nil {
		patient, cancel := context.WithTimeout(ctx, downTime)
		defer cancel()
		err = dir.WaitUnlocked(patient)
	}
	if err == nil && owner.PID != os.Getpid() {
		owner.AwaitEnd(ctx, killedGrace) // it gives the folder back just before it ends
	}
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	return owner.Terminate(ctx, syscall.SIGKILL, killedGrace)
}
