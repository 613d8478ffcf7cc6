// Package s3test gives a test a real S3 server: streamhouse-devs3 as a process of its own, on an empty folder.
// Only tests import it. Nothing here knows the S3 client: it hands out an address and keys.
//
// The binary is STREAMHOUSE_DEVS3_BIN if set, else the workspace's bin/streamhouse-devs3, which is built when
// it is missing or older than its sources.
//
// Read: s3test.go, binary.go, process_linux.go.
package s3test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 15 * time.Second
	// maxLine bounds the line that the server prints when it is ready.
	maxLine = 4 << 10
)

// Server is a running S3 server with one empty bucket.
type Server struct {
	// Endpoint is a URL; it stays the same over Restart.
	Endpoint  string
	Bucket    string
	AccessKey string
	SecretKey string
	Region    string

	dataDir string
	command *exec.Cmd
	// exited is closed when the process has ended and was waited for.
	exited chan struct{}
}

// Start starts a server and stops it when the test ends. It dies with the test's process, however that ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		Bucket: "streamhouse-test", AccessKey: "test-access", SecretKey: "test-secret-key", Region: "us-east-1",
		dataDir: t.TempDir(),
	}
	t.Cleanup(func() { s.stop(t) })
	if err := s.start(t, "127.0.0.1:0"); err != nil {
		t.Fatalf("start S3 server: %v", err)
	}
	return s
}

// Kill ends the server as a crash would (SIGKILL) and waits for its end.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if err := s.command.Process.Kill(); err != nil {
		t.Fatalf("kill S3 server: %v", err)
	}
	<-s.exited
}

// Restart starts a killed server again, on the same folder and port.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.start(t, s.Endpoint[len("http://"):]); err != nil {
		t.Fatalf("restart S3 server: %v", err)
	}
}

// Pause makes the server silent: it keeps its connections, accepts new ones and answers none, until Resume.
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	pid := s.command.Process.Pid
	if err := s.command.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatalf("pause S3 server: %v", err)
	}
	deadline := time.Now().Add(stopTimeout)
	for !stopped(pid) { // the signal reaches one thread after the other
		if time.Now().After(deadline) {
			t.Fatalf("S3 server ignored SIGSTOP for %v", stopTimeout)
		}
		time.Sleep(time.Millisecond)
	}
}

// Resume ends a Pause.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	if err := s.command.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatalf("resume S3 server: %v", err)
	}
}

func (s *Server) start(t testing.TB, listen string) error {
	binary, err := binaryPath()
	if err != nil {
		return err
	}
	stdoutRead, stdoutWrite := io.Pipe()
	cmd := exec.Command(binary, "serve", "--listen", listen, "--data-dir", s.dataDir, "--bucket", s.Bucket, "--region", s.Region)
	cmd.Env = append(os.Environ(), "STREAMHOUSE_DEVS3_ACCESS_KEY="+s.AccessKey, "STREAMHOUSE_DEVS3_SECRET_KEY="+s.SecretKey)
	cmd.Stdout = stdoutWrite
	stderr := &tail{}
	cmd.Stderr = stderr
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() { // ends with the process, which stop ends
		_ = cmd.Wait()
		_ = stdoutWrite.Close()
		close(exited)
	}()
	s.command, s.exited = cmd, exited
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	s.Endpoint, err = readReady(ctx, stdoutRead)
	if err != nil {
		return fmt.Errorf("%w; it said: %s", err, stderr)
	}
	return nil
}

// readReady waits for the server's line, the only one that it prints, within ctx.
func readReady(ctx context.Context, stdout *io.PipeReader) (endpoint string, err error) {
	stop := context.AfterFunc(ctx, func() { _ = stdout.CloseWithError(ctx.Err()) })
	defer stop()
	defer stdout.Close()
	var ready struct{ Endpoint string }
	line, err := bufio.NewReader(io.LimitReader(stdout, maxLine)).ReadBytes('\n')
	if err != nil {
		return "", fmt.Errorf("it did not get ready: %w", err)
	}
	if err := json.Unmarshal(line, &ready); err != nil {
		return "", fmt.Errorf("it printed %q: %w", line, err)
	}
	return ready.Endpoint, nil
}

func (s *Server) stop(t testing.TB) {
	if s.command == nil {
		return
	}
	_ = s.command.Process.Signal(syscall.SIGCONT) // a stopped process hears no SIGTERM
	_ = s.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(stopTimeout):
		t.Errorf("S3 server ignored SIGTERM for %v", stopTimeout)
		_ = s.command.Process.Kill()
		<-s.exited
	}
}

// tail keeps the end of what a process says.
type tail struct {
	mu   sync.Mutex // guards said
	said []byte
}

func (w *tail) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, p...)
	if extra := len(w.said) - maxLine; extra > 0 {
		w.said = w.said[extra:]
	}
	return len(p), nil
}

func (w *tail) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.said)
}
