package store

import (
	"fmt"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Refused is a definite "no", or a database that could not be reached (CATALOG_UNAVAILABLE), or a commit whose fate is unknown
// (UNANSWERED). Its refusal goes to the caller as it is; Refusal.Message is a sentence for people.
type Refused struct {
	Refusal *refusalv1.Refusal
	// Cause is for the log; nil for what the caller did wrong.
	Cause error
}

// Error names the reason and the sentence.
func (r *Refused) Error() string {
	if r.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", r.Refusal.GetReason(), r.Refusal.GetMessage(), r.Cause)
	}
	return fmt.Sprintf("%s: %s", r.Refusal.GetReason(), r.Refusal.GetMessage())
}

// Unwrap gives the cause.
func (r *Refused) Unwrap() error { return r.Cause }

// Refuse makes a refusal of a call that writes no records.
func Refuse(reason refusalv1.Reason, format string, args ...any) *Refused {
	return &Refused{Refusal: &refusalv1.Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}}
}
