package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/streamhouse/streamhouse/cli/internal/child"
)

// Owner is the process that runs the folder's cluster.
type Owner struct {
	child.Identity
	// Socket at which it takes orders.
	Socket string `json:"socket"`
}

// Lock is the sole right to run a cluster in the folder. The kernel takes it back when its process dies, however that dies.
type Lock struct{ file *os.File }

// ErrLocked says that another process runs a cluster in the folder.
var ErrLocked = errors.New("a dev is running in this data dir")

func (d Dir) lockFile() string { return d.Join("lock") }

// Lock takes the folder, or returns ErrLocked.
func (d Dir) Lock() (*Lock, error) {
	file, err := os.OpenFile(d.lockFile(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data dir: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("lock data dir: %w", err)
	}
	return &Lock{file: file}, nil
}

// Release gives the folder back.
func (l *Lock) Release() { _ = l.file.Close() }

// WaitUnlocked waits until nobody runs a cluster in the folder.
func (d Dir) WaitUnlocked(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		lock, err := d.Lock()
		if err == nil {
			lock.Release()
			return nil
		}
		if !errors.Is(err, ErrLocked) {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

const lookEvery = 50 * time.Millisecond

func (d Dir) ownerFile() string { return d.Join("owner.json") }

// WriteOwner says who runs the cluster. Requires: the Lock is held.
func (d Dir) WriteOwner(o Owner) error { return writeJSON(d.ownerFile(), o) }

// RemoveOwner forgets who runs the cluster. Requires: the Lock is held.
func (d Dir) RemoveOwner() { _ = os.Remove(d.ownerFile()) }

// Owner says who runs the cluster; false: nobody, or it has not said so yet.
func (d Dir) Owner() (Owner, bool, error) {
	var o Owner
	if _, err := os.Stat(d.path); errors.Is(err, fs.ErrNotExist) {
		return o, false, nil
	}
	if err := readJSON(d.ownerFile(), &o); err != nil {
		return o, false, err
	}
	return o, o.Alive(), nil
}
