package command

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/streamhouse/streamhouse/cli/internal/datadir"
	"github.com/streamhouse/streamhouse/cli/internal/output"
)

// backgroundVariable tells a dev that it runs in the background, and that descriptor 3 is the way to tell who started it how it went.
const backgroundVariable = "STREAMHOUSE_DEV_BACKGROUND"

func isBackground() bool { return os.Getenv(backgroundVariable) != "" }

// outcome goes through the pipe, as a line of JSON.
type outcome struct {
	Error string `json:"error"`
	Usage bool   `json:"usage"`
}

// parent returns how to tell the process that started this one; only the first call does. Nothing is told in the foreground.
func parent() func(error) {
	if !isBackground() {
		return func(error) {}
	}
	pipe := os.NewFile(3, "parent")
	told := false
	return func(err error) {
		if told || pipe == nil {
			return
		}
		told = true
		var o outcome
		if err != nil {
			o = outcome{Error: err.Error(), Usage: errors.As(err, new(usageError))}
		}
		_ = json.NewEncoder(pipe).Encode(o) // one that has gone away need not know
		_ = pipe.Close()
	}
}

// detach runs the same command in a session of its own and returns when it is ready, or has failed.
func detach(ctx context.Context, e *env, dir datadir.Dir) error {
	if err := dir.Create(); err != nil {
		return err
	}
	log := dir.Log("dev")
	reader, command, err := startBackground(log)
	if err != nil {
		return err
	}
	defer reader.Close()
	stop := context.AfterFunc(ctx, func() { _ = command.Process.Signal(syscall.SIGTERM) })
	defer stop()
	line, err := bufio.NewReader(reader).ReadBytes('\n')
	if err != nil {
		_ = command.Wait()
		return fmt.Errorf("dev ended while it started; its log is %s", log)
	}
	var o outcome
	if err := json.Unmarshal(line, &o); err != nil {
		return fmt.Errorf("start in the background: %w", err)
	}
	if o.Error != "" {
		_ = command.Wait()
		return outcomeError(o)
	}
	if ctx.Err() != nil {
		_ = command.Wait()
		return errors.New("interrupted: everything was stopped again")
	}
	return showReady(e, dir)
}

func outcomeError(o outcome) error {
	if o.Usage {
		return usageError{errors.New(o.Error)}
	}
	return errors.New(o.Error)
}

func startBackground(log string) (*os.File, *exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("start in the background: %w", err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("start in the background: %w", err)
	}
	defer writer.Close()
	if err := os.MkdirAll(filepath.Dir(log), 0o700); err != nil {
		return nil, nil, errors.Join(err, reader.Close())
	}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start in the background: %w", err), reader.Close())
	}
	defer out.Close()
	command := exec.Command(self, os.Args[1:]...)
	command.Env = append(os.Environ(), backgroundVariable+"=1")
	command.Stdout, command.Stderr, command.ExtraFiles = out, out, []*os.File{writer}
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start in the background: %w", err), reader.Close())
	}
	return reader, command, nil
}

// showReady shows what the background process has reported, and where everything is.
func showReady(e *env, dir datadir.Dir) error {
	reports, err := os.ReadFile(dir.Log("dev"))
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	cluster, found, err := dir.ReadCluster()
	switch {
	case err != nil:
		return err
	case !found:
		return errors.New("dev was stopped as soon as it was ready")
	}
	if _, err := e.Stderr.Write(reports); err != nil || e.Output != output.Table {
		return errors.Join(err, e.print(cluster, output.Rows{}))
	}
	banner(e, dir, cluster)
	fmt.Fprintf(e.Stdout, "\n`%s dev down` stops everything.\n", commandName())
	return nil
}

// commandName is how this command was called.
func commandName() string { return os.Args[0] }

// shortPath is relative where that is shorter.
func shortPath(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if relative, err := filepath.Rel(here, path); err == nil && !strings.HasPrefix(relative, "..") {
		return relative
	}
	return path
}

// withoutPassword is a URL to show.
func withoutPassword(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return address
	}
	u.User = url.User(u.User.Username())
	return u.String()
}
