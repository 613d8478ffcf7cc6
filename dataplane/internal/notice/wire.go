package notice

import (
	"github.com/streamhouse/streamhouse/dataplane/internal/lookup"
	"github.com/streamhouse/streamhouse/dataplane/internal/object"
	"github.com/streamhouse/streamhouse/dataplane/internal/partition"
	dataplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/dataplane/v1"
)

const topicIDBytes = 16

// idOf is the partition of a message; the zero ID, which no partition has, for one that names none.
func idOf(p *dataplanev1.PeerPartition) partition.ID {
	if len(p.GetTopicId()) != topicIDBytes {
		return partition.ID{}
	}
	return partition.ID{Topic: object.UUID(p.GetTopicId()), Number: p.GetPartition()}
}

func wire(p partition.ID) *dataplanev1.PeerPartition {
	return &dataplanev1.PeerPartition{TopicId: p.Topic[:], Partition: p.Number}
}

func noticeOf(p partition.ID, epoch partition.Epoch, s lookup.Segment) *dataplanev1.Notice {
	return &dataplanev1.Notice{
		Partition: wire(p), Epoch: epoch, HighWatermark: s.End(),
		Segment: &dataplanev1.NoticedSegment{
			ObjectKey: s.ObjectKey, ObjectSizeBytes: s.ObjectBytes, BytePosition: s.Position, SizeBytes: s.SizeBytes, Crc32C: s.CRC32C,
			BaseOffset: s.BaseOffset, RecordCount: s.RecordCount, MaxTimestampMs: s.MaxTimestampMs,
		},
	}
}

// segmentOf is the segment that a notice brings; nil: none, or one that does not end at the high watermark.
func segmentOf(n *dataplanev1.Notice) *lookup.Segment {
	s := n.GetSegment()
	if s == nil || s.GetRecordCount() < 1 || s.GetSizeBytes() < 1 || s.GetBaseOffset()+int64(s.GetRecordCount()) != n.GetHighWatermark() {
		return nil
	}
	return &lookup.Segment{
		ObjectKey: s.GetObjectKey(), ObjectBytes: s.GetObjectSizeBytes(), Position: s.GetBytePosition(), SizeBytes: s.GetSizeBytes(),
		CRC32C: s.GetCrc32C(), BaseOffset: s.GetBaseOffset(), RecordCount: s.GetRecordCount(), Epoch: n.GetEpoch(),
		MaxTimestampMs: s.GetMaxTimestampMs(),
	}
}
