// Package access authenticates callers and checks their role: one interceptor in front of every RPC of both services, before a request
// body is decoded. Which role may call what stands in proto (option allowed_roles) and nowhere else.
// Which agent group a caller may touch is decided by the handlers, which know whose topic it is: Principal.MayUse.
// Promises: P7 (a principal is bound to one agent group).
// Read: access.go, interceptor.go, key.go, rule.go.
package access

import (
	"context"
	"errors"

	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
)

// Principal is an authenticated caller.
type Principal struct {
	// KeyID is the UUID of the API key.
	KeyID string
	// Name is the key's name, for people.
	Name string
	// Role is the key's one role.
	Role accessv1.Role
	// AgentGroup is the agent group that the key is bound to; empty for admins.
	AgentGroup string
}

// MayUse tells whether the principal may touch what belongs to an agent group.
func (p Principal) MayUse(agentGroup string) bool {
	return p.Role == accessv1.Role_ROLE_ADMIN || (p.AgentGroup != "" && p.AgentGroup == agentGroup)
}

// ErrUnknownKey says that a key does not exist or was revoked.
var ErrUnknownKey = errors.New("unknown or revoked api key")

// Authenticator finds whose key it is. ErrUnknownKey: nobody's. Any other error means that it could not tell; an error with a refusal
// (see package refusal) is sent as it is.
type Authenticator interface {
	Authenticate(ctx context.Context, key KeyHash) (Principal, error)
}

// AuthenticatorFunc is a function that authenticates.
type AuthenticatorFunc func(ctx context.Context, key KeyHash) (Principal, error)

// Authenticate calls the function.
func (f AuthenticatorFunc) Authenticate(ctx context.Context, key KeyHash) (Principal, error) {
	return f(ctx, key)
}

type principalKey struct{}

// With returns a context that carries the principal.
func With(ctx context.Context, principal Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, principal)
}

// From returns the caller's principal; false outside of an authenticated call.
func From(ctx context.Context) (Principal, bool) {
	principal, ok := ctx.Value(principalKey{}).(Principal)
	return principal, ok
}
