// Package rpc is the control plane's API: it finds out whose agent group bounds a call, gives the call a bound in time, hands it to the
// store, and turns the store's refusals into Connect errors. Roles and fields have been checked before (package listen); what a
// transaction decides is decided in the store.
// Promises: P6 (a database out of reach is Unavailable only where nothing was written), P7 (agents and clients see their agent group alone).
// Read: rpc.go, agent.go, job.go, topic.go, cluster.go, agent_group.go, key.go, catalog.go, recovery.go, valid.go, authenticator.go.
package rpc

import (
	"context"
	"errors"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/google/uuid"
	"github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1/controlplanev1connect"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/refusal"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
	"github.com/streamhouse/streamhouse/controlplane/internal/watch"
)

const (
	// writeTimeout and readTimeout bound a call's work in the database, beyond PostgreSQL's own timeouts, which do not help while it is
	// out of reach. A write may be repeated within its bound (package postgres).
	writeTimeout = 10 * time.Second
	readTimeout  = 5 * time.Second
	// adoptTimeout bounds an adoption, which takes some seconds for 100,000 partitions.
	adoptTimeout = 5 * time.Minute
	// retryWait is the advice to a caller when the database is out of reach.
	retryWait = 500 * time.Millisecond
)

// Services are the RPCs.
type Services struct {
	// Store has the transactions.
	Store store.Store
	// Recovery makes a catalog of the bucket; nil where nobody asks.
	Recovery store.Recovery
	// Hub serves watchers.
	Hub *watch.Hub
	// Name of this replica, for people.
	Name string
	// WatchBroke hears of a watch that the other side, or the way to it, has ended. It never waits.
	WatchBroke func(agentGroup store.AgentGroup, sessionID uuid.UUID)
	// Revoked is called after a key was revoked; nil: nobody remembers keys.
	Revoked func()
}

// Register adds all services to a server.
func (s Services) Register(server *connect.Server) {
	controlplanev1connect.RegisterAgentServiceHandler(server, agents{s})
	controlplanev1connect.RegisterTopicServiceHandler(server, topics{s})
	controlplanev1connect.RegisterClusterServiceHandler(server, cluster{s})
	controlplanev1connect.RegisterAgentGroupServiceHandler(server, agentGroups{s})
	controlplanev1connect.RegisterKeyServiceHandler(server, keys{s})
	controlplanev1connect.RegisterCatalogServiceHandler(server, catalog{s})
	controlplanev1connect.RegisterJobServiceHandler(server, jobs{s})
	controlplanev1connect.RegisterRecoveryServiceHandler(server, recovery{s})
}

// BeginsTrace tells which procedures may begin a trace: all but those of agents, who have chosen for theirs.
func BeginsTrace(procedure string) bool {
	return !strings.HasPrefix(procedure, "/"+controlplanev1connect.AgentServiceName+"/")
}

// boundOf returns the agent group that bounds the caller: none for admins, the key's for everyone else. A key without one is refused: it
// must not pass for an admin's.
func boundOf(ctx context.Context) (store.AgentGroup, error) {
	principal, ok := access.From(ctx)
	if !ok {
		return "", refusal.Newf(refusalv1.Reason_REASON_UNAUTHENTICATED, "no api key")
	}
	if principal.MayUse("") {
		return store.EveryAgentGroup, nil
	}
	if principal.AgentGroup == "" {
		return "", refusal.WrongAgentGroup("the api key is bound to no agent group")
	}
	return store.AgentGroup(principal.AgentGroup), nil
}

// agentGroupOf returns the agent group of an agent; an admin has none and is no agent.
func agentGroupOf(ctx context.Context) (store.AgentGroup, error) {
	group, err := boundOf(ctx)
	if err == nil && group == store.EveryAgentGroup {
		return "", refusal.WrongAgentGroup("the api key is bound to no agent group")
	}
	return group, err
}

// effect says what a call does to the catalog, and so what is known of it when its time has passed.
type effect int

const (
	// reads: nothing can have been written.
	reads effect = iota
	// writes: it may have been committed.
	writes
	// adopts: it writes, and touches every partition.
	adopts
	// surveys: it reads, and may read much.
	surveys
)

// timeout is the bound of a call.
func (e effect) timeout() time.Duration {
	switch e {
	case reads:
		return readTimeout
	case adopts, surveys:
		return adoptTimeout
	default:
		return writeTimeout
	}
}

// transact runs one call of the store within its bound.
func transact[Res any](ctx context.Context, effect effect, call func(context.Context) (Res, error)) (Res, error) {
	bounded, cancel := context.WithTimeout(ctx, effect.timeout())
	defer cancel()
	result, err := call(bounded)
	if err == nil {
		return result, nil
	}
	var none Res
	if refused, ok := errors.AsType[*store.Refused](err); ok {
		return none, refusedToConnect(ctx, refused)
	}
	if ctx.Err() == nil && bounded.Err() != nil {
		return none, late(effect, err)
	}
	return none, err
}

// late refuses a call whose own bound has passed, not the caller's. P6: only UNANSWERED admits that something may have been written.
func late(effect effect, err error) error {
	if effect == reads || effect == surveys {
		return refusal.CatalogUnavailable(retryWait, err)
	}
	return refusal.Newf(refusalv1.Reason_REASON_UNANSWERED, "the catalog did not answer in time").WithCause(err)
}

// forAgent runs a call that an agent's group bounds.
func forAgent[Req, Res any](
	ctx context.Context, effect effect, request Req, call func(context.Context, store.AgentGroup, Req) (Res, error),
) (Res, error) {
	group, err := agentGroupOf(ctx)
	if err != nil {
		var none Res
		return none, err
	}
	return transact(ctx, effect, func(ctx context.Context) (Res, error) { return call(ctx, group, request) })
}

// forCaller runs a call that reads, bounded by the caller's group, or no group for admins.
func forCaller[Req, Res any](
	ctx context.Context, request Req, call func(context.Context, store.AgentGroup, Req) (Res, error),
) (Res, error) {
	group, err := boundOf(ctx)
	if err != nil {
		var none Res
		return none, err
	}
	return transact(ctx, reads, func(ctx context.Context) (Res, error) { return call(ctx, group, request) })
}

func refusedToConnect(ctx context.Context, refused *store.Refused) error {
	detail := refused.Refusal
	code := refusal.Code(detail.GetReason())
	if detail.GetReason() == refusalv1.Reason_REASON_UNANSWERED && ctx.Err() != nil {
		code = connect.CodeDeadlineExceeded
	}
	if detail.GetReason() == refusalv1.Reason_REASON_CATALOG_UNAVAILABLE && detail.GetRetryAfterMs() == 0 {
		detail.RetryAfterMs = retryWait.Milliseconds()
	}
	return refusal.ErrorCode(code, detail).WithCause(refused)
}
