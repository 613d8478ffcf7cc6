package keycompact

import (
	"context"
	"fmt"

	controlplanev1 "github.com/streamhouse/streamhouse/gen/streamhouse/controlplane/v1"

	"github.com/streamhouse/streamhouse/dataplane/internal/object"
)

// cleanAll is the second half: it goes once through the partition, from its start up to the end of the pass.
func (r *running) cleanAll(ctx context.Context) error {
	o := &output{}
	state, err := r.ask(ctx, &controlplanev1.LookupPartition{})
	if err != nil {
		return err
	}
	var run []*controlplanev1.Segment
	for next, end := state.GetLogStartOffset(), r.rules.end; next < end; {
		segments, err := r.lookup(ctx, next)
		if err != nil {
			return err
		}
		for _, s := range segments {
			if s.GetBaseOffset() >= end {
				break
			}
			if len(run) > 0 && !joins(run, s) {
				if err := r.cleanRun(ctx, o, run); err != nil {
					return err
				}
				run = nil
			}
			run = append(run, s)
			next = s.GetBaseOffset() + int64(s.GetRecordCount())
		}
	}
	if len(run) > 0 {
		if err := r.cleanRun(ctx, o, run); err != nil {
			return err
		}
	}
	return r.flush(ctx, o)
}

// joins tells whether a segment may become one with those before it: of one epoch, within the bounds.
func joins(run []*controlplanev1.Segment, s *controlplanev1.Segment) bool {
	size, first := int64(s.GetSizeBytes()), run[0]
	for _, other := range run {
		size += int64(other.GetSizeBytes())
	}
	span := s.GetBaseOffset() + int64(s.GetRecordCount()) - first.GetBaseOffset()
	return s.GetEpoch() == first.GetEpoch() && size <= runBytes && len(run) < runSegments && span <= 1<<31-1
}

// cleanRun makes one segment of a run, unless nothing of it goes.
func (r *running) cleanRun(ctx context.Context, o *output, run []*controlplanev1.Segment) error {
	segments, size := make([][]byte, 0, len(run)), int64(0)
	for rest := run; len(rest) > 0; rest = run[len(segments):] {
		read, err := r.read(ctx, rest[:neighbours(rest)])
		if err != nil {
			return err
		}
		segments = append(segments, read...)
	}
	for _, b := range segments {
		size += int64(len(b))
	}
	out, err := r.rules.clean(segments, &r.memory)
	if err != nil {
		return fmt.Errorf("segment %q at %d: %w", run[0].GetObjectKey(), run[0].GetBytePosition(), err)
	}
	r.tombstones += out.tombstones
	if !out.changed {
		r.bytes += size
		return nil
	}
	r.bytes += int64(len(out.bytes))
	tenure, err := r.tenureOf(ctx, run[0])
	if err != nil {
		return err
	}
	if o.bytes > 0 && (o.bytes+len(out.bytes) > objectBytes || len(o.segments) == objectSegments) {
		if err := r.flush(ctx, o); err != nil {
			return err
		}
	}
	return r.add(o, run, out, tenure)
}

// tenureOf reads where the segment's tenure began from what its object says: the rebuild of a catalog needs it (P9).
func (r *running) tenureOf(ctx context.Context, s *controlplanev1.Segment) (int64, error) {
	var footer object.Footer
	err := r.config.Pace.Do(ctx, 0, func(ctx context.Context) (err error) {
		footer, err = object.ReadFooter(ctx, r.store, s.GetObjectKey())
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, written := range footer.Segments {
		if written.BytePosition == s.GetBytePosition() && written.Epoch == s.GetEpoch() && written.BaseOffset == s.GetBaseOffset() {
			return written.TenureFirstOffset, nil
		}
	}
	return 0, fmt.Errorf("the footer of %q does not have the segment at %d", s.GetObjectKey(), s.GetBytePosition())
}

// output is an object that is being filled.
type output struct {
	builder  *object.Builder
	key      object.Key
	segments []*controlplanev1.KeyCompactedSegment
	bytes    int
	removed  int64
}

// add puts a segment into the object, which it begins if need be.
func (r *running) add(o *output, run []*controlplanev1.Segment, out left, tenure int64) error {
	if o.builder == nil {
		r.counter++
		o.key = object.Key{AgentGroup: r.config.AgentGroup, Incarnation: r.work.GetIncarnation(), Session: r.outputID, Counter: r.counter}
		builder, err := object.NewBuilder(o.key)
		if err != nil {
			return fmt.Errorf("begin object: %w", err)
		}
		o.builder = builder
	}
	first, last := run[0], run[len(run)-1]
	written, err := o.builder.Append(object.Segment{
		TopicID: object.UUID(r.work.GetTopicId()), Partition: r.work.GetPartition(), Epoch: first.GetEpoch(), BaseOffset: first.GetBaseOffset(),
		RecordCount:    int32(last.GetBaseOffset() + int64(last.GetRecordCount()) - first.GetBaseOffset()),
		MinTimestampMs: out.minTimestamp, MaxTimestampMs: out.maxTimestamp, TenureFirstOffset: tenure,
	}, object.PartOf(out.bytes))
	if err != nil {
		return fmt.Errorf("add to object: %w", err)
	}
	s := &controlplanev1.KeyCompactedSegment{
		BytePosition: written.BytePosition, SizeBytes: written.SizeBytes, Crc32C: written.CRC32C, MaxTimestampMs: written.MaxTimestampMs,
	}
	for _, in := range run {
		s.Inputs = append(s.Inputs, &controlplanev1.KeyCompactedInput{
			BaseOffset: in.GetBaseOffset(), RecordCount: in.GetRecordCount(), Epoch: in.GetEpoch(), SizeBytes: in.GetSizeBytes(), Crc32C: in.GetCrc32C(),
		})
	}
	o.segments = append(o.segments, s)
	o.bytes += len(out.bytes)
	o.removed += out.removed
	return nil
}

// flush writes the object and has its segments take their place. An object of which nothing is taken is an orphan, which the control plane
// knows.
func (r *running) flush(ctx context.Context, o *output) error {
	if o.builder == nil {
		return nil
	}
	sealed, err := o.builder.Seal()
	if err != nil {
		return fmt.Errorf("seal object: %w", err)
	}
	if err := r.store.Put(ctx, o.key.String(), sealed.Body, sealed.CRC32C); err != nil {
		return fmt.Errorf("write object: %w", err)
	}
	afterPut.Here()
	answer, err := r.catalog.CommitKeyCompaction(ctx, &controlplanev1.CommitKeyCompactionRequest{
		JobId: r.jobID, ObjectKey: o.key.String(), SizeBytes: sealed.SizeBytes, Segments: o.segments,
	})
	if err != nil {
		return fmt.Errorf("commit object: %w", err)
	}
	afterCommit.Here()
	r.done.Objects++
	r.done.BytesWritten += int64(o.bytes)
	r.done.Removed += o.removed
	r.done.LeftOut += int64(answer.GetLeftOut())
	r.leftOut += int64(answer.GetLeftOut())
	*o = output{}
	return nil
}
