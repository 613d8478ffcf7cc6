package objectstore_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore/s3test"
	"github.com/streamhouse/streamhouse/serve/secret"
)

// faults is a transport whose nth request (from 0) of a method may go wrong.
type faults struct {
	inner http.RoundTripper
	// trip replaces the round trip.
	trip func(n int, req *http.Request, inner http.RoundTripper) (*http.Response, error)

	mu   sync.Mutex // guards seen
	seen map[string]int
}

func (f *faults) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	if f.seen == nil {
		f.seen = map[string]int{}
	}
	n := f.seen[req.Method]
	f.seen[req.Method]++
	f.mu.Unlock()
	return f.trip(n, req, f.inner)
}

func (f *faults) count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen[method]
}

func newFaulty(t *testing.T, server *s3test.Server, trip func(int, *http.Request, http.RoundTripper) (*http.Response, error)) (*objectstore.S3, *faults) {
	t.Helper()
	inner := &http.Transport{}
	t.Cleanup(inner.CloseIdleConnections)
	f := &faults{inner: inner, trip: trip}
	return newS3(t, server, func(c *objectstore.Config) { c.Transport = f }), f
}

var errCut = errors.New("connection cut")

// loseAnswer sends the request and keeps the answer to itself.
func loseAnswer(req *http.Request, inner http.RoundTripper) (*http.Response, error) {
	resp, err := inner.RoundTrip(req)
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		err = errCut
	}
	return nil, err
}

