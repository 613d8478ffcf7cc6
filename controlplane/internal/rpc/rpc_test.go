package rpc

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/access"
	"github.com/streamhouse/streamhouse/serve/refusal"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// deaf is a transaction that never comes to an end by itself.
func deaf(ctx context.Context) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// TestP6_AWriteWhoseTimeHasPassedMayHaveHappened: only what reads may say that nothing was written.
func TestP6_AWriteWhoseTimeHasPassedMayHaveHappened(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			effect effect
			reason refusalv1.Reason
			code   connect.Code
			bound  time.Duration
		}{
			{reads, refusalv1.Reason_REASON_CATALOG_UNAVAILABLE, connect.CodeUnavailable, readTimeout},
			{writes, refusalv1.Reason_REASON_UNANSWERED, connect.CodeAborted, writeTimeout},
		} {
			began := time.Now()
			_, err := transact(t.Context(), c.effect, deaf)
			if !refusal.Is(err, c.reason) || connect.CodeOf(err) != c.code || time.Since(began) != c.bound {
				t.Errorf("effect %d: got %v after %v", c.effect, err, time.Since(began))
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := transact(ctx, writes, deaf); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller's own deadline: got %v", err)
		}
	})
}

func TestP6_ACommitThatIsNotAnsweredIsNeverUnavailable(t *testing.T) {
	t.Parallel()
	unanswered := func(context.Context) (int, error) {
		return 0, &store.Refused{Refusal: refusal.New(refusalv1.Reason_REASON_UNANSWERED, "lost"), Cause: errors.New("reset by peer")}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for code, ctx := range map[connect.Code]context.Context{connect.CodeAborted: t.Context(), connect.CodeDeadlineExceeded: gone} {
		_, err := transact(ctx, writes, unanswered)
		if connect.CodeOf(err) != code || !refusal.Is(err, refusalv1.Reason_REASON_UNANSWERED) {
			t.Errorf("got %v, want %v", err, code)
		}
	}
}

func TestARefusalOfTheStoreGoesOutAsItIs(t *testing.T) {
	t.Parallel()
	_, err := transact(t.Context(), writes, func(context.Context) (int, error) {
		return 0, store.Refuse(refusalv1.Reason_REASON_LEASE_HELD, "held by %s", "a")
	})
	if got, ok := refusal.Of(err); !ok || got.GetMessage() != "held by a" || connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("got %v", err)
	}
	fault := errors.New("division by zero")
	if _, err := transact(t.Context(), writes, func(context.Context) (int, error) { return 0, fault }); !errors.Is(err, fault) {
		t.Errorf("a fault is left to the interceptor: got %v", err)
	}
}

// TestP7_AKeyWithoutAnAgentGroupIsNobody: the empty agent group means "every one" to the store, and must come from admins alone.
func TestP7_AKeyWithoutAnAgentGroupIsNobody(t *testing.T) {
	t.Parallel()
	as := func(role accessv1.Role, group string) context.Context {
		return access.With(t.Context(), access.Principal{Role: role, AgentGroup: group})
	}
	for name, c := range map[string]struct {
		ctx         context.Context
		bound       store.AgentGroup
		bounded     bool
		agent       bool
		whenRefused refusalv1.Reason
	}{
		"admin":             {as(accessv1.Role_ROLE_ADMIN, ""), store.EveryAgentGroup, true, false, refusalv1.Reason_REASON_WRONG_AGENT_GROUP},
		"agent":             {as(accessv1.Role_ROLE_AGENT, "a"), "a", true, true, 0},
		"client":            {as(accessv1.Role_ROLE_CLIENT, "b"), "b", true, true, 0}, // its role is checked before
		"agent of no group": {as(accessv1.Role_ROLE_AGENT, ""), "", false, false, refusalv1.Reason_REASON_WRONG_AGENT_GROUP},
		"nobody":            {t.Context(), "", false, false, refusalv1.Reason_REASON_UNAUTHENTICATED},
	} {
		bound, err := boundOf(c.ctx)
		if (err == nil) != c.bounded || bound != c.bound {
			t.Errorf("%s: bound %q, %v", name, bound, err)
		}
		_, err = agentGroupOf(c.ctx)
		if (err == nil) != c.agent || (err != nil && !refusal.Is(err, c.whenRefused)) {
			t.Errorf("%s: as an agent: %v", name, err)
		}
	}
}
