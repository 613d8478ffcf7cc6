package scenario

import (
	"context"
	"errors"
	"fmt"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
)

// keyCompact is what such a job is about.
func (w *World) keyCompact(work *controlplanev1.KeyCompactWork) string {
	text := fmt.Sprintf("%s clean=%d end=%d run=%d", w.placeName(work.GetTopicId(), work.GetPartition()), work.GetCleanEnd(), work.GetEnd(), work.GetRun())
	if below := work.GetDropTombstonesBelow(); below > 0 {
		text += fmt.Sprintf(" tombstones below %d go", below)
	}
	if batches := work.GetProducerBatches(); len(batches) > 0 {
		text += fmt.Sprintf(" producers' batches at %v", batches)
	}
	return text
}

// doClean: "clean a j c1 orders/0 from=10 to=29": the output has one segment of half the bytes for all that begin at these offsets. With "changed"
// they were read with other bytes.
func doClean(w *World, c command) (call, error) {
	group, job, key, err1 := w.output(c)
	place, err2 := c.word(3)
	from, err3 := c.number("from", 0)
	to, err4 := c.number("to", 0)
	if err := errors.Join(err1, err2, err3, err4, c.known("from", "to", "key")); err != nil {
		return nil, err
	}
	at, err := w.place(place)
	lookup := &controlplanev1.LookupRequest{Partitions: []*controlplanev1.LookupPartition{{
		TopicId: at.topic[:], Partition: at.number, Position: &controlplanev1.LookupPartition_Offset{Offset: from},
	}}}
	return func(ctx context.Context) (string, error) {
		found, err := w.catalog.Lookup(ctx, group, lookup)
		if err != nil {
			return "", err
		}
		made := cleaned(found.GetOutcomes()[0].GetSegments(), to, c.has("changed"))
		response, err := w.catalog.CommitKeyCompaction(ctx, group, &controlplanev1.CommitKeyCompactionRequest{
			JobId: job, ObjectKey: key, SizeBytes: 1 << 20, Segments: []*controlplanev1.KeyCompactedSegment{made},
		})
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s: %d taken, %d left out", w.labels[key], response.GetAccepted(), response.GetLeftOut()), nil
	}, err
}

// cleaned is one segment for those that begin up to an offset.
func cleaned(segments []*controlplanev1.Segment, to int64, changed bool) *controlplanev1.KeyCompactedSegment {
	made := &controlplanev1.KeyCompactedSegment{BytePosition: 8}
	for _, g := range segments {
		if g.GetBaseOffset() > to {
			break
		}
		in := &controlplanev1.KeyCompactedInput{
			BaseOffset: g.GetBaseOffset(), RecordCount: g.GetRecordCount(), Epoch: g.GetEpoch(), SizeBytes: g.GetSizeBytes(), Crc32C: g.GetCrc32C(),
		}
		if changed {
			in.Crc32C++
		}
		made.Inputs = append(made.Inputs, in)
		made.SizeBytes += g.GetSizeBytes()
		made.MaxTimestampMs = max(made.GetMaxTimestampMs(), g.GetMaxTimestampMs())
	}
	made.SizeBytes, made.Crc32C = max(made.GetSizeBytes()/2, 1), 7
	return made
}

// doCleaned: "cleaned a j end=30 bytes=100 tombstones=2": the pass is whole.
func doCleaned(w *World, c command) (call, error) {
	group, job, _, err1 := w.jobCall(command{words: c.words})
	end, err2 := c.number("end", 0)
	bytes, err3 := c.number("bytes", 0)
	tombstones, err4 := c.number("tombstones", 0)
	return func(ctx context.Context) (string, error) {
		_, err := w.catalog.FinishKeyCompaction(ctx, group, &controlplanev1.FinishKeyCompactionRequest{
			JobId: job, CleanEnd: end, CleanBytes: bytes, Tombstones: tombstones,
		})
		return "", err
	}, errors.Join(err1, err2, err3, err4, c.known("end", "bytes", "tombstones", "key"))
}
