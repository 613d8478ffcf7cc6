package objectstore

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// errExists is a 412: the key is taken, by whom is open.
var errExists = errors.New("key is taken")

// errUnclear is a PUT whose fate could not be found out.
var errUnclear = errors.New("key may be taken by us")

// keyError is the failure of one key in a batch.
type keyError struct{ code, message string }

func (e *keyError) Error() string { return e.code + ": " + e.message }

// verdict is what an attempt's error means.
type verdict struct {
	// again: another attempt may do better. Else err is the definite outcome.
	again bool
	// mayHaveArrived: the attempt's write may have taken effect. surelyNot: no attempt's has, or ever will.
	mayHaveArrived bool
	surelyNot      bool
	err            error
}

// Codes that ask for patience, whatever the status they come with.
var transientCodes = map[string]bool{
	"SlowDown": true, "RequestTimeout": true, "InternalError": true, "ServiceUnavailable": true, "Throttling": true,
	"ThrottlingException": true, "RequestLimitExceeded": true, "OperationAborted": true, "ConditionalRequestConflict": true,
}

// Codes and statuses with which a server says that it did not even begin.
var untouchedCodes = map[string]bool{
	"SlowDown": true, "Throttling": true, "ThrottlingException": true, "RequestLimitExceeded": true,
	"OperationAborted": true, "ConditionalRequestConflict": true,
}

func classify(err error) verdict {
	if errors.Is(err, errUnclear) {
		return verdict{again: true, mayHaveArrived: true, err: err}
	}
	if errors.Is(err, ErrConflict) { // others hold the key, for ever
		return verdict{surelyNot: true, err: err}
	}
	for _, known := range []error{ErrOutOfRange, ErrRefused} { // found by ourselves in an answer
		if errors.Is(err, known) {
			return verdict{err: err}
		}
	}
	if key, ok := errors.AsType[*keyError](err); ok {
		return classifyCode(key.code, http.StatusBadRequest, err)
	}
	resp, answered := errors.AsType[*awshttp.ResponseError](err)
	if !answered || resp.HTTPStatusCode() == 0 { // no answer
		return verdict{again: true, mayHaveArrived: !neverSent(err), err: err}
	}
	code := ""
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		code = api.ErrorCode()
	}
	return classifyCode(code, resp.HTTPStatusCode(), err)
}

func classifyCode(code string, status int, err error) verdict {
	switch {
	case transientCodes[code], status >= http.StatusInternalServerError && status != http.StatusNotImplemented,
		status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		untouched := untouchedCodes[code] || status == http.StatusTooManyRequests
		return verdict{again: true, mayHaveArrived: !untouched, err: err}
	case status < http.StatusMultipleChoices: // an answer that could not be read to its end
		return verdict{again: true, mayHaveArrived: true, err: err}
	case status == http.StatusPreconditionFailed:
		return verdict{err: errExists}
	case status == http.StatusNotFound && code != "NoSuchBucket":
		return verdict{err: ErrNotFound}
	case status == http.StatusRequestedRangeNotSatisfiable:
		return verdict{err: ErrOutOfRange}
	}
	return verdict{err: fmt.Errorf("%w: %w", ErrRefused, err)}
}

// neverSent is proof that no connection was had.
func neverSent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}
