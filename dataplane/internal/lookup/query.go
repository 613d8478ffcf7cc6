package lookup

import (
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	refusalv1 "github.com/streamhouse/streamhouse/gen/streamhouse/refusal/v1"
)

// Segment is one partition's run of batches in one object, committed and so immutable.
type Segment struct {
	ObjectKey      string
	Position       int64 // of its first byte in the object
	SizeBytes      int32
	CRC32C         uint32 // Castagnoli, of its bytes
	BaseOffset     int64
	RecordCount    int32
	Epoch          partition.Epoch
	MaxTimestampMs int64 // greatest record timestamp, ms since 1970 UTC
	ObjectBytes    int64 // size of the whole object; 0: the catalog does not say
}

// End is the offset after the last record.
func (s Segment) End() int64 { return s.BaseOffset + int64(s.RecordCount) }

// SegmentOf is the segment that this agent has just committed.
func SegmentOf(c partition.Committed) Segment {
	return Segment{
		ObjectKey: c.ObjectKey, ObjectBytes: c.ObjectBytes, Position: c.BytePosition, SizeBytes: c.SizeBytes, CRC32C: c.CRC32C,
		BaseOffset: c.BaseOffset, RecordCount: int32(c.NextOffset - c.BaseOffset), Epoch: c.Epoch, MaxTimestampMs: c.MaxTimestampMs,
	}
}

// State is a partition's row, as the catalog had it at some time.
type State struct {
	Epoch         partition.Epoch // of the newest tenure; 0: never led
	LeaderSession string          // UUID of the session that holds the lease; empty: none
	LogStart      int64           // first offset that can be read
	HighWatermark int64           // first offset that cannot be read yet
}

// incarnationShift: an epoch is incarnation * 2^23 + tenure.
const incarnationShift = 23

func (s State) incarnation() partition.Epoch { return s.Epoch >> incarnationShift }

// By says what the position of a query means.
type By uint8

const (
	// ByNothing asks for the state alone.
	ByNothing By = iota
	// ByOffset asks for segments from the one that holds the offset on.
	ByOffset
	// ByTime asks for segments from the first whose greatest timestamp is at or after the time on.
	ByTime
)

// Query asks for a partition's state, and for segments of it from a position on.
type Query struct {
	Partition   partition.ID
	By          By
	At          int64 // offset, or ms since 1970 UTC
	MaxSegments int32 // 1 to 1000; ignored with ByNothing
}

// segments is how many the answer may hold.
func (q Query) segments() int {
	if q.By == ByNothing {
		return 0
	}
	return int(q.MaxSegments)
}

// Answer is what the catalog said: a refusal (unknown topic or partition, wrong agent group), or a
// state and the segments asked for, contiguous and in order of offset, read in one snapshot.
type Answer struct {
	Refusal  *refusalv1.Refusal
	State    State
	Segments []Segment
}

func (q Query) proto() *controlplanev1.LookupPartition {
	p := &controlplanev1.LookupPartition{TopicId: q.Partition.Topic[:], Partition: q.Partition.Number}
	switch q.By {
	case ByNothing:
		return p
	case ByOffset:
		p.Position = &controlplanev1.LookupPartition_Offset{Offset: q.At}
	case ByTime:
		p.Position = &controlplanev1.LookupPartition_TimestampMs{TimestampMs: q.At}
	}
	p.MaxSegments = q.MaxSegments
	return p
}

func answerOf(o *controlplanev1.LookupOutcome) Answer {
	if r := o.GetRefusal(); r != nil {
		return Answer{Refusal: r}
	}
	a := Answer{State: State{
		Epoch:         o.GetEpoch(),
		LeaderSession: o.GetLeaderSessionId(),
		LogStart:      o.GetLogStartOffset(),
		HighWatermark: o.GetHighWatermark(),
	}}
	for _, s := range o.GetSegments() {
		a.Segments = append(a.Segments, Segment{
			ObjectKey:      s.GetObjectKey(),
			Position:       s.GetBytePosition(),
			SizeBytes:      s.GetSizeBytes(),
			CRC32C:         s.GetCrc32C(),
			BaseOffset:     s.GetBaseOffset(),
			RecordCount:    s.GetRecordCount(),
			Epoch:          s.GetEpoch(),
			MaxTimestampMs: s.GetMaxTimestampMs(), ObjectBytes: s.GetObjectSizeBytes(),
		})
	}
	return a
}
