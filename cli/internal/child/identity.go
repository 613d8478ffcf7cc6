package child

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Identity names a process for ever: numbers are used again, a number and the moment of its start are not.
type Identity struct {
	PID int `json:"pid"`
	// Start is opaque, equal for the same process alone.
	Start string `json:"start"`
}

// ErrGone says that there is no such process.
var ErrGone = errors.New("no such process")

// Identify returns the identity of a process, or ErrGone.
func Identify(pid int) (Identity, error) {
	start, err := startOf(pid)
	if err != nil {
		return Identity{}, err
	}
	return Identity{PID: pid, Start: start}, nil
}

// Alive says whether this very process runs.
func (i Identity) Alive() bool {
	if i.PID <= 1 || i.Start == "" {
		return false
	}
	now, err := Identify(i.PID)
	return err == nil && now == i
}

// Terminate ends a process that is not a child of this one: by signal, then, after grace, by SIGKILL. It does nothing to a process that
// merely has the same number. It returns when the process is gone, or an error when it stays.
func (i Identity) Terminate(ctx context.Context, signal syscall.Signal, grace time.Duration) error {
	if err := i.send(signal); err != nil {
		return err
	}
	_ = i.send(syscall.SIGCONT) // one that is paused hears nothing
	if i.AwaitEnd(ctx, grace) {
		return nil
	}
	if err := i.send(syscall.SIGKILL); err != nil {
		return err
	}
	if i.AwaitEnd(context.WithoutCancel(ctx), killTime) {
		return nil
	}
	return fmt.Errorf("process %d does not end: kill it by hand", i.PID)
}

const (
	killTime  = 10 * time.Second // for a killed process to be gone
	lookEvery = 20 * time.Millisecond
)

func (i Identity) send(signal syscall.Signal) error {
	if !i.Alive() {
		return nil
	}
	if err := syscall.Kill(i.PID, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %v to process %d: %w", signal, i.PID, err)
	}
	return nil
}

// AwaitEnd waits until the process is gone, for limit at most; false: it is still there.
func (i Identity) AwaitEnd(ctx context.Context, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for i.Alive() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return !i.Alive()
		}
	}
	return true
}
