package main_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	accessKey = "test-access"
	secretKey = "test-secret-must-not-show"
	bucket    = "test-bucket"
)

// binary is the real command, built once; other users may run it.
var binary string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "devs3-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "streamhouse-devs3")
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

type process struct {
	cmd      *exec.Cmd
	stderr   *bytes.Buffer // read it after waiting
	stdout   *bufio.Reader
	ready    readyLine
	waitOnce func() error
}

type readyLine struct {
	Endpoint string `json:"endpoint"`
	Bucket   string `json:"bucket"`
	PID      int    `json:"pid"`
}

func command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "STREAMHOUSE_DEVS3_ACCESS_KEY="+accessKey, "STREAMHOUSE_DEVS3_SECRET_KEY="+secretKey)
	return cmd
}

// launch starts a command and waits for its line.
func launch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p, err := tryLaunch(t, cmd)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func tryLaunch(t *testing.T, cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, stderr: &bytes.Buffer{}}
	cmd.Stderr = p.stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	p.waitOnce = sync.OnceValue(cmd.Wait)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = p.waitOnce()
	})
	p.stdout = bufio.NewReader(stdout)
	line, err := p.stdout.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &p.ready)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = p.waitOnce()
		return nil, fmt.Errorf("not ready: %q, %w, %s", line, err, p.stderr)
	}
	return p, nil
}

func serve(t *testing.T, dataDir string, args ...string) *process {
	t.Helper()
	return launch(t, command(append([]string{"--data-dir", dataDir, "--bucket", bucket}, args...)...))
}

// end sends a signal and returns how the process ended; its standard output must hold no second line.
func (p *process) end(t *testing.T, signal syscall.Signal) error {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(p.stdout)
	if len(rest) > 0 {
		t.Errorf("more on standard output: %q", rest)
	}
	return p.waitOnce()
}

func (p *process) client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &p.ready.Endpoint, UsePathStyle: true, Region: "us-east-1",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: accessKey, SecretAccessKey: secretKey}, nil
		}),
	})
}

func put(ctx context.Context, c *s3.Client, key string, body []byte) (*s3.PutObjectOutput, error) {
	return c.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: &key, Body: bytes.NewReader(body),
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c, IfNoneMatch: aws.String("*"),
	})
}

func get(t *testing.T, c *s3.Client, key string) (body []byte, crc32c string) {
	t.Helper()
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	body, err = io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body, aws.ToString(out.ChecksumCRC32C)
}

// What was answered is there after kill -9 in the middle of writing, with its checksum, and the folder works on.
func TestP1_KilledServerKeepsWhatItAnswered(t *testing.T) {
	t.Parallel()
	for _, metadata := range []string{"auto", "sidecar"} {
		t.Run(metadata, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := serve(t, dir, "--metadata", metadata)
			stored := writeUntilKilled(t, p)
			again := serve(t, dir, "--metadata", metadata)
			for _, key := range stored {
				if body, sum := get(t, again.client(), key); !bytes.Equal(body, bodyOf(key)) || sum == "" {
					t.Fatalf("%s: %d bytes, checksum %q", key, len(body), sum)
				}
			}
			if _, err := put(t.Context(), again.client(), stored[0], []byte("other")); err == nil || !strings.Contains(err.Error(), "PreconditionFailed") {
				t.Errorf("overwritten: %v", err)
			}
			if _, err := put(t.Context(), again.client(), "after", []byte("x")); err != nil {
				t.Error(err)
			}
		})
	}
}

func bodyOf(key string) []byte { return bytes.Repeat([]byte(key), 10_000) }

// writeUntilKilled returns the keys whose PUTs were answered.
func writeUntilKilled(t *testing.T, p *process) (stored []string) {
	t.Helper()
	const enough = 40
	var mu sync.Mutex
	var group sync.WaitGroup
	written := make(chan struct{})
	for w := range 4 {
		group.Go(func() {
			client := p.client()
			for i := 0; ; i++ {
				key := fmt.Sprintf("writer-%d/%d", w, i)
				if _, err := put(t.Context(), client, key, bodyOf(key)); err != nil {
					return
				}
				mu.Lock()
				stored = append(stored, key)
				if len(stored) == enough {
					close(written)
				}
				mu.Unlock()
			}
		})
	}
	<-written
	if err := p.end(t, syscall.SIGKILL); err == nil {
		t.Error("survived SIGKILL")
	}
	group.Wait()
	return stored
}

