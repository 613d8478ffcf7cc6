package flush

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore"
	"github.com/streamhouse/streamhouse/dataplane/internal/objectstore/s3test"
	"github.com/streamhouse/streamhouse/serve/secret"
)

// stalling is a bucket of which some attempts never answer, by the number of the attempt (from 0).
type stalling struct {
	objectstore.Memory

	takes    time.Duration
	stalls   func(n int64) bool
	fails    func(n int64) error
	attempts atomic.Int64
}

func (s *stalling) Put(ctx context.Context, key string, body [][]byte, crc32c uint32) error {
	n := s.attempts.Add(1) - 1
	takes := s.takes
	if s.stalls != nil && s.stalls(n) {
		takes = time.Hour
	}
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.fails != nil && s.fails(n) != nil {
		return s.fails(n)
	}
	return s.Memory.Put(ctx, key, body, crc32c)
}

func putThrough(h *hedger, key, body string) (attempts int, took time.Duration, err error) {
	began := time.Now()
	bytes := []byte(body)
	attempts, err = h.put(context.Background(), key, [][]byte{bytes}, int64(len(bytes)), objectstore.Checksum(bytes))
	return attempts, time.Since(began), err
}

func TestP8_StalledPutIsBegunASecondTimeUnderItsKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &stalling{takes: 30 * time.Millisecond, stalls: func(n int64) bool { return n == 50 }}
		h := newHedger(store)
		for i := range 50 {
			if attempts, took, err := putThrough(h, fmt.Sprint(i), "body"); err != nil || attempts != 1 || took != store.takes {
				t.Fatalf("%d attempts, %v, %v", attempts, took, err)
			}
		}
		attempts, took, err := putThrough(h, "slow", "body")
		if err != nil || attempts != 2 || took != leastPatience+store.takes {
			t.Fatalf("%d attempts, %v, %v", attempts, took, err)
		}
		if info, err := store.Head(t.Context(), "slow"); err != nil || info.SizeBytes != 4 {
			t.Fatalf("%+v, %v", info, err)
		}
	})
}

// A bucket that is slow for all gets few hedges.
func TestHedgesHaveABudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const puts = 400
		store := &stalling{stalls: func(n int64) bool { return false }}
		h := newHedger(store)
		for i := range puts {
			store.takes = 10 * time.Millisecond
			if i%2 == 1 { // every other one is slow
				store.takes = 5 * time.Second
			}
			if _, _, err := putThrough(h, fmt.Sprint(i), "body"); err != nil {
				t.Fatal(err)
			}
		}
		if hedges := store.attempts.Load() - puts; hedges > puts*hedgeShare+hedgeBurst {
			t.Fatalf("%d hedges of %d PUTs", hedges, puts)
		}
	})
}

// One attempt's failure is no answer while the other is on its way; a conflict is one.
func TestP6_HedgedPutFailsOnlyWhenBothDo(t *testing.T) {
	t.Parallel()
	lost := errors.New("lost")
	for name, test := range map[string]struct {
		first, second error
		want          error
	}{
		"first fails":  {lost, nil, nil},
		"second fails": {nil, lost, nil},
		"both fail":    {lost, lost, lost},
		"conflict":     {objectstore.ErrConflict, nil, objectstore.ErrConflict},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := &stalling{takes: firstPatience + time.Millisecond, fails: func(n int64) error {
					if n == 0 {
						return test.first
					}
					return test.second
				}}
				attempts, _, err := putThrough(newHedger(store), "k", "body")
				if !errors.Is(err, test.want) || attempts != 2 {
					t.Fatalf("%d attempts: %v", attempts, err)
				}
			})
		})
	}
}

// silent lets the first PUT arrive and keeps its answer to itself.
type silent struct {
	inner http.RoundTripper
	puts  atomic.Int64
}

func (s *silent) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPut || s.puts.Add(1) > 1 {
		return s.inner.RoundTrip(req)
	}
	resp, err := s.inner.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// On a real server the second attempt finds the key taken, by its own bytes.
func TestP8_HedgeOfAPutThatHadWonIsSuccess(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	inner := &http.Transport{}
	t.Cleanup(inner.CloseIdleConnections)
	transport := &silent{inner: inner}
	store, err := objectstore.NewS3(t.Context(), objectstore.Config{
		Bucket: server.Bucket, Endpoint: server.Endpoint, Region: server.Region, PathStyle: true,
		AccessKey: server.AccessKey, SecretKey: secret.New(server.SecretKey), Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	attempts, took, err := putThrough(newHedger(store), "k", "body")
	if err != nil || attempts != 2 || transport.puts.Load() != 2 || took > 5*time.Second {
		t.Fatalf("%d attempts, %d PUTs, %v: %v", attempts, transport.puts.Load(), took, err)
	}
}
