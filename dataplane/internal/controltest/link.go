package controltest

import (
	"context"
	"errors"
	"path"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
)

// errLost is what a caller sees of a lost request or answer: no verdict of a peer.
var errLost = errors.New("connection lost")

// Link is what lies between one agent and the control plane. Its zero value loses nothing.
type Link struct {
	mu       sync.Mutex
	cut      bool
	requests map[string]int // lose so many requests of a method
	answers  map[string]int // lose so many answers of a method
	hold     map[string]chan struct{}
	slow     map[string]time.Duration
}

// Cut loses everything, or nothing any more.
func (l *Link) Cut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
}

// LoseRequests loses the next n requests of a method, by its short name.
func (l *Link) LoseRequests(method string, n int) { l.set(&l.requests, method, n) }

// LoseAnswers loses the next n answers of a method.
func (l *Link) LoseAnswers(method string, n int) { l.set(&l.answers, method, n) }

// Hold keeps requests of a method back until release is called.
func (l *Link) Hold(method string) (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hold == nil {
		l.hold = map[string]chan struct{}{}
	}
	held := make(chan struct{})
	l.hold[method] = held
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.hold, method)
		close(held)
	}
}

// Slow makes the answers of a method take so long.
func (l *Link) Slow(method string, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.slow == nil {
		l.slow = map[string]time.Duration{}
	}
	l.slow[method] = d
}

func (l *Link) delay(method string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.slow[method]
}

func (l *Link) set(counts *map[string]int, method string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if *counts == nil {
		*counts = map[string]int{}
	}
	(*counts)[method] = n
}

func (l *Link) loses(counts map[string]int, method string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return true
	}
	if counts[method] == 0 {
		return false
	}
	counts[method]--
	return true
}

func (l *Link) wait(ctx context.Context, method string) error {
	l.mu.Lock()
	held := l.hold[method]
	l.mu.Unlock()
	if held == nil {
		return nil
	}
	select {
	case <-held:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Interceptor puts the link in front of calls to the control plane.
func (l *Link) Interceptor() connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if !strings.HasPrefix(spec.Procedure, "/"+controlplanev1connect.AgentServiceName+"/") {
				return next(ctx, spec)
			}
			method := path.Base(spec.Procedure)
			if err := l.wait(ctx, method); err != nil {
				return nil, err
			}
			if l.loses(l.requests, method) {
				return nil, errLost
			}
			stream, err := next(ctx, spec)
			if err != nil {
				return nil, err
			}
			return &linked{ClientStream: stream, link: l, method: method}, nil
		}
	}
}

// linked loses answers.
type linked struct {
	connect.ClientStream
	link   *Link
	method string
}

func (s *linked) Receive(msg any) error {
	if err := s.ClientStream.Receive(msg); err != nil {
		return err
	}
	time.Sleep(s.link.delay(s.method)) // virtual time
	if s.link.loses(s.link.answers, s.method) {
		return errLost
	}
	return nil
}
