package commit

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/uuid"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// FieldError is a request that no transaction need look at.
type FieldError struct {
	// Field is the path of the field at fault.
	Field string
	// Problem says what is wrong with it.
	Problem string
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// keyShape is "<2 hex>/<incarnation>-<session>-<counter>", what follows the agent group.
var keyShape = regexp.MustCompile(`^[0-9a-f]{2}/([0-9]{1,3})-([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})-([0-9]{1,20})$`)

// KeyParts is what an object key says.
type KeyParts struct {
	// Key is all of it.
	Key string
	// Writer is the session that wrote the object, or what stands for one.
	Writer uuid.UUID
	// Counter of the object within it.
	Counter uint64
}

// ParseKey takes a key of the agent group apart; false: it is none.
func ParseKey(agentGroup, key string) (KeyParts, bool) {
	name, mine := strings.CutPrefix(key, agentGroup+"/")
	if !mine {
		return KeyParts{}, false
	}
	parts := keyShape.FindStringSubmatch(name)
	if parts == nil {
		return KeyParts{}, false
	}
	_, err1 := strconv.ParseUint(parts[1], 10, 8)
	writer, err2 := uuid.Parse(parts[2])
	counter, err3 := strconv.ParseUint(parts[3], 10, 64)
	return KeyParts{Key: key, Writer: writer, Counter: counter}, err1 == nil && err2 == nil && err3 == nil
}

// CheckKey says whether the key lies under the agent group's prefix and names the session.
func CheckKey(agentGroup string, session uuid.UUID, key string) bool {
	parts, ok := ParseKey(agentGroup, key)
	return ok && parts.Writer == session
}

// Settled says whether a session that has settled its objects below a counter will never commit the key again. Requires: CheckKey.
func Settled(agentGroup, key string, below int64) bool {
	parts, ok := ParseKey(agentGroup, key)
	return ok && parts.Counter < uint64(max(0, below))
}

// CheckRequest finds what is malformed beyond the bounds of single fields: keys of others, repeated keys, segments or producer batches
// out of order or outside their segment. Nil: well-formed. Requires: the single fields are within the bounds of the API.
func CheckRequest(agentGroup string, session uuid.UUID, objects []*controlplanev1.ObjectCommit) error {
	seen := make(map[string]bool, len(objects))
	for i, object := range objects {
		field := fmt.Sprintf("objects[%d]", i)
		if !CheckKey(agentGroup, session, object.GetKey()) {
			return &FieldError{field + ".key", "must be " + agentGroup + "/<2 hex>/<incarnation>-" + session.String() + "-<counter>"}
		}
		if seen[object.GetKey()] {
			return &FieldError{field + ".key", "is named twice"}
		}
		seen[object.GetKey()] = true
		if err := checkSegments(field, object); err != nil {
			return err
		}
	}
	return nil
}

func checkSegments(parent string, object *controlplanev1.ObjectCommit) error {
	var before *controlplanev1.SegmentCommit
	for i, segment := range object.GetSegments() {
		field := fmt.Sprintf("%s.segments[%d]", parent, i)
		if before != nil && compareSegments(before, segment) >= 0 {
			return &FieldError{field, "must come after the one before it by (topic_id, partition)"}
		}
		if segment.GetBaseOffset() > math.MaxInt64-int64(segment.GetRecordCount()) {
			return &FieldError{field + ".base_offset", "is out of range"}
		}
		end := segment.GetBytePosition() + int64(segment.GetSizeBytes())
		if end < segment.GetBytePosition() || end > object.GetSizeBytes() {
			return &FieldError{field + ".byte_position", "lies outside the object"}
		}
		if err := checkProducerBatches(field, segment); err != nil {
			return err
		}
		before = segment
	}
	return nil
}

func compareSegments(a, b *controlplanev1.SegmentCommit) int {
	return cmp.Or(bytes.Compare(a.GetTopicId(), b.GetTopicId()), cmp.Compare(a.GetPartition(), b.GetPartition()))
}

func checkProducerBatches(parent string, segment *controlplanev1.SegmentCommit) error {
	next, end := segment.GetBaseOffset(), segment.GetBaseOffset()+int64(segment.GetRecordCount())
	for i, batch := range segment.GetProducerBatches() {
		if batch.GetBaseOffset() < next || batch.GetBaseOffset() > end-int64(batch.GetRecordCount()) {
			return &FieldError{fmt.Sprintf("%s.producer_batches[%d].base_offset", parent, i), "lies outside the segment, or before the batch before it"}
		}
		next = batch.GetBaseOffset() + int64(batch.GetRecordCount())
	}
	return nil
}