func answer(req *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

const slowDown = `<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>slow down</Message></Error>`

func TestP8_RepeatedPutThatHadWonIsSuccess(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	store, f := newFaulty(t, server, func(n int, req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		if req.Method == http.MethodPut && n == 0 {
			return loseAnswer(req, inner)
		}
		return inner.RoundTrip(req)
	})
	put(t, store, "k", []byte("body"))
	if puts := f.count(http.MethodPut); puts != 1 {
		t.Errorf("%d PUTs: the second attempt should have looked first", puts)
	}
}

func TestP8_RepeatedPutOfOtherBytesIsAConflict(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	put(t, newS3(t, server), "k", []byte("theirs"))
	store, _ := newFaulty(t, server, func(n int, req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		if req.Method == http.MethodPut && n == 0 {
			return loseAnswer(req, inner)
		}
		return inner.RoundTrip(req)
	})
	ours := []byte("ours!!")
	op := wantError(t, store.Put(t.Context(), "k", [][]byte{ours}, objectstore.Checksum(ours)), objectstore.ErrConflict)
	if op.MayHaveArrived {
		t.Errorf("%v: a conflict is definite", op)
	}
}

// A store that keeps no checksums is compared byte by byte.
func TestP8_ConflictWithoutChecksums(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	store, f := newFaulty(t, server, func(_ int, req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		resp, err := inner.RoundTrip(req)
		if err == nil && req.Method == http.MethodHead {
			resp.Header.Del("X-Amz-Checksum-Crc32c")
		}
		return resp, err
	})
	put(t, store, "k", []byte("body"))
	put(t, store, "k", []byte("body"))
	other := []byte("BODY")
	wantError(t, store.Put(t.Context(), "k", [][]byte{other}, objectstore.Checksum(other)), objectstore.ErrConflict)
	if gets := f.count(http.MethodGet); gets != 2 {
		t.Errorf("%d GETs, want one a comparison", gets)
	}
}

// P6: after a PUT that was not answered and a HEAD that was not either, nobody knows.
func TestP6_UnansweredPutMayHaveArrived(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	store, f := newFaulty(t, server, func(_ int, req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		return loseAnswer(req, inner)
	})
	op := wantError(t, store.Put(t.Context(), "k", nil, 0), objectstore.ErrUnavailable)
	if !op.MayHaveArrived || op.Attempts != 5 || f.count(http.MethodPut) != 1 {
		t.Errorf("%v after %d PUTs", op, f.count(http.MethodPut))
	}
}

// P6: no connection, no harm.
func TestP6_UnreachableStoreSurelyGotNothing(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	store := newS3(t, server)
	server.Kill(t)
	op := wantError(t, store.Put(t.Context(), "k", nil, 0), objectstore.ErrUnavailable)
	if op.MayHaveArrived || op.Attempts != 5 {
		t.Errorf("got %v", op)
	}
	server.Restart(t)
	put(t, store, "k", []byte("body"))
}

func TestP1_ObjectsSurviveAKilledServer(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	store := newS3(t, server)
	body := bytes.Repeat([]byte("0123456789"), 100_000)
	put(t, store, "a/k", body)
	server.Kill(t)
	server.Restart(t)
	got := make([]byte, len(body))
	if err := store.GetRange(t.Context(), "a/k", 0, got); err != nil || !bytes.Equal(got, body) {
		t.Fatal(err)
	}
	put(t, store, "a/k", body)
	put(t, store, "a/l", body)
}

// A server that is stopped accepts connections and says nothing.
func TestP6_SilentStoreEndsWithTheContext(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	store := newS3(t, server)
	server.Pause(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	op := wantError(t, store.Put(ctx, "k", [][]byte{[]byte("body")}, objectstore.Checksum([]byte("body"))), objectstore.ErrUnavailable)
	if !errors.Is(op, context.DeadlineExceeded) || !op.MayHaveArrived || !objectstore.MayHaveArrived(op) {
		t.Errorf("got %v", op)
	}
	server.Resume(t)
	put(t, store, "l", []byte("body"))
}

func TestSilentStoreEndsWithTheAttempts(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	store := newS3(t, server, func(c *objectstore.Config) { c.Attempts, c.AttemptTimeout = 2, 100*time.Millisecond })
	server.Pause(t)
	_, err := store.Head(t.Context(), "k")
	if op := wantError(t, err, objectstore.ErrUnavailable); op.Attempts != 2 || op.MayHaveArrived {
		t.Errorf("got %v", op)
	}
}

func TestThrottlingIsRetried(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	store, f := newFaulty(t, server, func(n int, req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		if n < 3 {
			return answer(req, http.StatusServiceUnavailable, slowDown), nil
		}
		return inner.RoundTrip(req)
	})
	put(t, store, "k", []byte("body"))
	if err := store.GetRange(t.Context(), "k", 0, make([]byte, 4)); err != nil {
		t.Error(err)
	}
	if err := store.Delete(t.Context(), []string{"k"}); err != nil {
		t.Error(err)
	}
	if f.count(http.MethodPut) != 4 || f.count(http.MethodGet) != 4 {
		t.Errorf("seen: %v", f.seen)
	}
}

func TestAnswerCutInTheMiddleIsReadAgain(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	store, f := newFaulty(t, server, func(n int, req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		resp, err := inner.RoundTrip(req)
		if err == nil && req.Method == http.MethodGet && n < 2 {
			resp.Body = cutBody{Reader: io.LimitReader(resp.Body, 5), Closer: resp.Body}
		}
		return resp, err
	})
	put(t, store, "k", []byte("0123456789"))
	got := make([]byte, 10)
	if err := store.GetRange(t.Context(), "k", 0, got); err != nil || string(got) != "0123456789" || f.count(http.MethodGet) != 3 {
		t.Errorf("%q, %v, %d GETs", got, err, f.count(http.MethodGet))
	}
}

type cutBody struct {
	io.Reader
	io.Closer
}

func TestRefusalsAreNotRetried(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	for name, change := range map[string]func(*objectstore.Config){
		"wrong secret":   func(c *objectstore.Config) { c.SecretKey = secret.New("wrong-but-silent") },
		"missing bucket": func(c *objectstore.Config) { c.Bucket = "no-such-bucket" },
	} {
		store := newS3(t, server, change)
		op := wantError(t, store.Put(t.Context(), "k", nil, 0), objectstore.ErrRefused)
		if op.Attempts != 1 || op.MayHaveArrived || strings.Contains(op.Error(), "wrong-but-silent") {
			t.Errorf("%s: %v", name, op)
		}
		wantError(t, store.GetRange(t.Context(), "k", 0, make([]byte, 1)), objectstore.ErrRefused)
	}
}

func TestRedirectsAreRefused(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	store, f := newFaulty(t, server, func(_ int, req *http.Request, _ http.RoundTripper) (*http.Response, error) {
		resp := answer(req, http.StatusTemporaryRedirect, "")
		resp.Header.Set("Location", "http://elsewhere.invalid/")
		return resp, nil
	})
	op := wantError(t, store.Put(t.Context(), "k", nil, 0), objectstore.ErrRefused)
	if op.Attempts != 1 || op.MayHaveArrived || f.count(http.MethodPut) != 1 {
		t.Errorf("%v after %d PUTs", op, f.count(http.MethodPut))
	}
}

// The cheap way to send a body: our CRC-32C, no SHA-256, no extra round trip; and the condition.
func TestPutHeaders(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	var header http.Header
	store, _ := newFaulty(t, server, func(_ int, req *http.Request, inner http.RoundTripper) (*http.Response, error) {
		header = req.Header.Clone()
		return inner.RoundTrip(req)
	})
	body := make([]byte, 4<<20)
	put(t, store, "k", body)
	sum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, objectstore.Checksum(body)))
	for name, want := range map[string]string{
		"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD", "X-Amz-Checksum-Crc32c": sum, "If-None-Match": "*",
		"Expect": "", "Content-Encoding": "", "X-Amz-Trailer": "", "X-Amz-Sdk-Checksum-Algorithm": "",
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// Waits on virtual time: each at most its bound, all of them together too, and a definite end.
func TestBackOffIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		start := time.Now()
		store, err := objectstore.NewS3(t.Context(), objectstore.Config{
			Bucket: "b", Endpoint: "http://store.invalid", Region: "r", PathStyle: true, AccessKey: "a", SecretKey: secret.New("s"),
			Attempts: 8, BackoffBase: 100 * time.Millisecond, BackoffMax: time.Second,
			Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
				at = append(at, time.Since(start))
				return answer(req, http.StatusInternalServerError, ""), nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		op := wantError(t, store.Put(t.Context(), "k", nil, 0), objectstore.ErrUnavailable)
		if !op.MayHaveArrived || len(at) != 8 {
			t.Fatalf("%v, requests at %v", op, at)
		}
		for i, limit := range []int{100, 200, 400, 800, 1000, 1000, 1000} {
			limit := time.Duration(limit) * time.Millisecond
			if wait := at[i+1] - at[i]; wait <= 0 || wait > limit {
				t.Errorf("wait %d is %v, bound %v", i, wait, limit)
			}
		}
	})
}

func TestBackOffEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, err := objectstore.NewS3(t.Context(), objectstore.Config{
			Bucket: "b", Endpoint: "http://store.invalid", Region: "r", PathStyle: true, AccessKey: "a", SecretKey: secret.New("s"),
			Attempts: 20, BackoffBase: time.Minute, BackoffMax: time.Minute,
			Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		op := wantError(t, store.Put(ctx, "k", nil, 0), objectstore.ErrUnavailable)
		if !errors.Is(op, context.DeadlineExceeded) || op.MayHaveArrived || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %v", op, time.Since(start))
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// Stores that promise less than they should are found out.
func TestSelfTestNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	without := func(method, header string) *objectstore.S3 {
		store, _ := newFaulty(t, server, func(_ int, req *http.Request, inner http.RoundTripper) (*http.Response, error) {
			if req.Method == method {
				req = req.Clone(req.Context())
				req.Header.Del(header)
			}
			return inner.RoundTrip(req)
		})
		return store
	}
	for _, test := range []struct {
		lacks string
		store objectstore.Store
		want  []string
	}{
		{"ranges", without(http.MethodGet, "Range"), []string{"GET must honour ranges", "GET must honour suffix ranges", "GET must tell when a range passes the end"}},
		{"conditions", forgetful{&objectstore.Memory{}}, []string{"PUT with If-None-Match: * must refuse a key that is taken (412)"}},
		{"checksums", gullible{&objectstore.Memory{}}, []string{"PUT must refuse a body that does not match its CRC-32C", "HEAD must tell an object's CRC-32C", "a list must show what was written, at once, and nothing else"}},
	} {
		var lacking *objectstore.CapabilityError
		if err := objectstore.SelfTest(t.Context(), test.store, "g/"); !errors.As(err, &lacking) {
			t.Errorf("without %s: %v", test.lacks, err)
		} else if !slices.Equal(lacking.Missing, test.want) {
			t.Errorf("without %s: missing %q", test.lacks, lacking.Missing)
		}
	}
	refused := newS3(t, server, func(c *objectstore.Config) { c.SecretKey = secret.New("wrong") })
	if err := objectstore.SelfTest(t.Context(), refused, ""); !errors.Is(err, objectstore.ErrRefused) {
		t.Errorf("got %v", err)
	}
}

// forgetful overwrites.
type forgetful struct{ *objectstore.Memory }

func (s forgetful) Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error {
	if objectstore.ChecksumOf(body) == crc32c {
		_ = s.Memory.Delete(ctx, []string{key})
	}
	err := s.Memory.Put(ctx, key, body, crc32c)
	if whole := bytes.Join(body, nil); bytes.Equal(whole, bytes.ToUpper(whole)) { // put back what the test reads later
		_ = s.Memory.Delete(ctx, []string{key})
	}
	return err
}

// gullible neither checks nor tells checksums.
type gullible struct{ *objectstore.Memory }

func (s gullible) Put(ctx context.Context, key string, body [][]byte, _ uint32) error {
	return s.Memory.Put(ctx, key, body, objectstore.ChecksumOf(body))
}

func (s gullible) Head(ctx context.Context, key string) (objectstore.Info, error) {
	info, err := s.Memory.Head(ctx, key)
	info.CRC32C, info.HasCRC32C = 0, false
	return info, err
}

func TestConfigIsValidated(t *testing.T) {
	t.Parallel()
	good := objectstore.Config{Bucket: "b", Region: "r", AccessKey: "a", SecretKey: secret.New("s")}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*objectstore.Config){
		"bucket":      func(c *objectstore.Config) { c.Bucket = "" },
		"half a key":  func(c *objectstore.Config) { c.AccessKey = "" },
		"scheme":      func(c *objectstore.Config) { c.Endpoint = "ftp://x" },
		"host":        func(c *objectstore.Config) { c.Endpoint = "localhost:9000" },
		"attempts":    func(c *objectstore.Config) { c.Attempts = 21 },
		"timeout":     func(c *objectstore.Config) { c.AttemptTimeout = time.Nanosecond },
		"backoff":     func(c *objectstore.Config) { c.BackoffMax = -1 },
		"connections": func(c *objectstore.Config) { c.MaxConnections = -1 },
	} {
		bad := good
		spoil(&bad)
		if err := bad.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := objectstore.NewS3(t.Context(), bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Over https, too, the payload is left out of the signature and not sent in signed chunks: the checksum guards it.
func TestPutOverTLSIsUnsignedWithItsChecksum(t *testing.T) {
	t.Parallel()
	body := []byte("body")
	var seen *http.Request
	store, err := objectstore.NewS3(t.Context(), objectstore.Config{
		Bucket: "bucket", Endpoint: "https://s3.example.com", Region: "eu-west-1", AccessKey: "k", SecretKey: secret.New("s"),
		Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			seen = req
			return answer(req, http.StatusOK, ""), nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	put(t, store, "k", body)
	sum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, objectstore.Checksum(body)))
	for name, want := range map[string]string{
		"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD", "X-Amz-Checksum-Crc32c": sum, "If-None-Match": "*", "Content-Encoding": "", "X-Amz-Trailer": "",
	} {
		if got := seen.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if seen.URL.Scheme != "https" || seen.ContentLength != int64(len(body)) {
		t.Errorf("%s with %d bytes", seen.URL, seen.ContentLength)
	}
}

// An attempt has the longer the more bytes it moves.
func TestAttemptTimeoutGrowsWithSize(t *testing.T) {
	t.Parallel()
	var left time.Duration
	store, err := objectstore.NewS3(t.Context(), objectstore.Config{
		Bucket: "bucket", Endpoint: "https://s3.example.com", Region: "eu-west-1", AccessKey: "k", SecretKey: secret.New("s"),
		Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			until, _ := req.Context().Deadline()
			left = time.Until(until).Round(time.Second)
			return answer(req, http.StatusOK, ""), nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for size, want := range map[int]time.Duration{4: 5 * time.Second, 8 << 20: 13 * time.Second} {
		put(t, store, "k", make([]byte, size))
		if left < want-2*time.Second || left > want { // a busy machine is late, never early
			t.Errorf("%d bytes: %v, want %v", size, left, want)
		}
	}
}
