package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Written says what became of the records of a call that ended with an error (P6).
type Written int8

const (
	// WrittenNothing: the call writes no records.
	WrittenNothing Written = iota
	// SurelyNotWritten: not written, and never will be. Anyone may send the records again.
	SurelyNotWritten
	// PossiblyWritten: they may have been written, or still be. Sending them again may store them twice.
	PossiblyWritten
	// WrittenBefore: written once, by an earlier attempt, at an offset that is no longer known.
	WrittenBefore
)

func (w Written) String() string {
	switch w {
	case SurelyNotWritten:
		return "surely not written"
	case PossiblyWritten:
		return "possibly written"
	case WrittenBefore:
		return "written before"
	case WrittenNothing:
	}
	return "writes nothing"
}

// Offsets of a partition as the catalog has them.
type Offsets struct {
	// LogStart is the first offset that can be read.
	LogStart int64
	// HighWatermark is the first offset that cannot be read yet.
	HighWatermark int64
	// Next is the offset that the next record would get, for ReasonExpectedOffset.
	Next int64
}

// Error is every error of this package. Ask for its reason with errors.Is(err, client.ReasonOverloaded),
// for the rest with errors.As.
type Error struct {
	// Reason decides what a program does.
	Reason Reason
	// Written says what became of the records.
	Written Written
	// Message is a sentence for people.
	Message string
	// Topic name, or id where only that is known. Empty: not about a topic.
	Topic string
	// Partition; -1: not about a partition.
	Partition int32
	// Offsets, for ReasonOutOfRange and ReasonExpectedOffset; else nil.
	Offsets *Offsets
	// Field of the request at fault, for ReasonInvalid. Empty: none.
	Field string
	// RetryAfter is the server's advice when to come back; 0: none.
	RetryAfter time.Duration

	entry    int                 // index of the entry at fault; -1: the whole call
	leader   *refusalv1.Leader   // for ReasonNotLeader, where known
	sequence *refusalv1.Sequence // for ReasonSequenceGap
	cause    error
}

func (e *Error) Error() string {
	where := ""
	if e.Topic != "" {
		where = e.Topic + ": "
		if e.Partition >= 0 {
			where = fmt.Sprintf("%s/%d: ", e.Topic, e.Partition)
		}
	}
	text := where + e.Reason.String()
	if e.Message != "" {
		text += ": " + e.Message
	}
	if e.Written == PossiblyWritten || e.Written == WrittenBefore {
		text += " (" + e.Written.String() + ")"
	}
	return text
}

// Unwrap returns what caused the error: the RPC's error, the context's, or the last attempt's.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is the error's reason.
func (e *Error) Is(target error) bool {
	r, ok := target.(Reason)
	return ok && r == e.Reason
}

// WrittenBy returns what err says about the records of the call that it ended, PossiblyWritten if it
// is not an [*Error].
func WrittenBy(err error) Written {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Written
	}
	return PossiblyWritten
}

func failure(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Message: fmt.Sprintf(format, args...), Partition: -1, entry: -1}
}

func (e *Error) wrap(cause error) *Error {
	e.cause = cause
	return e
}

func (e *Error) at(topic string, partition int32) *Error {
	e.Topic, e.Partition = topic, partition
	return e
}

func (e *Error) wrote(w Written) *Error {
	e.Written = w
	return e
}

// canceled is the error of a wait that ended with its context.
func canceled(ctx context.Context, doing string) *Error {
	return failure(ReasonCanceled, "%s: %v", doing, context.Cause(ctx)).wrap(ctx.Err())
}

// unanswered reports whether no StreamHouse answered.
func (e *Error) unanswered() bool { return e.Reason == ReasonNoAnswer || e.Reason == ReasonUnreachable }

// but returns the error with another word about the records.
func (e *Error) but(w Written) *Error {
	c := *e
	c.Written = w
	return &c
}

// fromRefusal takes a server's verdict over.
func fromRefusal(r *refusalv1.Refusal) *Error {
	e := &Error{
		Reason: Reason(r.GetReason()), Written: fromWritten(r.GetWritten()), Message: r.GetMessage(),
		Topic: r.GetTopic(), Partition: -1, Field: r.GetField(), entry: -1, leader: r.GetLeader(), sequence: r.GetSequence(),
		RetryAfter: time.Duration(min(max(r.GetRetryAfterMs(), 0), 60_000)) * time.Millisecond,
	}
	if r.Partition != nil {
		e.Partition = r.GetPartition()
	}
	if r.Entry != nil {
		e.entry = int(r.GetEntry())
	}
	if o := r.GetOffsets(); o != nil {
		e.Offsets = &Offsets{LogStart: o.GetLogStartOffset(), HighWatermark: o.GetHighWatermark(), Next: o.GetNextOffset()}
	}
	return e
}

func fromWritten(w refusalv1.Written) Written {
	switch w {
	case refusalv1.Written_WRITTEN_SURELY_NOT:
		return SurelyNotWritten
	case refusalv1.Written_WRITTEN_POSSIBLY:
		return PossiblyWritten
	case refusalv1.Written_WRITTEN_BEFORE:
		return WrittenBefore
	case refusalv1.Written_WRITTEN_UNSPECIFIED:
	}
	return WrittenNothing
}

// fromCall classifies the error of an RPC. P6: only a peer's own verdict, with its typed detail, can say that
// records were surely not written; so can a connection that was never made. All else is "possibly".
func fromCall(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	ce, ok := errors.AsType[*connect.Error](err)
	if !ok || !ce.IsRemote() {
		if dialFailed(err) {
			return failure(ReasonUnreachable, "%v", err).wrote(SurelyNotWritten).wrap(err)
		}
		return failure(ReasonNoAnswer, "%v", err).wrote(PossiblyWritten).wrap(err)
	}
	for _, d := range ce.Details() {
		if m, err := connectproto.UnmarshalErrorDetail(d); err == nil {
			if r, ok := m.(*refusalv1.Refusal); ok {
				e := fromRefusal(r)
				if e.Message == "" {
					e.Message = ce.Message()
				}
				return e.wrap(ce)
			}
		}
	}
	return fromCode(ce)
}

// fromCode classifies a remote error without a typed detail: from a proxy, or from Connect's own checks.
func fromCode(ce *connect.Error) *Error {
	e := failure(ReasonNoAnswer, "%v", ce).wrote(PossiblyWritten).wrap(ce)
	switch ce.Code() {
	case connect.CodeUnauthenticated:
		e.Reason = ReasonUnauthenticated
	case connect.CodePermissionDenied:
		e.Reason = ReasonMissingRole
	case connect.CodeInvalidArgument, connect.CodeUnimplemented:
		e.Reason = ReasonInvalid
	case connect.CodeResourceExhausted:
		e.Reason = ReasonMessageTooLarge
	default:
		return e
	}
	return e.wrote(SurelyNotWritten)
}

// dialFailed reports whether no connection was made, so that no byte of the request left.
func dialFailed(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}
