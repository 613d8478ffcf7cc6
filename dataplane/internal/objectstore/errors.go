package objectstore

import (
	"errors"
	"fmt"
)

// What an *OpError wraps: exactly one of these.
var (
	// ErrNotFound: there is no such object.
	ErrNotFound = errors.New("object not found")
	// ErrConflict: the key is taken by other bytes, for ever.
	ErrConflict = errors.New("key is taken by other bytes")
	// ErrOutOfRange: the object ends before the range does.
	ErrOutOfRange = errors.New("range is outside the object")
	// ErrRefused: the store will not do it, however often it is asked: rights, bucket, wrong checksum, bad input.
	ErrRefused = errors.New("bucket refused the request")
	// ErrUnavailable: no definite answer within the attempts or the context. It wraps the context's error if
	// that was the reason.
	ErrUnavailable = errors.New("bucket is out of reach")
)

// OpError is what every method of a Store returns on failure.
type OpError struct {
	// Op is the method in lower case.
	Op string
	// Key is the object's; the first of several; the prefix of a listing.
	Key string
	// Attempts that were made.
	Attempts int
	// MayHaveArrived says that a write of this call may have taken effect, or still may (P6).
	MayHaveArrived bool
	Err            error
}

func (e *OpError) Error() string {
	arrived := ""
	if e.MayHaveArrived {
		arrived = ", may have arrived"
	}
	return fmt.Sprintf("%s %q (attempts: %d%s): %v", e.Op, e.Key, e.Attempts, arrived, e.Err)
}

func (e *OpError) Unwrap() error { return e.Err }

// MayHaveArrived tells whether the write that failed with err may have taken effect, or still may.
// Errors that are not a Store's count as may: only proof says surely not.
func MayHaveArrived(err error) bool {
	if op, ok := errors.AsType[*OpError](err); ok {
		return op.MayHaveArrived
	}
	return err != nil
}
