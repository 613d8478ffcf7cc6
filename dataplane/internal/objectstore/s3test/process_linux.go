package s3test

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the process when the test's process is gone.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
