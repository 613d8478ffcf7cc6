// Package session keeps the agent's session with the control plane: registers, sends heartbeats, follows the placement, and knows on the
// monotonic clock until when the session surely lives.
// Nothing here holds leases or records; whoever does asks Alive and hears of Ended.
//
//	register -> live (heartbeats, watch) -> ended -> (the holder settles what it holds) -> register ...
//	                                          superseded -> Run returns ErrSuperseded
//
// Promises: P10 (the deadline counts from before the request that was answered), self-fencing (past it, not Alive).
// Read: session.go, keeper.go, watch.go.
package session

import (
	"errors"
	"sync"
	"time"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
)

// Why a session ended.
var (
	// ErrSuperseded: another process has registered under this agent id. This one must exit.
	ErrSuperseded = errors.New("session superseded: another process uses this agent id")
	// ErrRevoked: the control plane has not known the agent's key for as long as a session lasts. Nothing will be answered any more.
	ErrRevoked = errors.New("the agent's key is not valid any more")
	// ErrExpired: the control plane has ended the session.
	ErrExpired = errors.New("session expired")
)

// Session is one session. It is safe for concurrent use.
type Session struct {
	// ID and Incarnation are the control plane's.
	ID          object.UUID
	Incarnation int32

	ended chan struct{} // closed once, with cause set
	shown chan struct{} // closed by the heartbeats, once: the catalog has taken all evidence

	mu       sync.Mutex
	deadline time.Time // monotonic
	cause    error
}

func newSession(id object.UUID, incarnation int32, deadline time.Time) *Session {
	return &Session{ID: id, Incarnation: incarnation, deadline: deadline, ended: make(chan struct{}), shown: make(chan struct{})}
}

// Alive tells whether the control plane has surely not ended the session for silence. Past the deadline an agent acknowledges nothing that
// is only buffered, and claims no leadership.
func (s *Session) Alive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause == nil && time.Now().Before(s.deadline)
}

// Ended is closed when the control plane has said that the session is over.
func (s *Session) Ended() <-chan struct{} { return s.ended }

// Cause is ErrSuperseded, ErrExpired, ErrRevoked, or nil while the session has not ended.
func (s *Session) Cause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// renewed moves the deadline; a late answer never moves it back.
func (s *Session) renewed(deadline time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if deadline.After(s.deadline) {
		s.deadline = deadline
	}
}

func (s *Session) end(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil {
		s.cause = cause
		close(s.ended)
	}
}
