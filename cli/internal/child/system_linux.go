package child

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
)

// attributes put the process into a group of its own, so that a terminal's Ctrl-C reaches its owner alone, and tie its life to the
// owner's.
func attributes(death syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: death}
}

// Positions in /proc/PID/stat after the name, which ends with the last ")" (proc(5)).
const (
	statState = 0
	statStart = 19
)

// startOf is the start in clock ticks since boot, and which boot. A zombie counts as gone.
func startOf(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return "", ErrGone
	}
	if err != nil {
		return "", fmt.Errorf("look at process %d: %w", pid, err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) <= statStart {
		return "", fmt.Errorf("look at process %d: unexpected %q", pid, stat)
	}
	if fields[statState] == "Z" || fields[statState] == "X" {
		return "", ErrGone
	}
	boot, err := bootID()
	return fields[statStart] + "@" + boot, err
}

var bootID = sync.OnceValues(func() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
})