func TestStopsWhenAsked(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := serve(t, t.TempDir())
		if _, err := put(t.Context(), p.client(), "k", []byte("x")); err != nil { // leaves a connection open
			t.Fatal(err)
		}
		start := time.Now()
		if err := p.end(t, signal); err != nil || time.Since(start) > 30*time.Second {
			t.Errorf("%v: %v after %v, %s", signal, err, time.Since(start), p.stderr)
		}
		if strings.Contains(p.stderr.String(), secretKey) {
			t.Error("the secret key is in the log")
		}
	}
}

func TestReadyMeansReady(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir(), "--region", "eu-central-1")
	if p.ready.PID != p.cmd.Process.Pid || p.ready.Bucket != bucket || !strings.HasPrefix(p.ready.Endpoint, "http://127.0.0.1:") {
		t.Errorf("got %+v", p.ready)
	}
	if out, err := command("healthcheck", "--endpoint", p.ready.Endpoint).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	_ = p.end(t, syscall.SIGTERM)
	if out, err := command("healthcheck", "--endpoint", p.ready.Endpoint).CombinedOutput(); exitCode(err) != 1 {
		t.Errorf("healthy after its end: %v, %s", err, out)
	}
}

func TestManyTakeFreePorts(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]bool{}
	const servers = 6
	for range servers {
		dir := t.TempDir()
		group.Go(func() {
			p, err := tryLaunch(t, command("--data-dir", dir, "--bucket", bucket))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen[p.ready.Endpoint] = true
		})
	}
	group.Wait()
	if len(seen) != servers {
		t.Errorf("%d servers have %d endpoints: %v", servers, len(seen), seen)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := serve(t, dir)
	address := strings.TrimPrefix(p.ready.Endpoint, "http://")
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"folder in use":  {[]string{"--data-dir", dir}, 1, "in use"},
		"port in use":    {[]string{"--data-dir", t.TempDir(), "--listen", address}, 1, "address already in use"},
		"no port":        {[]string{"--data-dir", t.TempDir(), "--listen", "localhost"}, 1, "host:port"},
		"bucket name":    {[]string{"--data-dir", t.TempDir(), "--bucket", "A"}, 1, "create bucket"},
		"health bucket":  {[]string{"--data-dir", t.TempDir(), "--bucket", "healthz"}, 1, "health path"},
		"folder is file": {[]string{"--data-dir", binary}, 1, "data dir"},
		"unknown flag":   {[]string{"--bogus"}, 2, "unknown flag"},
		"no folder":      {nil, 2, "--data-dir"},
		"metadata":       {[]string{"--data-dir", t.TempDir(), "--metadata", "x"}, 2, "--metadata"},
	} {
		out, err := command(test.args...).CombinedOutput()
		if exitCode(err) != test.code || !strings.Contains(string(out), test.says) || strings.Contains(string(out), secretKey) {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
}

func exitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 0
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"healthcheck", "--help"}, {"version"}} {
		out, err := command(args...).Output()
		if err != nil || len(out) == 0 || bytes.Contains(out, []byte(secretKey)) {
			t.Errorf("%v: %v, %s", args, err, out)
		}
	}
}

func TestMD5OnDemand(t *testing.T) {
	t.Parallel()
	body := []byte("body")
	sum := md5.Sum(body)
	want := strconv.Quote(hex.EncodeToString(sum[:]))
	for _, args := range [][]string{{}, {"--md5"}} {
		out, err := put(t.Context(), serve(t, t.TempDir(), args...).client(), "k", body)
		if err != nil {
			t.Fatal(err)
		}
		if got := aws.ToString(out.ETag); (got == want) != (len(args) > 0) {
			t.Errorf("%v: ETag %s", args, got)
		}
	}
}

func TestPutsAreHeldBack(t *testing.T) {
	t.Parallel()
	const delay = 100 * time.Millisecond
	c := serve(t, t.TempDir(), "--put-delay", delay.String()).client()
	began := time.Now()
	if _, err := put(t.Context(), c, "k", []byte("body")); err != nil || time.Since(began) < delay {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if body, _ := get(t, c, "k"); string(body) != "body" {
		t.Errorf("stored %q", body)
	}
	if _, err := put(t.Context(), c, "k", []byte("other")); err == nil {
		t.Error("a key was written twice")
	}
}

// Root runs it as somebody else; otherwise all the other tests have shown it already.
func TestWorksAsAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("the other tests run as an ordinary user")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip("there is no user nobody")
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	dir, err := os.MkdirTemp("", "devs3-nobody") //nolint:usetesting // a test's own folder is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	cmd := command("--data-dir", filepath.Join(dir, "data"), "--bucket", bucket)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	p := launch(t, cmd)
	if _, err := put(t.Context(), p.client(), "a/b", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if body, _ := get(t, p.client(), "a/b"); string(body) != "x" {
		t.Errorf("got %q", body)
	}
}
