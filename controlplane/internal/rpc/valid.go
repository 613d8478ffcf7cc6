package rpc

import (
	"google.golang.org/protobuf/proto"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// Bounds in the rules of proto.
const (
	topicIDBytes       = 16
	maxObjects         = 100
	maxKeyBytes        = 200 // characters in the rules, which are no more than bytes
	maxSegments        = 20_000
	maxProducerEpoch   = 32767
	maxPartitions      = 1000
	maxLookupSegments  = 1000
	maxStored          = 1000
	maxStoredSegments  = 65_536
	uuidBytes          = 36
	uuidHyphenInterval = 5
)

// Valid vouches for requests with a thousand parts (commits, lookups, acquisitions, what the bucket has): their rules, by hand. Everything else,
// and what breaks a rule, is left to the rules themselves.
func Valid(message proto.Message) bool {
	switch request := message.(type) {
	case *controlplanev1.CommitRequest:
		return validCommit(request)
	case *controlplanev1.LookupRequest:
		return all(request.GetPartitions(), maxPartitions, validLookup)
	case *controlplanev1.AcquireRequest:
		return validUUID(request.GetSessionId()) && all(request.GetPartitions(), maxPartitions, validAcquire)
	case *controlplanev1.AddObjectsRequest:
		return validUUID(request.GetRecoveryId()) && request.GetDone() == nil && all(request.GetObjects(), maxStored, validStored)
	case *controlplanev1.AuditObjectsRequest:
		return all(request.GetObjects(), maxStored, validStored)
	default:
		return false
	}
}

// validStored: one without segments is, too.
func validStored(o *controlplanev1.StoredObject) bool {
	if o.GetKey() == "" || len(o.GetKey()) > maxKeyBytes || o.GetSizeBytes() <= 0 || o.GetFault() != "" || len(o.GetSegments()) > maxStoredSegments {
		return false
	}
	for _, s := range o.GetSegments() {
		if len(s.GetTopicId()) != topicIDBytes || s.GetPartition() < 0 || s.GetEpoch() < 1 || s.GetBaseOffset() < 0 || s.GetRecordCount() < 1 ||
			s.GetBytePosition() < 0 || s.GetSizeBytes() < 1 || s.GetTenureFirstOffset() < 0 {
			return false
		}
	}
	return true
}

// all says whether there is one at least, not too many, and each is valid.
func all[T any](parts []T, most int, valid func(T) bool) bool {
	if len(parts) == 0 || len(parts) > most {
		return false
	}
	for _, part := range parts {
		if !valid(part) {
			return false
		}
	}
	return true
}

func validCommit(r *controlplanev1.CommitRequest) bool {
	return validUUID(r.GetSessionId()) && all(r.GetObjects(), maxObjects, validObject)
}

func validObject(o *controlplanev1.ObjectCommit) bool {
	return o.GetKey() != "" && len(o.GetKey()) <= maxKeyBytes && o.GetSizeBytes() > 0 && all(o.GetSegments(), maxSegments, validSegment)
}

func validSegment(s *controlplanev1.SegmentCommit) bool {
	if len(s.GetTopicId()) != topicIDBytes || s.GetPartition() < 0 || s.GetEpoch() < 1 || s.GetBaseOffset() < 0 || s.GetRecordCount() < 1 ||
		s.GetBytePosition() < 0 || s.GetSizeBytes() < 1 || s.GetTenureFirstOffset() < 0 {
		return false
	}
	for _, b := range s.GetProducerBatches() {
		if b.GetProducerId() < 0 || b.GetProducerEpoch() < 0 || b.GetProducerEpoch() > maxProducerEpoch || b.GetBaseSequence() < 0 ||
			b.GetRecordCount() < 1 || b.GetBaseOffset() < 0 {
			return false
		}
	}
	return true
}

func validLookup(p *controlplanev1.LookupPartition) bool {
	return len(p.GetTopicId()) == topicIDBytes && p.GetPartition() >= 0 && p.GetOffset() >= 0 &&
		p.GetMaxSegments() >= 0 && p.GetMaxSegments() <= maxLookupSegments
}

func validAcquire(p *controlplanev1.AcquirePartition) bool {
	return len(p.GetTopicId()) == topicIDBytes && p.GetPartition() >= 0 && p.GetLastEndedEpoch() >= 0
}

// validUUID wants 8-4-4-4-12 hexadecimal digits.
func validUUID(text string) bool {
	if len(text) != uuidBytes {
		return false
	}
	for i := range len(text) {
		c := text[i]
		hyphen := i >= 8 && i <= 23 && (i-8)%uuidHyphenInterval == 0
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
		if hyphen && c != '-' || !hyphen && !hex {
			return false
		}
	}
	return true
}
