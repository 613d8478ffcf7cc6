// Package refusal turns refusals into Connect errors and back: the one place where a reason meets its Connect code.
// Every error that leaves a StreamHouse listener carries a streamhouse.refusal.v1.Refusal; what nobody classified leaves as Internal with
// a constant text, and its own text goes to the log only.
// Promises: P6 (an error says whether the record was surely not, or possibly, written).
// Read: refusal.go, make.go, interceptor.go.
package refusal

import (
	"errors"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
	"google.golang.org/protobuf/proto"
)

// Short names for what callers build.
type (
	// Refusal is the typed detail of an error.
	Refusal = refusalv1.Refusal
	// Reason says why.
	Reason = refusalv1.Reason
)

// codes has the Connect code of each reason, as refusal.proto names it in brackets.
var codes = map[Reason]connect.Code{
	refusalv1.Reason_REASON_NOT_LEADER:                connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_FENCED:                    connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_LEASE_HELD:                connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_NOT_ASSIGNED:              connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_AGENT_DRAINING:            connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_SESSION_EXPIRED:           connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_SESSION_SUPERSEDED:        connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_OFFSET_MISMATCH:           connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_OBJECT_TOMBSTONED:         connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_UNAUTHENTICATED:           connect.CodeUnauthenticated,
	refusalv1.Reason_REASON_MISSING_ROLE:              connect.CodePermissionDenied,
	refusalv1.Reason_REASON_WRONG_AGENT_GROUP:         connect.CodePermissionDenied,
	refusalv1.Reason_REASON_SEQUENCE_GAP:              connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_PRODUCER_FENCED:           connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_PRODUCER_UNKNOWN:          connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_DUPLICATE_TOO_OLD:         connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_EXPECTED_OFFSET:           connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_BUFFERED_ACKS_NOT_ALLOWED: connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_OUT_OF_RANGE:              connect.CodeOutOfRange,
	refusalv1.Reason_REASON_UNKNOWN_TOPIC:             connect.CodeNotFound,
	refusalv1.Reason_REASON_UNKNOWN_PARTITION:         connect.CodeNotFound,
	refusalv1.Reason_REASON_UNKNOWN_AGENT_GROUP:       connect.CodeNotFound,
	refusalv1.Reason_REASON_UNKNOWN_AGENT:             connect.CodeNotFound,
	refusalv1.Reason_REASON_UNKNOWN_KEY:               connect.CodeNotFound,
	refusalv1.Reason_REASON_TOPIC_EXISTS:              connect.CodeAlreadyExists,
	refusalv1.Reason_REASON_CATALOG_NOT_HALTED:        connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_INVALID:                   connect.CodeInvalidArgument,
	refusalv1.Reason_REASON_CORRUPT_BATCH:             connect.CodeInvalidArgument,
	refusalv1.Reason_REASON_RECORD_COUNT_MISMATCH:     connect.CodeInvalidArgument,
	refusalv1.Reason_REASON_EMPTY_BATCH:               connect.CodeInvalidArgument,
	refusalv1.Reason_REASON_BATCH_TOO_LARGE:           connect.CodeInvalidArgument,
	refusalv1.Reason_REASON_RECORD_TOO_LARGE:          connect.CodeInvalidArgument,
	refusalv1.Reason_REASON_MESSAGE_TOO_LARGE:         connect.CodeResourceExhausted,
	refusalv1.Reason_REASON_OVERLOADED:                connect.CodeResourceExhausted,
	refusalv1.Reason_REASON_CATALOG_UNAVAILABLE:       connect.CodeUnavailable,
	refusalv1.Reason_REASON_CATALOG_HALTED:            connect.CodeUnavailable,
	refusalv1.Reason_REASON_BUCKET_UNAVAILABLE:        connect.CodeUnavailable,
	refusalv1.Reason_REASON_NO_LEADER:                 connect.CodeUnavailable,
	refusalv1.Reason_REASON_UNANSWERED:                connect.CodeAborted,
	refusalv1.Reason_REASON_INTERNAL:                  connect.CodeInternal,
	refusalv1.Reason_REASON_AGENT_GROUP_EXISTS:        connect.CodeAlreadyExists,
	refusalv1.Reason_REASON_AGENT_GROUP_NOT_EMPTY:     connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_MOVED:                     connect.CodeUnavailable,
	refusalv1.Reason_REASON_AGENT_NOT_ELIGIBLE:        connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_UNKNOWN_OBJECT:            connect.CodeNotFound,
	refusalv1.Reason_REASON_CATALOG_NOT_EMPTY:         connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_RECORDS_LOST:              connect.CodeFailedPrecondition,
	refusalv1.Reason_REASON_JOB_LOST:                  connect.CodeFailedPrecondition,
}

// Code returns the Connect code of a reason. UNANSWERED is Aborted here; an error made while the caller's deadline passed says
// DeadlineExceeded (see ErrorCode). Unknown reasons are Internal.
func Code(reason Reason) connect.Code {
	if code, ok := codes[reason]; ok {
		return code
	}
	return connect.CodeInternal
}

// Error makes the Connect error of a refusal: its reason's code, its message, itself as the detail.
func Error(refusal *Refusal) *connect.Error {
	return ErrorCode(Code(refusal.GetReason()), refusal)
}

// ErrorCode is Error with a code of the caller's choice, for UNANSWERED: DeadlineExceeded or Aborted.
func ErrorCode(code connect.Code, refusal *Refusal) *connect.Error {
	err := connect.NewError(code, refusal.GetMessage())
	detail, detailErr := connectproto.NewErrorDetail(refusal)
	if detailErr != nil {
		return err.WithCause(detailErr)
	}
	return err.WithDetail(detail)
}

// FromError returns the refusal that a peer sent. Only an error that IsRemote is a peer's verdict; anything else says nothing about what
// the peer did.
func FromError(err error) (*Refusal, bool) {
	if e, ok := errors.AsType[*connect.Error](err); ok && e.IsRemote() {
		return detailOf(e)
	}
	return nil, false
}

// Of returns the refusal that an error carries, made here or sent by a peer. Use it to look into an error of one's own packages.
func Of(err error) (*Refusal, bool) {
	if e, ok := errors.AsType[*connect.Error](err); ok {
		return detailOf(e)
	}
	return nil, false
}

// Is tells whether the error carries a refusal of this reason, made here or sent by a peer.
func Is(err error, reason Reason) bool {
	refusal, ok := Of(err)
	return ok && refusal.GetReason() == reason
}

func detailOf(err *connect.Error) (*Refusal, bool) {
	name := string((*Refusal)(nil).ProtoReflect().Descriptor().FullName())
	for _, detail := range err.Details() {
		if detail.Type != name {
			continue
		}
		refusal := &Refusal{}
		if proto.Unmarshal(detail.Value, refusal) == nil {
			return refusal, true
		}
	}
	return nil, false
}

// retryAfter converts a wait for the wire; a wait below a millisecond is one.
func retryAfter(wait time.Duration) int64 {
	if wait <= 0 {
		return 0
	}
	return max(1, wait.Milliseconds())
}
