package refusal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"buf.build/go/protovalidate"
	"connectrpc.com/connect/v2"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Interceptor makes every error that leaves the server a refusal, and panics errors. It goes outside of all interceptors that refuse.
// writes tells which procedures write records: their refusals always say what became of them (P6). nil: none does.
func Interceptor(logger *slog.Logger, writes func(procedure string) bool) connect.ServerInterceptor {
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			err := recovered(ctx, next, spec, stream)
			if err == nil {
				return nil
			}
			refused := classify(err)
			log(ctx, logger, spec, refused)
			if writes != nil && writes(spec.Procedure) {
				refused = settled(refused)
			}
			return refused
		}
	}
}

func recovered(ctx context.Context, next connect.ServerFunc, spec connect.Spec, stream connect.ServerStream) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = Internal(fmt.Errorf("panic: %v\n%s", cause, debug.Stack()))
		}
	}()
	return next(ctx, spec, stream)
}

// classify finds the refusal in an error, or the one that it amounts to. A peer's refusal is not passed on as ours: whoever called the
// peer must have judged it.
func classify(err error) *connect.Error {
	e, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return unclassified(err)
	}
	if e.IsRemote() {
		return Internal(err)
	}
	if _, ok := detailOf(e); ok {
		return e
	}
	return authored(e)
}

// protocolError begins the framework's errors about what the caller sent.
const protocolError = "protocol error"

// authored gives errors of the framework the refusal that they lack.
func authored(err *connect.Error) *connect.Error {
	switch err.Code() {
	case connect.CodeInvalidArgument:
		return invalid(err)
	case connect.CodeInternal:
		// Framing that the caller got wrong, or that ended early with its connection: nobody here has to act.
		if strings.HasPrefix(err.Message(), protocolError) {
			return Invalid("", "%s", err.Message()).WithCause(err)
		}
		return Internal(err)
	case connect.CodeResourceExhausted:
		return Newf(refusalv1.Reason_REASON_MESSAGE_TOO_LARGE, "%s", err.Message()).WithCause(err)
	case connect.CodeCanceled, connect.CodeDeadlineExceeded:
		return ErrorCode(err.Code(), New(refusalv1.Reason_REASON_UNANSWERED, "%s", err.Message())).WithCause(err)
	case connect.CodeUnimplemented:
		return ErrorCode(err.Code(), New(refusalv1.Reason_REASON_INVALID, "%s", err.Message())).WithCause(err)
	default:
		return Internal(err)
	}
}

// invalid names the first field that broke a rule of the schema.
func invalid(err *connect.Error) *connect.Error {
	violations, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok || len(violations.Violations) == 0 {
		return Invalid("", "%s", err.Message()).WithCause(err)
	}
	first := violations.Violations[0].Proto
	field := protovalidate.FieldPathString(first.GetField())
	return Invalid(field, "%s: %s", field, first.GetMessage()).WithCause(err)
}

func unclassified(err error) *connect.Error {
	switch {
	case errors.Is(err, context.Canceled):
		return ErrorCode(connect.CodeCanceled, New(refusalv1.Reason_REASON_UNANSWERED, "the call was cancelled")).WithCause(err)
	case errors.Is(err, context.DeadlineExceeded):
		return ErrorCode(connect.CodeDeadlineExceeded, New(refusalv1.Reason_REASON_UNANSWERED, "the deadline passed")).WithCause(err)
	default:
		return Internal(err)
	}
}

// settled completes a refusal that does not say what became of the records: those of an interceptor came before anything was appended;
// a fault or a deadline may have come after.
func settled(err *connect.Error) *connect.Error {
	refusal, ok := detailOf(err)
	if !ok || refusal.GetWritten() != refusalv1.Written_WRITTEN_UNSPECIFIED {
		return err
	}
	switch refusal.GetReason() {
	case refusalv1.Reason_REASON_INTERNAL, refusalv1.Reason_REASON_UNANSWERED:
		refusal.Written = refusalv1.Written_WRITTEN_POSSIBLY
	default:
		refusal.Written = refusalv1.Written_WRITTEN_SURELY_NOT
	}
	return ErrorCode(err.Code(), refusal).WithCause(err)
}

func log(ctx context.Context, logger *slog.Logger, spec connect.Spec, err *connect.Error) {
	refusal, _ := detailOf(err)
	procedure := slog.String("procedure", spec.Procedure)
	if refusal.GetReason() == refusalv1.Reason_REASON_INTERNAL {
		logger.ErrorContext(ctx, "call failed", procedure, slog.Any("cause", errors.Unwrap(err)))
		return
	}
	logger.DebugContext(ctx, "call refused", procedure,
		slog.String("reason", refusal.GetReason().String()), slog.String("message", err.Message()))
}
