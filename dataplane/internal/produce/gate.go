package produce

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1/dataplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// callOverhead is what a call costs in memory beside its message, about.
const callOverhead = 8 << 10

// Gate bounds the memory of the calls that bring records: it lets them in, or refuses them before their message is read. A call is held from
// then until it is answered, so what it holds is in the bucket by then, or was refused. Safe for concurrent use.
type Gate struct {
	maxBytes   int64
	maxMessage int64
	overloaded atomic.Int64
	answered   atomic.Int64 // calls without an error
	waited     atomic.Int64 // ns that these took

	mu   sync.Mutex
	held int64
	by   map[string]int64 // by connection; no entry is 0
}

// NewGate returns a gate for maxBytes of messages, of maxMessage at most each.
func NewGate(maxBytes, maxMessage int) *Gate {
	return &Gate{maxBytes: int64(maxBytes), maxMessage: int64(maxMessage), by: map[string]int64{}}
}

// Interceptor goes where the caller is known and the message is not read yet.
func (g *Gate) Interceptor(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		info, ok := connect.CallInfoForServerContext(ctx)
		brings := spec.Procedure == dataplanev1connect.RecordServiceProduceProcedure ||
			spec.Procedure == dataplanev1connect.PeerServiceForwardProduceProcedure
		if !ok || !brings {
			return next(ctx, spec, stream)
		}
		size := g.sizeOf(info.RequestHeader().Get("Content-Length"))
		if !g.enter(info.PeerAddr, size) {
			g.overloaded.Add(1)
			return surelyNot(overloadedRefusal())
		}
		defer g.leave(info.PeerAddr, size)
		began := time.Now()
		err := next(ctx, spec, stream)
		if err == nil {
			g.answered.Add(1)
			g.waited.Add(int64(time.Since(began)))
		}
		return err
	}
}

// sizeOf is what a message of this length holds; one that does not say may be as large as any.
func (g *Gate) sizeOf(length string) int64 {
	n, err := strconv.ParseInt(length, 10, 64)
	if err != nil || n < 0 || n > g.maxMessage {
		n = g.maxMessage
	}
	return n + callOverhead
}

// enter keeps the same share for connections as the ledger does for partitions: one that holds something may hold no more than is left free.
func (g *Gate) enter(connection string, size int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	free, own := g.maxBytes-g.held-size, g.by[connection]
	if g.held > 0 && (free < 0 || own > 0 && own+size > free) {
		return false
	}
	g.held += size
	g.by[connection] = own + size
	return true
}

func (g *Gate) leave(connection string, size int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held -= size
	if g.by[connection] -= size; g.by[connection] == 0 {
		delete(g.by, connection)
	}
}

// Held is how many bytes are in.
func (g *Gate) Held() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held
}

// Answered is how many calls were answered without an error, and how long all of them took together.
func (g *Gate) Answered() (calls int64, took time.Duration) {
	return g.answered.Load(), time.Duration(g.waited.Load())
}

// Pressed tells whether calls hold half of what they may.
func (g *Gate) Pressed() bool { return g.Held() > g.maxBytes/2 }

// Overloaded is how many calls were refused.
func (g *Gate) Overloaded() int64 { return g.overloaded.Load() }

func overloadedRefusal() *refusalv1.Refusal {
	r := refusal.New(refusalv1.Reason_REASON_OVERLOADED, "this agent holds as many bytes as it may: come back later")
	r.RetryAfterMs = fullRetry.Milliseconds()
	return r
}
