package client

import (
	"strconv"
	"strings"

	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Reason says why something was refused or failed. It is an error itself, so that
// errors.Is(err, client.ReasonUnknownTopic) asks for it, however deep err wraps an [*Error].
type Reason int32

// Reasons that a server gives, numbered as in streamhouse.refusal.v1.Reason, which explains each.
const (
	ReasonNotLeader              = Reason(refusalv1.Reason_REASON_NOT_LEADER)
	ReasonUnauthenticated        = Reason(refusalv1.Reason_REASON_UNAUTHENTICATED)
	ReasonMissingRole            = Reason(refusalv1.Reason_REASON_MISSING_ROLE)
	ReasonWrongAgentGroup        = Reason(refusalv1.Reason_REASON_WRONG_AGENT_GROUP)
	ReasonSequenceGap            = Reason(refusalv1.Reason_REASON_SEQUENCE_GAP)
	ReasonProducerFenced         = Reason(refusalv1.Reason_REASON_PRODUCER_FENCED)
	ReasonProducerUnknown        = Reason(refusalv1.Reason_REASON_PRODUCER_UNKNOWN)
	ReasonDuplicateTooOld        = Reason(refusalv1.Reason_REASON_DUPLICATE_TOO_OLD)
	ReasonExpectedOffset         = Reason(refusalv1.Reason_REASON_EXPECTED_OFFSET)
	ReasonBufferedAcksNotAllowed = Reason(refusalv1.Reason_REASON_BUFFERED_ACKS_NOT_ALLOWED)
	ReasonOutOfRange             = Reason(refusalv1.Reason_REASON_OUT_OF_RANGE)
	ReasonUnknownTopic           = Reason(refusalv1.Reason_REASON_UNKNOWN_TOPIC)
	ReasonUnknownPartition       = Reason(refusalv1.Reason_REASON_UNKNOWN_PARTITION)
	ReasonUnknownAgentGroup      = Reason(refusalv1.Reason_REASON_UNKNOWN_AGENT_GROUP)
	ReasonUnknownAgent           = Reason(refusalv1.Reason_REASON_UNKNOWN_AGENT)
	ReasonUnknownKey             = Reason(refusalv1.Reason_REASON_UNKNOWN_KEY)
	ReasonTopicExists            = Reason(refusalv1.Reason_REASON_TOPIC_EXISTS)
	ReasonCatalogNotHalted       = Reason(refusalv1.Reason_REASON_CATALOG_NOT_HALTED)
	ReasonInvalid                = Reason(refusalv1.Reason_REASON_INVALID)
	ReasonCorruptBatch           = Reason(refusalv1.Reason_REASON_CORRUPT_BATCH)
	ReasonRecordCountMismatch    = Reason(refusalv1.Reason_REASON_RECORD_COUNT_MISMATCH)
	ReasonEmptyBatch             = Reason(refusalv1.Reason_REASON_EMPTY_BATCH)
	ReasonBatchTooLarge          = Reason(refusalv1.Reason_REASON_BATCH_TOO_LARGE)
	ReasonRecordTooLarge         = Reason(refusalv1.Reason_REASON_RECORD_TOO_LARGE)
	ReasonMessageTooLarge        = Reason(refusalv1.Reason_REASON_MESSAGE_TOO_LARGE)
	ReasonOverloaded             = Reason(refusalv1.Reason_REASON_OVERLOADED)
	ReasonCatalogUnavailable     = Reason(refusalv1.Reason_REASON_CATALOG_UNAVAILABLE)
	ReasonCatalogHalted          = Reason(refusalv1.Reason_REASON_CATALOG_HALTED)
	ReasonBucketUnavailable      = Reason(refusalv1.Reason_REASON_BUCKET_UNAVAILABLE)
	ReasonNoLeader               = Reason(refusalv1.Reason_REASON_NO_LEADER)
	ReasonUnanswered             = Reason(refusalv1.Reason_REASON_UNANSWERED)
	ReasonInternal               = Reason(refusalv1.Reason_REASON_INTERNAL)
	ReasonMoved                  = Reason(refusalv1.Reason_REASON_MOVED)
	ReasonAgentGroupExists       = Reason(refusalv1.Reason_REASON_AGENT_GROUP_EXISTS)
	ReasonAgentGroupNotEmpty     = Reason(refusalv1.Reason_REASON_AGENT_GROUP_NOT_EMPTY)
	ReasonCatalogNotEmpty        = Reason(refusalv1.Reason_REASON_CATALOG_NOT_EMPTY)
	ReasonRecordsLost            = Reason(refusalv1.Reason_REASON_RECORDS_LOST)
	ReasonAgentNotEligible       = Reason(refusalv1.Reason_REASON_AGENT_NOT_ELIGIBLE)
)

// Reasons that arise in this package.
const (
	// ReasonNoAnswer: the connection broke, the time was up, or what answered was not StreamHouse.
	ReasonNoAnswer Reason = 1000 + iota
	// ReasonUnreachable: no connection could be made, so that nothing was sent.
	ReasonUnreachable
	// ReasonDeliveryTimeout: the record could not be stored within the delivery timeout; the error wraps
	// the last attempt's.
	ReasonDeliveryTimeout
	// ReasonBufferFull: the producer holds as much as it may and was told not to wait.
	ReasonBufferFull
	// ReasonClosed: the producer or consumer was closed.
	ReasonClosed
	// ReasonCanceled: the caller's context ended while waiting.
	ReasonCanceled
	// ReasonMisconfigured: an option or argument does not make sense; the message says which.
	ReasonMisconfigured
	// ReasonDamagedData: an agent answered batches that cannot be read or do not follow each other.
	ReasonDamagedData
)

var localReasons = [...]string{
	"no answer", "unreachable", "delivery timeout", "buffer full", "closed", "canceled", "misconfigured", "damaged data",
}

// Error is the reason in words, e.g. "unknown topic".
func (r Reason) Error() string { return r.String() }

func (r Reason) String() string {
	if i := int(r - ReasonNoAnswer); i >= 0 && i < len(localReasons) {
		return localReasons[i]
	}
	name, known := refusalv1.Reason_name[int32(r)]
	if !known {
		return "reason " + strconv.Itoa(int(r))
	}
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "REASON_"), "_", " "))
}

// transient reports whether another attempt, perhaps elsewhere, may end differently.
func (r Reason) transient() bool {
	switch r {
	case ReasonNotLeader, ReasonOverloaded, ReasonCatalogUnavailable, ReasonCatalogHalted, ReasonBucketUnavailable,
		ReasonNoLeader, ReasonMoved, ReasonUnanswered, ReasonInternal, ReasonNoAnswer, ReasonUnreachable,
		Reason(refusalv1.Reason_REASON_FENCED), Reason(refusalv1.Reason_REASON_SESSION_EXPIRED),
		Reason(refusalv1.Reason_REASON_AGENT_DRAINING):
		return true
	default:
		return false
	}
}

// aboutSequence reports whether a batch was refused for its sequence, which is what it is for the batches that follow one that failed.
func (r Reason) aboutSequence() bool {
	return r == ReasonSequenceGap || r == ReasonProducerUnknown || r == ReasonProducerFenced
}
