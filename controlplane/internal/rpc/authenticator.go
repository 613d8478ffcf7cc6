package rpc

import (
	"context"
	"errors"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/access"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// Authenticator finds keys in the store, at every call: a key that has been revoked is refused at once.
func Authenticator(keys store.Keys) access.Authenticator {
	return access.AuthenticatorFunc(func(ctx context.Context, hash access.KeyHash) (access.Principal, error) {
		principal, err := transact(ctx, reads, func(ctx context.Context) (store.Principal, error) {
			found, err := keys.Authenticate(ctx, store.KeyHash(hash))
			if refused, ok := errors.AsType[*store.Refused](err); ok && refused.Refusal.GetReason() == refusalv1.Reason_REASON_UNKNOWN_KEY {
				return store.Principal{}, access.ErrUnknownKey
			}
			return found, err
		})
		if err != nil {
			return access.Principal{}, err
		}
		return access.Principal{
			KeyID:      principal.KeyID.String(),
			Name:       principal.Name,
			Role:       principal.Role,
			AgentGroup: string(principal.AgentGroup),
		}, nil
	})
}
