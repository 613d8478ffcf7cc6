// Package catalog is the agent's way to the control plane: AgentService and JobService behind several addresses, tried in turn.
// Nothing here remembers what was answered, and nothing decides what an answer means.
//
// Every call but Watch tries each address at most once, beginning with the one that answered last, and gives each its
// share of the time that is left. A peer's verdict (a refusal) is final; what is not a verdict is tried elsewhere, which
// is safe because every method may be repeated.
//
// Promises: P6 (an error that is not a verdict says "possibly").
// Read: catalog.go, calls.go, backoff.go.
package catalog

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
)

// Replicas is the number of addresses.
func (c *Client) Replicas() int { return len(c.replicas) }

// Client calls the control plane. It is safe for concurrent use.
type Client struct {
	replicas  []replica
	preferred atomic.Int64
	attempt   time.Duration
}

// replica is the control plane at one address.
type replica struct {
	controlplanev1connect.AgentServiceClient
	jobs   controlplanev1connect.JobServiceClient
	stream controlplanev1connect.AgentServiceClient // for Watch
}

// DefaultAttempt bounds one attempt at one address.
const DefaultAttempt = 5 * time.Second

// Replica is a way to the control plane at one address. Stream is for what lasts; nil: Calls is for both.
type Replica struct{ Calls, Stream connect.Transport }

// New returns a client of these replicas, one for each control-plane address (at least one). attempt bounds a single
// attempt; 0 means DefaultAttempt.
func New(replicas []Replica, attempt time.Duration, interceptors ...connect.ClientInterceptor) (*Client, error) {
	if len(replicas) == 0 {
		return nil, errors.New("no control-plane address")
	}
	if attempt <= 0 {
		attempt = DefaultAttempt
	}
	c := &Client{attempt: attempt}
	for _, r := range replicas {
		if r.Stream == nil {
			r.Stream = r.Calls
		}
		calls := connect.NewClient(r.Calls, interceptors...)
		c.replicas = append(c.replicas, replica{
			AgentServiceClient: controlplanev1connect.NewAgentServiceClient(calls), jobs: controlplanev1connect.NewJobServiceClient(calls),
			stream: controlplanev1connect.NewAgentServiceClient(connect.NewClient(r.Stream, interceptors...)),
		})
	}
	return c, nil
}

// IsVerdict tells whether err is the control plane's own, definite answer. All else (a lost connection, a deadline, a
// replica that could not reach the database) may have been executed.
func IsVerdict(err error) bool {
	var e *connect.Error
	if !errors.As(err, &e) || !e.IsRemote() {
		return false
	}
	switch e.Code() {
	case connect.CodeUnavailable, connect.CodeInternal, connect.CodeUnknown, connect.CodeDeadlineExceeded,
		connect.CodeCanceled, connect.CodeAborted, connect.CodeResourceExhausted, connect.CodeUnimplemented:
		return false
	default:
		return true
	}
}

func call[Req, Res any](
	ctx context.Context, c *Client, req Req, method func(controlplanev1connect.AgentServiceClient, context.Context, Req) (Res, error),
) (Res, error) {
	return inTurn(ctx, c, func(ctx context.Context, r replica) (Res, error) { return method(r.AgentServiceClient, ctx, req) })
}

func callJobs[Req, Res any](
	ctx context.Context, c *Client, req Req, method func(controlplanev1connect.JobServiceClient, context.Context, Req) (Res, error),
) (Res, error) {
	return inTurn(ctx, c, func(ctx context.Context, r replica) (Res, error) { return method(r.jobs, ctx, req) })
}

// inTurn tries the replicas in turn until one gives a verdict.
func inTurn[Res any](ctx context.Context, c *Client, method func(context.Context, replica) (Res, error)) (Res, error) {
	var res Res
	var err error
	first := c.preferred.Load()
	for i := range c.replicas {
		at := (int(first) + i) % len(c.replicas)
		res, err = try(ctx, c.share(ctx, len(c.replicas)-i), func(ctx context.Context) (Res, error) { return method(ctx, c.replicas[at]) })
		if err == nil || IsVerdict(err) {
			return res, err
		}
		c.avoid(at)
		if ctx.Err() != nil {
			break
		}
	}
	return res, err
}

// share is the time for one attempt when so many addresses are left to try.
func (c *Client) share(ctx context.Context, left int) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return c.attempt
	}
	return min(c.attempt, time.Until(deadline)/time.Duration(left))
}

func try[Res any](ctx context.Context, limit time.Duration, f func(context.Context) (Res, error)) (Res, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return f(ctx)
}

// avoid prefers the next replica, unless somebody has moved on already.
func (c *Client) avoid(replica int) {
	c.preferred.CompareAndSwap(int64(replica), int64((replica+1)%len(c.replicas)))
}

// Watch opens the stream of placement changes at the preferred replica. The caller closes it; when it breaks the next
// call goes to another replica.
func (c *Client) Watch(ctx context.Context, req *controlplanev1.WatchRequest) (*Watch, error) {
	at := int(c.preferred.Load())
	stream, err := c.replicas[at].stream.Watch(ctx, req)
	if err != nil {
		if !IsVerdict(err) {
			c.avoid(at)
		}
		return nil, err
	}
	return &Watch{stream: stream, broken: func() { c.avoid(at) }}, nil
}

// Watch is an open stream of placement changes. One goroutine uses it.
type Watch struct {
	stream controlplanev1connect.AgentServiceWatchClientStream
	broken func()
}

// Receive waits for the next message.
func (w *Watch) Receive() (*controlplanev1.WatchResponse, error) {
	res, err := w.stream.Receive()
	if err != nil && !IsVerdict(err) {
		w.broken()
	}
	return res, err
}

// Close ends the stream.
func (w *Watch) Close() error { return w.stream.Close() }
