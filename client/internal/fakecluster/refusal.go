package fakecluster

import (
	"fmt"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Refusal makes a refusal of a write.
func Refusal(reason refusalv1.Reason, w refusalv1.Written, format string, args ...any) *refusalv1.Refusal {
	return &refusalv1.Refusal{Reason: reason, Written: w, Message: fmt.Sprintf(format, args...)}
}

func no(reason refusalv1.Reason, format string, args ...any) *refusalv1.Refusal {
	return Refusal(reason, refusalv1.Written_WRITTEN_SURELY_NOT, format, args...)
}

// Error is the refusal as a call's error.
func Error(r *refusalv1.Refusal) error {
	d, err := connectproto.NewErrorDetail(r)
	if err != nil {
		return err
	}
	return connect.NewError(code(r.GetReason()), r.GetMessage()).WithDetail(d)
}

func code(r refusalv1.Reason) connect.Code {
	switch r {
	case refusalv1.Reason_REASON_UNKNOWN_TOPIC, refusalv1.Reason_REASON_UNKNOWN_PARTITION, refusalv1.Reason_REASON_UNKNOWN_KEY:
		return connect.CodeNotFound
	case refusalv1.Reason_REASON_TOPIC_EXISTS:
		return connect.CodeAlreadyExists
	case refusalv1.Reason_REASON_OUT_OF_RANGE:
		return connect.CodeOutOfRange
	case refusalv1.Reason_REASON_OVERLOADED:
		return connect.CodeResourceExhausted
	case refusalv1.Reason_REASON_UNANSWERED:
		return connect.CodeDeadlineExceeded
	case refusalv1.Reason_REASON_CATALOG_UNAVAILABLE, refusalv1.Reason_REASON_NO_LEADER, refusalv1.Reason_REASON_BUCKET_UNAVAILABLE,
		refusalv1.Reason_REASON_MOVED:
		return connect.CodeUnavailable
	case refusalv1.Reason_REASON_INVALID, refusalv1.Reason_REASON_CORRUPT_BATCH, refusalv1.Reason_REASON_RECORD_TOO_LARGE:
		return connect.CodeInvalidArgument
	default:
		return connect.CodeFailedPrecondition
	}
}
