package access

import (
	"context"
	"errors"
	"slices"
	"strings"

	"connectrpc.com/connect/v2"
	"connectrpc.com/grpcreflect/v2"
	accessv1 "github.com/streamhouse/streamhouse/gen/streamhouse/access/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"github.com/streamhouse/streamhouse/serve/refusal"
)

// Interceptor lets a call through when its key is known and the key's role is among those that the method declares. A method that
// declares none is refused to everyone; reflection is open to every valid key.
func Interceptor(authenticator Authenticator) connect.ServerInterceptor {
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			principal, err := authenticate(ctx, authenticator)
			if err != nil {
				return err
			}
			if err := authorise(principal, spec); err != nil {
				return err
			}
			return next(With(ctx, principal), spec, stream)
		}
	}
}

func authenticate(ctx context.Context, authenticator Authenticator) (Principal, error) {
	info, ok := connect.CallInfoForServerContext(ctx)
	if !ok {
		return Principal{}, unauthenticated("no api key: send the header \"Authorization: Bearer <key>\"")
	}
	header := info.RequestHeader().Get("Authorization")
	if header == "" {
		return Principal{}, unauthenticated("no api key: send the header \"Authorization: Bearer <key>\"")
	}
	key, ok := bearer(header)
	if !ok {
		return Principal{}, unauthenticated("malformed api key: send the header \"Authorization: Bearer shk_...\"")
	}
	principal, err := authenticator.Authenticate(ctx, Hash(key))
	if errors.Is(err, ErrUnknownKey) {
		return Principal{}, unauthenticated("unknown or revoked api key")
	}
	return principal, err
}

func authorise(principal Principal, spec connect.Spec) error {
	if isReflection(spec.Procedure) || slices.Contains(AllowedRoles(spec), principal.Role) {
		return nil
	}
	return refusal.Newf(refusalv1.Reason_REASON_MISSING_ROLE, "the api key's role %q may not call %s",
		roleName(principal.Role), strings.TrimPrefix(spec.Procedure, "/"))
}

func isReflection(procedure string) bool {
	service, _, _ := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
	return service == grpcreflect.ReflectV1ServiceName || service == grpcreflect.ReflectV1AlphaServiceName
}

func unauthenticated(message string) error {
	return refusal.Newf(refusalv1.Reason_REASON_UNAUTHENTICATED, "%s", message)
}

func roleName(role accessv1.Role) string {
	return strings.ToLower(strings.TrimPrefix(role.String(), "ROLE_"))
}
