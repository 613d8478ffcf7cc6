package scenario

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"
	"github.com/streamhouse/streamhouse/serve/checksum"

	"github.com/streamhouse/streamhouse/controlplane/internal/store"
)

// doAnnounce: "announce a j c1": the job j is about to write an object that is called c1 from then on.
func doAnnounce(w *World, c command) (call, error) {
	group, job, key, err := w.output(c)
	return func(ctx context.Context) (string, error) {
		_, err := w.catalog.AnnounceOutput(ctx, group, &controlplanev1.AnnounceOutputRequest{
			JobId: job, Output: &controlplanev1.CompactionOutput{ObjectKey: key, SizeBytes: 1 << 20},
		})
		return "", err
	}, err
}

// output is the job that the command names second, and the key of an output of it, which it names third.
func (w *World) output(c command) (group store.AgentGroup, job, key string, err error) {
	_, group, err1 := w.speaker(c)
	label, err2 := c.word(1)
	name, err3 := c.word(2)
	if err := errors.Join(err1, err2, err3); err != nil {
		return "", "", "", err
	}
	job, known := w.jobs[label]
	if !known {
		return "", "", "", fmt.Errorf("there is no job %s", label)
	}
	key = fmt.Sprintf("%s/0c/0-%s-%d", group, w.outputs[job], len(name))
	w.labels[key] = name
	return group, job, key, nil
}

// doCompact: "compact a j c1 orders/0 orders/1 from=10 to=29": the output has, of each partition, one segment with all that is there from an offset to
// another. With "changed" its bytes are others.
func doCompact(w *World, c command) (call, error) {
	group, job, key, err1 := w.output(c)
	from, err2 := c.number("from", 0)
	to, err3 := c.number("to", 0)
	if err := errors.Join(err1, err2, err3, c.known("from", "to", "key")); err != nil {
		return nil, err
	}
	lookups := &controlplanev1.LookupRequest{}
	for _, word := range c.words[3:] {
		if word == "changed" {
			continue
		}
		at, err := w.place(word)
		if err != nil {
			return nil, err
		}
		lookups.Partitions = append(lookups.Partitions, &controlplanev1.LookupPartition{
			TopicId: at.topic[:], Partition: at.number, Position: &controlplanev1.LookupPartition_Offset{Offset: from},
		})
	}
	return func(ctx context.Context) (string, error) {
		found, err := w.catalog.Lookup(ctx, group, lookups)
		if err != nil {
			return "", err
		}
		request := &controlplanev1.CommitCompactionRequest{JobId: job, ObjectKey: key}
		for _, outcome := range found.GetOutcomes() {
			request.Segments = append(request.Segments, joined(outcome, from, to, c.has("changed")))
		}
		slices.SortFunc(request.GetSegments(), func(a, b *controlplanev1.CompactedSegment) int {
			return cmp.Or(slices.Compare(a.GetTopicId(), b.GetTopicId()), cmp.Compare(a.GetPartition(), b.GetPartition()))
		})
		response, err := w.catalog.CommitCompaction(ctx, group, request)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s: %d in the place of %d, %d left out", w.labels[key], response.GetAccepted(), response.GetReplaced(), response.GetLeftOut()), nil
	}, nil
}

// joined is one segment with the bytes of all that begin within the offsets. It always covers all of the offsets, whatever is there.
func joined(outcome *controlplanev1.LookupOutcome, from, to int64, changed bool) *controlplanev1.CompactedSegment {
	s := &controlplanev1.CompactedSegment{
		TopicId: outcome.GetTopicId(), Partition: outcome.GetPartition(), Epoch: 1, BaseOffset: from, RecordCount: int32(to - from + 1), BytePosition: 8,
	}
	for _, g := range outcome.GetSegments() {
		if g.GetBaseOffset() < from || g.GetBaseOffset() > to {
			continue
		}
		s.Epoch = g.GetEpoch()
		s.Crc32C = checksum.Combine(s.GetCrc32C(), g.GetCrc32C(), int64(g.GetSizeBytes()))
		s.SizeBytes += g.GetSizeBytes()
		s.MaxTimestampMs = max(s.GetMaxTimestampMs(), g.GetMaxTimestampMs())
	}
	if changed {
		s.Crc32C++
	}
	s.SizeBytes = max(s.GetSizeBytes(), 1)
	return s
}
