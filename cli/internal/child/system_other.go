//go:build !linux

package child

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// attributes put the process into a group of its own. Only Linux can tie its life to the owner's; elsewhere what a killed owner leaves
// behind is found by its identity at the next start.
func attributes(syscall.Signal) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// startOf is the start as ps prints it. A zombie counts as gone.
func startOf(pid int) (string, error) {
	out, err := exec.Command("ps", "-o", "stat=,lstart=", "-p", strconv.Itoa(pid)).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return "", ErrGone
	}
	if err != nil {
		return "", fmt.Errorf("look at process %d: %w", pid, err)
	}
	state, start, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if state == "" || strings.HasPrefix(state, "Z") {
		return "", ErrGone
	}
	return strings.TrimSpace(start), nil
}
