package process

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Until runs a service's binary with these settings and no others until it prints a text, or ends, and returns what it printed and whether it ended
// with a usage error: whether settings that some deployment passes are such that the binary takes. It listens on any port of the loopback interface.
func Until(t testing.TB, binary, text string, settings ...map[string]string) (out string, usage bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, binary, "serve", "--listen", "127.0.0.1:0")
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "AWS_EC2_METADATA_DISABLED=true", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x"}
	for _, values := range settings {
		for name, value := range values {
			command.Env = append(command.Env, name+"="+value)
		}
	}
	watched := &watched{text: text, found: cancel}
	command.Stdout, command.Stderr = watched, watched
	err := command.Run()
	exit, ended := errors.AsType[*exec.ExitError](err)
	return string(watched.out), ended && exit.ExitCode() == 2
}

// watched collects output, and tells once a text is in it. Only os/exec writes to it, from one goroutine, as both outputs are the same.
type watched struct {
	out   []byte
	text  string
	found func()
}

func (w *watched) Write(b []byte) (int, error) {
	w.out = append(w.out, b...)
	if strings.Contains(string(w.out), w.text) {
		w.found()
	}
	return len(b), nil
}
