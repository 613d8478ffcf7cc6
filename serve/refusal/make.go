package refusal

import (
	"fmt"
	"time"

	"connectrpc.com/connect/v2"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// InternalMessage is all that a caller learns of a fault of ours.
const InternalMessage = "internal fault: the server's log says more"

// New makes a refusal with a message; fields beyond it are set by the caller.
func New(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Newf makes the Connect error of a refusal that has nothing but a message.
func Newf(reason Reason, format string, args ...any) *connect.Error {
	return Error(New(reason, format, args...))
}

// Invalid refuses input: field is the path of the field at fault, empty if it cannot be named.
func Invalid(field, format string, args ...any) *connect.Error {
	refusal := New(refusalv1.Reason_REASON_INVALID, format, args...)
	refusal.Field = field
	return Error(refusal)
}

// UnknownTopic refuses a topic name or id that is not there.
func UnknownTopic(topic string) *connect.Error {
	refusal := New(refusalv1.Reason_REASON_UNKNOWN_TOPIC, "topic %q does not exist", topic)
	refusal.Topic = topic
	return Error(refusal)
}

// WrongAgentGroup refuses a key of one agent group for what belongs to another.
func WrongAgentGroup(format string, args ...any) *connect.Error {
	return Newf(refusalv1.Reason_REASON_WRONG_AGENT_GROUP, format, args...)
}

// CatalogUnavailable refuses a call because the control plane or PostgreSQL is out of reach; the cause is not sent.
func CatalogUnavailable(wait time.Duration, cause error) *connect.Error {
	refusal := New(refusalv1.Reason_REASON_CATALOG_UNAVAILABLE, "the catalog is out of reach: try again")
	refusal.RetryAfterMs = retryAfter(wait)
	return Error(refusal).WithCause(cause)
}

// Overloaded refuses a call because a limit is reached, and says when to come back.
func Overloaded(wait time.Duration, format string, args ...any) *connect.Error {
	refusal := New(refusalv1.Reason_REASON_OVERLOADED, format, args...)
	refusal.RetryAfterMs = retryAfter(wait)
	return Error(refusal)
}

// Stopping refuses a call because this process is stopping.
func Stopping() *connect.Error {
	return Newf(refusalv1.Reason_REASON_NO_LEADER, "this process is stopping: call another one")
}

// Internal hides a fault of ours; the cause is for the log.
func Internal(cause error) *connect.Error {
	return Newf(refusalv1.Reason_REASON_INTERNAL, InternalMessage).WithCause(cause)
}
