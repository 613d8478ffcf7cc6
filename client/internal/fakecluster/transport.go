package fakecluster

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"connectrpc.com/connect/v2"
)

// transport reaches an agent as a network would: dead ones refuse, dying ones cut, frozen ones keep silent.
type transport struct {
	cluster *Cluster
	agent   *agent
}

func (t *transport) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	if t.agent.life.Err() != nil {
		return nil, refused(URL(t.agent.id))
	}
	t.cluster.mu.Lock()
	thawed := t.agent.thawed
	t.cluster.requests[t.agent.id+"/"+spec.Procedure[strings.LastIndex(spec.Procedure, "/")+1:]]++
	t.cluster.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(t.agent.life, func() { cancel(errCut) }) //nolint:contextcheck // the agent's life is another context on purpose
	s, err := t.agent.server.NewClientStream(ctx, spec)
	if err != nil {
		return nil, err
	}
	return &stream{ClientStream: s, ctx: ctx, thawed: thawed, end: func() { stop(); cancel(nil) }}, nil
}

var errCut = errors.New("connection reset by peer")

func refused(url string) error {
	cause := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	return connect.Errorf(connect.CodeUnavailable, "dial %s: %s", url, cause).WithCause(cause)
}

// stream is a call that ends when its agent does.
type stream struct {
	connect.ClientStream

	ctx    context.Context //nolint:containedctx // the call's
	thawed chan struct{}
	end    func()
}

func (s *stream) Receive(msg any) error {
	select {
	case <-s.thawed:
	case <-s.ctx.Done():
		return s.verdict(s.ctx.Err())
	}
	err := s.ClientStream.Receive(msg)
	return s.verdict(err)
}

// verdict replaces what a dead agent, or a cut connection, would never have said.
func (s *stream) verdict(err error) error {
	switch {
	case context.Cause(s.ctx) == errCut || errors.Is(err, errLost): //nolint:errorlint // the cause itself
		return connect.NewError(connect.CodeCanceled, errCut.Error()).WithCause(io.ErrUnexpectedEOF)
	case s.ctx.Err() != nil:
		return s.ctx.Err()
	}
	return err
}

func (s *stream) Close() error {
	defer s.end()
	return s.ClientStream.Close()
}

// nowhere is an address at which nobody listens.
type nowhere struct{ url string }

func (n nowhere) NewClientStream(context.Context, connect.Spec) (connect.ClientStream, error) {
	return nil, refused(n.url)
}
