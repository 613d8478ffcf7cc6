package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Losses make the ways of agents to control planes and to the bucket as bad as they may be: calls are held up, some for very long, some never arrive, and
// of some that have arrived the answer is lost. Streams of changes are left alone, and so are clients' calls.
type Losses struct {
	// Seed of what happens to which call; only the order in which calls come is left to chance.
	Seed uint64
	// Requests and Answers are the shares of calls that are lost on their way and on the way back.
	Requests, Answers float64
	// Delay bounds how long any call is held up. Of those that Slow picks (nil: all) the share Late waits up to LateDelay instead.
	Delay, LateDelay time.Duration
	Late             float64
	Slow             func(*http.Request) bool

	over   atomic.Bool
	mu     sync.Mutex // guards random
	random *rand.Rand
	lost   atomic.Int64
}

// End lets everything through from now on, and says how many calls were lost.
func (l *Losses) End() int64 {
	l.over.Store(true)
	return l.lost.Load()
}

// fate of a call.
type fate struct {
	delay                     time.Duration
	requestLost, answerIsLost bool
}

func (l *Losses) draw(r *http.Request) (f fate) {
	if l.over.Load() {
		return fate{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.random == nil {
		l.random = rand.New(rand.NewPCG(l.Seed, 7))
	}
	most := l.Delay
	if l.random.Float64() < l.Late && (l.Slow == nil || l.Slow(r)) {
		most = l.LateDelay
	}
	if most > 0 {
		f.delay = time.Duration(l.random.Int64N(int64(most)))
	}
	f.requestLost, f.answerIsLost = l.random.Float64() < l.Requests, l.random.Float64() < l.Answers
	return f
}

var errLost = errors.New("lost")

// way is one that calls are lost on.
type way struct {
	losses *Losses
	to     *httputil.ReverseProxy
}

// newWay serves until the test ends and returns its base URL. h2: the server is reached by HTTP/2.
func newWay(t testing.TB, losses *Losses, base string, h2 bool) string {
	t.Helper()
	target, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	if h2 {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	w := &way{losses: losses, to: &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.Host = r.In.Host // requests to a bucket are signed with it
		},
		ModifyResponse: func(r *http.Response) error {
			if lost, _ := r.Request.Context().Value(answerIsLost{}).(bool); lost {
				return errLost
			}
			return nil
		},
		// A connection, or stream, that breaks: nobody learns what has become of the call.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return serveUntilEnd(t, w)
}

// answerIsLost marks a call in its context.
type answerIsLost struct{}

func (w *way) ServeHTTP(answer http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/Watch") {
		w.to.ServeHTTP(answer, r)
		return
	}
	f := w.losses.draw(r)
	if f.requestLost || f.answerIsLost {
		w.losses.lost.Add(1)
	}
	ctx := r.Context()
	select {
	case <-ctx.Done():
	case <-time.After(f.delay):
	}
	if f.requestLost {
		panic(http.ErrAbortHandler)
	}
	w.to.ServeHTTP(answer, r.WithContext(context.WithValue(ctx, answerIsLost{}, f.answerIsLost)))
}
