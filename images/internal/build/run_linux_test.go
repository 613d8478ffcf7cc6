package build_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// runAlone runs a program with the image's files as its whole world and the image's user: it must answer its version, and its healthcheck must say
// that nobody listens, instead of missing a file.
func runAlone(t *testing.T, root, program string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("not run: only root may change the root folder of a process")
		return
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	inside := func(argument string) (string, error) {
		command := exec.CommandContext(t.Context(), program, argument)
		command.Dir, command.Env = "/", []string{"STREAMHOUSE_LISTEN=127.0.0.1:1"}
		command.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		output, err := command.CombinedOutput()
		return string(bytes.TrimSpace(output)), err
	}
	if said, err := inside("version"); err != nil || said != version {
		t.Errorf("%s version: %q, %v", program, said, err)
	}
	if said, err := inside("healthcheck"); err == nil || !strings.Contains(said, "connection refused") {
		t.Errorf("%s healthcheck with nobody there: %q, %v", program, said, err)
	}
}
